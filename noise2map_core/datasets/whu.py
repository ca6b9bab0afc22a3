"""WHU Building: change detection and segmentation."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from noise2map_core.datasets.found import Found, find_samples
from noise2map_core.datasets.images import read_grey
from noise2map_core.datasets.layouts import LEVIR, WHU_CHANGE, WHU_SEGMENT
from noise2map_core.datasets.resizing import Sizing
from noise2map_core.datasets.sample import (
    ALL_ROWS,
    BUILDINGS,
    CHANGE,
    Benchmark,
    Sample,
    about,
    require_no_share,
    with_validation,
)
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.datasets import Protocol, WhuConfig

CHANGE_GSD, SEGMENT_GSD = 0.2, 0.3
"""Metres: the data set's page."""

SEGMENT_PX = 256
"""Side to which images of 512 px are resized."""

ATTRIBUTION = "WHU Building Dataset (Ji, Wei, Lu 2019, doi:10.1109/TGRS.2018.2858817)"


ROWS = {"train": (0.0, 0.7), "val": (0.7, 0.8), "test": (0.8, 1.0)}
"""Of a pair that its release does not split."""

ROWS_NOTE = (
    "the release does not split its pair: the upper 70 % of its rows are for training, the next "
    "10 % for validation, the others to test on; other people's splits are other ones"
)


def open_whu(config: WhuConfig, protocol: Protocol) -> Benchmark:
    """Pairs or images of any of the releases.

    `paper` takes train and test alone, chooses the checkpoint on test, leaves out pairs whose mask
    holds a single value, in test too, and resizes images and masks as Pillow does, so that masks
    lose a border. Raises ConfigError, or AssetReadError for a mask.
    """
    change, paper = config.task == "change", protocol == "paper"
    if paper:
        require_no_share(config.val_share, "by protocol paper, which validates on test")
    layouts = WHU_CHANGE if change else WHU_SEGMENT
    found = find_samples(config.root, layouts, protocol, about(config))
    samples = _of_the_paper(config, found) if paper else _parted(found)
    kept = [sample for sample in samples if not (change and paper) or _has_both(sample.change)]
    return Benchmark(
        kind=config.kind,
        task=config.task,
        protocol=protocol,
        root=found.root,
        gsd=CHANGE_GSD if change else SEGMENT_GSD,
        attribution=ATTRIBUTION,
        samples=tuple(kept if paper else with_validation(kept, config.val_share)),
        classes={"change": CHANGE} if change else {"segment": BUILDINGS},
        selected_on="test" if paper else "val",
        evaluated_on="test",
        dropped={"no change": len(samples) - len(kept)} | found.dropped,
        notes=(ROWS_NOTE,) if any(sample.rows != ALL_ROWS for sample in samples) else (),
        sizing=Sizing() if change else Sizing(SEGMENT_PX, "pil" if paper else "gdal"),
    )


def _parted(found: Found) -> list[Sample]:
    """All samples; by rows where a release is one pair without a split."""
    if len(found.samples) > 1 or found.layout in LEVIR or "{split}" in found.layout.paths[0]:
        return list(found.samples)
    (pair,) = found.samples
    return [replace(pair, split=split, rows=rows) for split, rows in ROWS.items()]


def _of_the_paper(config: WhuConfig, found: Found) -> list[Sample]:
    """Train and test; both are needed."""
    samples = [sample for sample in found.samples if sample.split != "val"]
    if {sample.split for sample in samples} != {"train", "test"}:
        raise ConfigError(
            f"{config.root} has not both train and test, which protocol paper takes. Set "
            "--protocol strict."
        )
    return samples


def _has_both(masks: tuple[Path, ...]) -> bool:
    """True if a mask, or what two differ by, holds changed and unchanged pixels."""
    values = [read_grey(mask) > 0 for mask in masks]
    return len(np.unique(np.bitwise_xor.reduce(values))) > 1
