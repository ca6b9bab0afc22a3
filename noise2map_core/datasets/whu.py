"""WHU Building: change detection and segmentation."""

from pathlib import Path

import numpy as np

from noise2map_core.datasets.images import read_mask
from noise2map_core.datasets.sample import (
    BUILDINGS,
    CHANGE,
    Benchmark,
    MaskRule,
    Sample,
    matched,
    require_folder,
    require_no_share,
    split_names,
    with_validation,
)
from noise2map_core.settings.datasets import Protocol, WhuConfig

CHANGE_GSD, SEGMENT_GSD = 0.2, 0.3
"""Metres: the data set's page."""

SEGMENT_PX = 256
"""Side to which images of 512 px are resized."""

ATTRIBUTION = "WHU Building Dataset (Ji, Wei, Lu 2019, doi:10.1109/TGRS.2018.2858817)"


def open_whu(config: WhuConfig, protocol: Protocol) -> Benchmark:
    """Pairs {train,test}/{A,B,OUT}, or images {train,test}/{Image,Mask}.

    `paper` takes train and test alone, chooses the checkpoint on test, and leaves out pairs whose
    mask holds a single value, in test too. Raises ConfigError, or AssetReadError for a mask.
    """
    change, paper = config.task == "change", protocol == "paper"
    if paper:
        require_no_share(config.val_share, "by protocol paper, which validates on test")
    samples = _samples(config, change, with_val=not paper)
    kept = [sample for sample in samples if not (change and paper) or _has_both(sample.change[0])]
    return Benchmark(
        kind=config.kind,
        task=config.task,
        protocol=protocol,
        root=config.root,
        gsd=CHANGE_GSD if change else SEGMENT_GSD,
        attribution=ATTRIBUTION,
        samples=tuple(kept if paper else with_validation(kept, config.val_share)),
        classes={"change": CHANGE} if change else {"segment": BUILDINGS},
        selected_on="test" if paper else "val",
        evaluated_on="test",
        dropped={"no change": len(samples) - len(kept)},
        resize_px=None if change else SEGMENT_PX,
    )


def _samples(config: WhuConfig, change: bool, with_val: bool) -> list[Sample]:
    names = ("A", "B", "OUT") if change else ("Image", "Mask")
    found = []
    for split in split_names(config, with_val):
        folders = [require_folder(config.root / split / name, config) for name in names]
        for stem, (*images, mask) in matched(folders).items():
            place = f"{split}/{stem}"
            segment, changed = ((), (mask,)) if change else ((mask,), ())
            found.append(Sample(place, split, tuple(images), segment, changed))
    return found


def _has_both(mask: Path) -> bool:
    """True if a mask holds changed and unchanged pixels."""
    return len(np.unique(read_mask(mask, MaskRule()))) > 1
