"""What all data sets are brought to: samples of one date or two, with masks."""

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.datasets import VAL_SHARE, DatasetConfig

IMAGE_DRIVERS = {
    ".png": "PNG", ".tif": "GTiff", ".tiff": "GTiff", ".jpg": "JPEG", ".jpeg": "JPEG",
}  # fmt: skip
"""GDAL's drivers by suffix: what is named otherwise is not an image of the data set."""

BUILDINGS = [{"value": 0, "name": "background"}, {"value": 1, "name": "building"}]
CHANGE = [{"value": 0, "name": "unchanged"}, {"value": 1, "name": "changed"}]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image or one pair of images, all on the same pixels."""

    place: str
    """Samples of one place share their ground; those of different places share none."""
    split: str
    images: tuple[Path, ...]
    """Of one date, or before and after."""
    segment: tuple[Path, ...] = ()
    """Mask of each date; empty: not labelled for segmentation."""
    change: tuple[Path, ...] = ()
    """The mask of change, or two masks of which it is the xor; empty: not labelled for change."""
    datetimes: tuple[datetime, ...] = ()
    """Of each image, UTC; empty: unknown."""
    area: str = ""
    """What it is a part of: a scene or a city, by which trainings and tables tell places apart.
    Empty: the place itself."""


@dataclass(frozen=True, slots=True)
class MaskRule:
    """How a mask says yes: by values above `threshold`."""

    threshold: int = 0
    values: tuple[int, ...] = (0, 1, 255)
    """Values that a mask may hold; empty: any."""


@dataclass(frozen=True)
class Benchmark:
    """A data set under a protocol, ready to be cut into chips."""

    kind: str
    task: str
    protocol: str
    root: Path
    gsd: float
    """Metres a pixel of the files, as the data set's authors give it."""
    attribution: str
    """Who is to be named, and the licence."""
    samples: tuple[Sample, ...]
    """In the order of the store."""
    classes: dict[str, list[dict[str, Any]]]
    """Class table of each task that is labelled."""
    selected_on: str
    """Split on which the protocol chooses the checkpoint."""
    evaluated_on: str
    """Split on which the protocol counts its scores."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Samples that are left out, by reason."""
    masks: MaskRule = MaskRule()
    resize_px: int | None = None
    """Side to which images are resized; None: they stay as they are."""
    resampling: str = "bilinear"
    """Of images; masks are taken from the nearest pixel."""
    alpha: bool = True
    """True: transparent and nodata pixels are not observed. False: all pixels are."""
    whole_chips: bool = False
    """True: what is left at the edges of an image, less than a chip, is left out."""

    def name_of(self, path: Path) -> str:
        """A file's name within the data set, the same wherever the data set lies."""
        return path.relative_to(self.root).as_posix()


def require_folder(path: Path, config: DatasetConfig) -> Path:
    """`path`; raises ConfigError saying where the data set is to be had."""
    if not path.is_dir():
        about = " ".join((config.__doc__ or "").split())
        raise ConfigError(f"folder {path} does not exist. Set dataset.root to: {about}")
    return path


def require_file(path: Path) -> Path:
    """`path`; raises ConfigError if there is no such file."""
    if not path.is_file():
        raise ConfigError(f"file {path} is missing. Fetch it anew, or set dataset.root.")
    return path


def images_in(folder: Path) -> dict[str, Path]:
    """The images of a folder by stem, in natural order (tile_9 before tile_10)."""
    found = {path.stem: path for path in folder.iterdir() if path.suffix.lower() in IMAGE_DRIVERS}
    if not found:
        raise ConfigError(f"folder {folder} holds no image ({', '.join(IMAGE_DRIVERS)}).")
    return {stem: found[stem] for stem in sorted(found, key=natural)}


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that takes runs of digits as numbers."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def matched(folders: list[Path]) -> dict[str, tuple[Path, ...]]:
    """The images of several folders by stem. Raises ConfigError if one lacks its partner."""
    found = [images_in(folder) for folder in folders]
    for stem in dict.fromkeys(stem for images in found for stem in images):
        for folder, images in zip(folders, found, strict=True):
            if stem not in images:
                raise ConfigError(f"folder {folder} has no image {stem!r}; other folders have it.")
    return {stem: tuple(images[stem] for images in found) for stem in found[0]}


def split_names(config: DatasetConfig, with_val: bool) -> list[str]:
    """Splits of which there are folders: train, test and, if it counts, val where it is there."""
    val = ["val"] if with_val and (config.root / "val").is_dir() else []
    return ["train", *val, "test"]


def require_no_share(share: float, why: str) -> None:
    """Raise ConfigError if a share for validation was set that nothing would use."""
    if share != VAL_SHARE:
        raise ConfigError(f"dataset.val_share is not used {why}. Leave it out.")


def with_validation(samples: list[Sample], share: float) -> list[Sample]:
    """`samples`; where none is for validation, the last `share` of train's becomes that.

    One block in natural order of names, so that it borders on train as little as names can tell.
    """
    train = [sample for sample in samples if sample.split == "train"]
    if any(sample.split == "val" for sample in samples):
        require_no_share(share, "where there are images for validation")
        return samples
    if len(train) < 2:
        raise ConfigError("train has less than two images: none can be held out for validation.")
    block = set(train[-max(1, round(share * len(train))) :])
    return [replace(sample, split="val") if sample in block else sample for sample in samples]
