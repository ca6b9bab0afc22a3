"""SpaceNet 7 in the splits of Hafner et al. (2023), doi:10.3390/rs15215135, by area.

The areas lie all over the world, but two of the published split share a corner: train's
L15-1669E-1160N_6679_3549_13 and validation's L15-1669E-1160N_6678_3548_13.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from noise2map_core.datasets.resizing import Sizing
from noise2map_core.datasets.sample import (
    BUILDINGS,
    CHANGE,
    Benchmark,
    Faults,
    MaskRule,
    Sample,
    about,
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

METADATA = "metadata_train.json"
IMAGES = "images_masked"
LABELS = {"labels_raster": ".tif", "labels_match_pix": ".geojson"}
"""Folders of footprints with the ending of their files: burnt, and as downloaded."""

NAME = re.compile(r"global_monthly_(\d{4})_(\d{2})_mosaic_")


@dataclass(frozen=True, order=True)
class Month:
    """One month of one area."""

    time: datetime
    clouds: bool
    """Clouds are masked."""
    labelled: bool
    """There are footprints."""


def open_spacenet7(config: SpaceNet7Config, protocol: Protocol) -> Benchmark:
    """Months, or pairs of months that follow each other; a month without footprints drops out.

    All areas or some; months by the metadata or, without, by the files. Segmentation takes months
    without clouds. `paper` scores the validation areas, ignores the transparency of what clouds
    hide and, where an image is not of 1024 px, resizes it (segmentation) or leaves the rest out
    (change). Raises ConfigError.
    """
    root, train = _folders(config)
    months = _months(root, train)
    faults = Faults(root, protocol)
    samples, dropped = [], 0
    for split, areas in SPLITS.items():
        for area in (area for area in areas if area in months):
            found, left_out = _samples(config, split, train / area, months[area], faults)
            samples.extend(found)
            dropped += left_out
    paper, tasks = protocol == "paper", _tasks(config)
    why = "clouds, or no footprints" if tasks == ["segment"] else "no footprints"
    classes = {"segment": BUILDINGS, "change": CHANGE}
    return Benchmark(
        kind=config.kind,
        task=config.task,
        protocol=protocol,
        root=root,
        gsd=GSD,
        attribution="SpaceNet 7, Planet Labs PBC, CC BY-SA 4.0",
        samples=tuple(samples),
        classes={task: classes[task] for task in tasks},
        selected_on="val",
        evaluated_on="val" if paper else "test",
        dropped={why: dropped} | faults.settle(),
        masks=MaskRule(values=()),
        sizing=Sizing(IMAGE_PX if paper and "change" not in tasks else None, "gdal", "nearest"),
        alpha=not paper,
        whole_chips=paper and "change" in tasks,
        notes=tuple(_notes(config, months)),
    )


def _tasks(config: SpaceNet7Config) -> list[str]:
    return ["segment", "change"] if config.task == "both" else [config.task]


def _folders(config: SpaceNet7Config) -> tuple[Path, Path]:
    """The data set's folder, and that of its areas."""
    root = require_folder(config.root, config)
    for base in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        for areas in (base / "train", base):
            if any(areas.glob(f"L15-*/{IMAGES}")):
                return (base if areas != base else base.parent), areas
    held = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    raise ConfigError(
        f"{root} holds {held}: no train/<area>/{IMAGES}, with {' or '.join(LABELS)} beside it. Set "
        f"dataset.root to: {about(config)}"
    )


def _months(root: Path, train: Path) -> dict[str, list[Month]]:
    """The months of every area that is there, in order of time. Raises ConfigError where none of
    the split is."""
    areas = [area for split in SPLITS.values() for area in split if (train / area).is_dir()]
    if not areas:
        raise ConfigError(f"{train} holds no area of the published split. Set dataset.root.")
    metadata = root / METADATA
    if metadata.is_file():
        return _in_metadata(metadata, areas)
    return {area: sorted(_in_files(train / area)) for area in areas}


def _in_metadata(path: Path, areas: list[str]) -> dict[str, list[Month]]:
    try:
        found: dict[str, list[dict[str, Any]]] = parse_json(read_text(path))
        return {area: sorted(map(_month, found[area])) for area in areas}
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not readable metadata: {error}. Fetch it anew.") from error
    except KeyError as error:
        raise ConfigError(
            f"{path} lacks {error}: an area of the split or one of its fields."
        ) from None


def _month(entry: dict[str, Any]) -> Month:
    time = datetime(int(entry["year"]), int(entry["month"]), 1, tzinfo=UTC)
    return Month(time, bool(entry["mask"]), bool(entry["label"]))


def _in_files(area: Path) -> Iterator[Month]:
    """What the files of an area say: a month is cloudy where UDM_masks has a mask of it."""
    for path in (area / IMAGES).glob("*.tif"):
        if found := NAME.match(path.name):
            time = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
            clouds = (area / "UDM_masks" / f"{path.stem}_UDM.tif").is_file()
            yield Month(time, clouds, _footprints(area, path.stem).is_file())


def _footprints(area: Path, stem: str) -> Path:
    """The footprints of an image: burnt ones where the area has such, else polygons."""
    folder = next((name for name in LABELS if (area / name).is_dir()), "labels_raster")
    return area / folder / f"{stem}_Buildings{LABELS[folder]}"


def _samples(
    config: SpaceNet7Config, split: str, area: Path, months: list[Month], faults: Faults
) -> tuple[list[Sample], int]:
    """The samples of one area, and how many are left out for want of footprints."""
    if config.task == "segment":
        groups: list[tuple[Month, ...]] = [(month,) for month in months]
        kept = [group for group in groups if group[0].labelled and not group[0].clouds]
    else:
        groups = list(pairwise(months))
        kept = [group for group in groups if all(month.labelled for month in group)]
    samples = [_sample(config, split, area, group) for group in kept]
    return [one for one in samples if _is_there(one, faults)], len(groups) - len(kept)


def _is_there(sample: Sample, faults: Faults) -> bool:
    """True if all files of a sample are there; notes which the metadata promise in vain."""
    files = dict.fromkeys((*sample.images, *sample.segment, *sample.change))
    missing = [path for path in files if not path.is_file()]
    for path in missing:
        faults.add("files that the metadata promise missing", path.name)
    return not missing


def _sample(config: SpaceNet7Config, split: str, area: Path, months: tuple[Month, ...]) -> Sample:
    times = tuple(month.time for month in months)
    stems = [f"global_monthly_{time:%Y_%m}_mosaic_{area.name}" for time in times]
    masks = tuple(_footprints(area, stem) for stem in stems)
    return Sample(
        place=area.name,
        split=split,
        images=tuple(area / IMAGES / f"{stem}.tif" for stem in stems),
        segment=() if config.task == "change" else masks,
        change=() if config.task == "segment" else masks,
        datetimes=times,
    )


def _notes(config: SpaceNet7Config, months: dict[str, list[Month]]) -> Iterator[str]:
    """What is missing that need not be there."""
    for split, areas in SPLITS.items():
        here = sum(area in months for area in areas)
        if here < len(areas):
            yield f"{here} of the {len(areas)} areas of {split} are here"
    gaps = sum(_apart(*pair) > 1 for each in months.values() for pair in pairwise(each))
    if gaps and config.task != "segment":
        yield f"{gaps:,} pairs reach over months that are missing"


def _apart(before: Month, after: Month) -> int:
    """Months between two."""
    years = after.time.year - before.time.year
    return 12 * years + after.time.month - before.time.month
