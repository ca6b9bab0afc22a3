"""xView2 (xBD), the Santa Rosa wildfire: change detection and segmentation."""

from noise2map_core.datasets.sample import (
    BUILDINGS,
    CHANGE,
    Benchmark,
    MaskRule,
    Sample,
    images_in,
    require_file,
    require_folder,
    require_no_share,
    split_names,
    with_validation,
)
from noise2map_core.settings.datasets import Protocol, XView2Config

GSD = 0.5
"""Metres, nominal: the images come from several satellites of Maxar's, 0.3 to 0.8 m."""

SIDE_PX = 256
"""Side to which images of 1024 px are resized."""

WITHOUT_MASK = {
    "train": {"00000334", "00000192", "00000125", "00000247", "00000327", "00000258", "00000320"},
    "test": {"00000087", "00000289"},
}
"""Images that the data set has no mask for, by number."""

PRE, POST = "_pre_disaster", "_post_disaster"


def open_xview2(config: XView2Config, protocol: Protocol) -> Benchmark:
    """Images before the fire, or pairs; both tasks learn the mask that goes by the first's name.

    Layout {train,test}/xBD/santa-rosa-wildfire/{images,masks}/<id>_{pre,post}_disaster.png.
    `paper` chooses the checkpoint on test. Raises ConfigError.
    """
    change, paper = config.task == "change", protocol == "paper"
    if paper:
        require_no_share(config.val_share, "by protocol paper, which validates on test")
    samples, dropped = [], 0
    for split in split_names(config, with_val=not paper):
        found = _samples(config, split, change)
        kept = [sample for sample in found if not _lacks_mask(sample)]
        dropped += len(found) - len(kept)
        samples.extend(kept)
    return Benchmark(
        kind=config.kind,
        task=config.task,
        protocol=protocol,
        root=config.root,
        gsd=GSD,
        attribution="xBD (Gupta et al. 2019, arXiv:1911.09296), Maxar, CC BY-NC-SA 4.0",
        samples=tuple(samples if paper else with_validation(samples, config.val_share)),
        classes={"change": CHANGE} if change else {"segment": BUILDINGS},
        selected_on="test" if paper else "val",
        evaluated_on="test",
        dropped={"no mask": dropped},
        masks=MaskRule(threshold=127, values=()),
        resize_px=SIDE_PX,
    )


def _samples(config: XView2Config, split: str, change: bool) -> list[Sample]:
    event = config.root / split / "xBD" / "santa-rosa-wildfire"
    images, masks = (require_folder(event / name, config) for name in ("images", "masks"))
    found = []
    for stem, before in images_in(images).items():
        if stem.endswith(PRE):
            number = stem.removesuffix(PRE)
            after = before.with_name(before.name.replace(PRE, POST))
            pair = (before, require_file(after)) if change else (before,)
            mask = (masks / before.name,)
            segment, changed = ((), mask) if change else (mask, ())
            found.append(Sample(f"{split}/{number}", split, pair, segment, changed))
    return found


def _lacks_mask(sample: Sample) -> bool:
    """True for the published numbers; xBD's own file names have the event before them."""
    return sample.place.split("/")[1].rpartition("_")[2] in WITHOUT_MASK.get(sample.split, ())
