"""Small valid values for tests."""

from typing import Any

from noise2map_core.models.spec import CheckpointSpec, ClassSpec, NetworkSpec, Normalisation


def checkpoint_spec(**changes: Any) -> CheckpointSpec:
    """The spec of a network so small that its forward pass costs nothing to speak of."""
    bands = changes.get("bands", ("green", "red"))
    fields: dict[str, Any] = {
        "bands": bands,
        "gsd": 10.0,
        "gsd_range": (5.0, 20.0),
        "value_range": (0.0, 10_000.0),
        "normalisation": Normalisation(
            mean=((1000.0,) * len(bands),) * 2, std=((500.0,) * len(bands),) * 2
        ),
        "inference_timesteps": (999,),
        "classes": (
            ClassSpec(value=0, name="unchanged", color="#cccccc"),
            ClassSpec(value=1, name="changed", color="#d7191c"),
        ),
        "threshold": {"changed": 0.5},
        "chip_px": 32,
        "stride_px": 16,
        "preset": "tiny",
        "network": NetworkSpec(
            patch=2,
            block_channels=(8, 16),
            layers_per_block=1,
            norm_groups=4,
            context_channels=4,
            detail_channels=8,
        ),
        "code_version": "0",
        **changes,
    }
    return CheckpointSpec(**fields)
