"""The model card: README.md of a checkpoint directory."""

from noise2map_core.imagery.chip_store import ChipStore
from noise2map_core.models.spec import CheckpointSpec

CARD = """# Noise2Map change model

Predicts, per pixel, whether land changed between two images of one place. One forward pass at
timestep {timesteps} of a diffusion network that was trained on mixtures of each image pair with its
swap (A. Shibli, A. Nascetti, Y. Ban: Noise2Map, IEEE TGRS 2026).

| | |
| --- | --- |
| bands, in order | {bands} |
| ground sample distance | {gsd:g} m (accepts {gsd_low:g} to {gsd_high:g} m) |
| expected raw numbers | {low:g} to {high:g} |
| chips | {chip_px} px, {stride_px} px apart at inference |
| network | preset {preset} |
| decision threshold | probability of change ≥ {threshold:g}, chosen on the validation part |
| validation F1 of change | {val_f1:.4f}, after {epoch} epochs |
| trained by | noise2map {code_version} |

## Training data

{num_train} training and {num_val} validation chips, split by place. Source items:

{items}

## Limits

Trained on few scenes; expect less on other land, seasons and sensors. The validation F1 chose epoch
and threshold, so it is not a test score: run evaluate-maps on a part that was held out. Source
imagery and labels have their own licences.
"""


def write_card(spec: CheckpointSpec, store: ChipStore, val_f1: float, epoch: int) -> str:
    """The card's Markdown."""
    return CARD.format(
        timesteps=", ".join(str(step) for step in spec.inference_timesteps),
        bands=", ".join(spec.bands),
        gsd=spec.gsd,
        gsd_low=spec.gsd_range[0],
        gsd_high=spec.gsd_range[1],
        low=spec.value_range[0],
        high=spec.value_range[1],
        chip_px=spec.chip_px,
        stride_px=spec.stride_px,
        preset=spec.preset,
        threshold=spec.threshold["changed"],
        val_f1=val_f1,
        epoch=epoch,
        code_version=spec.code_version,
        num_train=len(store.chips_of("train")),
        num_val=len(store.chips_of("val")),
        items="\n".join(_item_line(item) for item in store.attributes["items"]),
    )


def _item_line(item: dict[str, str]) -> str:
    attribution = f" ({item['attribution']})" if item.get("attribution") else ""
    return f"- {item['collection']}/{item['id']}, {item['datetime']}{attribution}"
