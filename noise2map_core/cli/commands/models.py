"""List what maps can be made by: detectors, checkpoints that ship, and what a hub has.

`noise2map models [OWNER/REPOSITORY]`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from noise2map_core.detectors.spec import KINDS
from noise2map_core.models.hub import published_unets
from noise2map_core.models.shipped import shipped_names, shipped_path
from noise2map_core.models.spec import WEIGHTS_NAME, CheckpointSpec, read_spec
from noise2map_core.workflows.tools.models import ModelsConfig

DETECTORS = {
    "mad": "multivariate alteration detection with weights of a t distribution; four bands or more",
    "irmad": "iteratively re-weighted MAD; four bands or more",
    "cva": "change vector analysis; any bands",
}


@dataclass(frozen=True)
class Models:
    """What there is."""

    shipped: dict[str, CheckpointSpec]
    published: tuple[str, ...]
    """Names of UNets that trainings can start from, as `import-reference` takes them."""

    def summary(self) -> list[str]:
        """Lines for people."""
        return [
            "detectors, which need no training (--checkpoint NAME):",
            *(f"  {kind:<10} {DETECTORS[kind]}" for kind in KINDS),
            "checkpoints that ship (--checkpoint NAME, model.backbone NAME):",
            *(line for name, spec in self.shipped.items() for line in _lines(name, spec)),
            *(["published UNets (import-reference --unet NAME):"] if self.published else []),
            *(f"  {name}" for name in self.published),
        ]


def _lines(name: str, spec: CheckpointSpec) -> Iterator[str]:
    low, high = spec.gsd_range
    size = shipped_path(f"{name}/{WEIGHTS_NAME}").stat().st_size
    yield (
        f"  {name:<10} bands {', '.join(spec.bands)}; {low:g} to {high:g} m a pixel; preset "
        f"{spec.preset}, {size / 1e6:.1f} MB"
    )
    for task, told in spec.tasks.items():
        yield f"  {'':<10} {task}: {', '.join(one.name for one in told.classes)}"


def run(config: ModelsConfig) -> Models:
    """Read what ships; ask the hub if one is named. Raises CheckpointError if that fails."""
    return Models(
        {name: read_spec(shipped_path(name)) for name in shipped_names()},
        published_unets(config.hub) if config.hub else (),
    )
