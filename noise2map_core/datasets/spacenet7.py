"""SpaceNet 7 in the splits of Hafner et al. (2023), doi:10.3390/rs15215135, by area.

The areas lie all over the world, but two of the published split share a corner: train's
L15-1669E-1160N_6679_3549_13 and validation's L15-1669E-1160N_6678_3548_13.
"""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from noise2map_core.datasets.sample import (
    BUILDINGS,
    CHANGE,
    Benchmark,
    MaskRule,
    Sample,
    require_file,
    require_folder,
)
from noise2map_core.runtime.documents import parse_json, read_text
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.datasets import Protocol, SpaceNet7Config

GSD = 4.0
"""Metres: Van Etten et al. (2021), The Multi-Temporal Urban Development SpaceNet Dataset."""

IMAGE_PX = 1024
SPLITS: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("spacenet7_splits.json").read_text(encoding="utf-8")
)["splits"]

Month = dict[str, Any]
"""aoi_id, year, month, mask (clouds are masked), label (there are footprints)."""


def open_spacenet7(config: SpaceNet7Config, protocol: Protocol) -> Benchmark:
    """Months, or pairs of months that follow each other; a month without footprints drops out.

    Segmentation takes months without clouds. `paper` scores the validation areas, ignores the
    transparency of what clouds hide and, where an image is not of 1024 px, resizes it
    (segmentation) or leaves the rest out (change). Raises ConfigError.
    """
    metadata = _metadata(config)
    samples, dropped = [], 0
    for split, areas in SPLITS.items():
        for area in areas:
            found, left_out = _samples(config, split, area, metadata[area])
            samples.extend(found)
            dropped += left_out
    classes = {"segment": BUILDINGS, "change": CHANGE}
    paper, tasks = protocol == "paper", _tasks(config)
    return Benchmark(
        kind=config.kind,
        task=config.task,
        protocol=protocol,
        root=config.root,
        gsd=GSD,
        attribution="SpaceNet 7, Planet Labs PBC, CC BY-SA 4.0",
        samples=tuple(samples),
        classes={task: classes[task] for task in tasks},
        selected_on="val",
        evaluated_on="val" if paper else "test",
        dropped={"clouds, or no footprints" if tasks == ["segment"] else "no footprints": dropped},
        masks=MaskRule(values=()),
        resize_px=IMAGE_PX if paper and "change" not in tasks else None,
        resampling="nearest",
        alpha=not paper,
        whole_chips=paper and "change" in tasks,
    )


def _tasks(config: SpaceNet7Config) -> list[str]:
    return ["segment", "change"] if config.task == "both" else [config.task]


def _metadata(config: SpaceNet7Config) -> dict[str, list[Month]]:
    """The months of every area of the splits, in order of time."""
    path = require_file(require_folder(config.root, config) / "metadata_train.json")
    try:
        found: dict[str, list[Month]] = parse_json(read_text(path))
        areas = [area for split in SPLITS.values() for area in split]
        return {area: sorted(found[area], key=_time) for area in areas}
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not readable metadata: {error}. Fetch it anew.") from error
    except KeyError as error:
        raise ConfigError(
            f"{path} lacks {error}: an area of the split or one of its fields."
        ) from None


def _time(month: Month) -> datetime:
    return datetime(int(month["year"]), int(month["month"]), 1, tzinfo=UTC)


def _samples(
    config: SpaceNet7Config, split: str, area: str, months: list[Month]
) -> tuple[list[Sample], int]:
    """The samples of one area, and how many are left out."""
    if config.task == "segment":
        groups: list[tuple[Month, ...]] = [(month,) for month in months]
        kept = [group for group in groups if group[0]["label"] and not group[0]["mask"]]
    else:
        groups = list(pairwise(months))
        kept = [group for group in groups if all(month["label"] for month in group)]
    folder = config.root / "train" / area
    return [_sample(config, split, folder, group) for group in kept], len(groups) - len(kept)


def _sample(config: SpaceNet7Config, split: str, folder: Path, months: tuple[Month, ...]) -> Sample:
    times = tuple(_time(month) for month in months)
    stems = [f"global_monthly_{time:%Y_%m}_mosaic_{folder.name}" for time in times]
    masks = tuple(folder / "labels_raster" / f"{stem}_Buildings.tif" for stem in stems)
    return Sample(
        place=folder.name,
        split=split,
        images=tuple(folder / "images_masked" / f"{stem}.tif" for stem in stems),
        segment=() if config.task == "change" else masks,
        change=() if config.task == "segment" else masks,
        datetimes=times,
    )
