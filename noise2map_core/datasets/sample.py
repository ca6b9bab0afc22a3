"""What all data sets are brought to: samples of one date or two, with masks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from noise2map_core.datasets.resizing import Sizing
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.datasets import VAL_SHARE, DatasetConfig, Protocol

IMAGE_DRIVERS = {
    ".png": "PNG", ".tif": "GTiff", ".tiff": "GTiff", ".jpg": "JPEG", ".jpeg": "JPEG",
}  # fmt: skip
"""GDAL's drivers by suffix: what is named otherwise is not an image of the data set."""

BUILDINGS = [{"value": 0, "name": "background"}, {"value": 1, "name": "building"}]
CHANGE = [{"value": 0, "name": "unchanged"}, {"value": 1, "name": "changed"}]


ALL_ROWS = (0.0, 1.0)


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
    rows: tuple[float, float] = ALL_ROWS
    """The part of its images' height that belongs to it, from the top, to the next whole chip."""
    negative: bool = False
    """True: it has no masks because nothing is there that they could show."""


@dataclass(frozen=True, slots=True)
class MaskRule:
    """What a mask means: by a table of values, else by values above `threshold`, which are 1."""

    threshold: int = 0
    values: tuple[int, ...] = (0, 1, 255)
    """Values that a mask may hold; empty: any."""
    table: Mapping[int, int] = field(default_factory=dict)
    """Class of every value that a mask may hold; empty: see `threshold`."""
    colours: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    """Class of every colour, of masks in colour."""
    subtypes: Mapping[str, int] = field(default_factory=dict)
    """Class of polygons by their `subtype`; empty: all are 1."""


@dataclass(frozen=True)
class Benchmark:
    """A data set under a protocol, ready to be cut into chips."""

    kind: str
    task: str
    protocol: Protocol
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
    masks: MaskRule = field(default_factory=MaskRule)
    sizing: Sizing = field(default_factory=Sizing)
    """To which size images and masks are brought, and how."""
    alpha: bool = True
    """True: transparent and nodata pixels are not observed. False: all pixels are."""
    whole_chips: bool = False
    """True: what is left at the edges of an image, less than a chip, is left out."""
    change_masks: MaskRule | None = None
    """What masks of change mean, if not what those of one date do."""
    release: str = ""
    """The layout that was found, where a data set has several."""
    notes: tuple[str, ...] = ()
    """What people must know of it before they speak of its scores."""

    @property
    def rule_of_change(self) -> MaskRule:
        """What masks of change mean."""
        return self.masks if self.change_masks is None else self.change_masks

    def name_of(self, path: Path) -> str:
        """A file's name within the data set, the same wherever the data set lies."""
        return path.relative_to(self.root).as_posix()


def about(config: DatasetConfig) -> str:
    """What a data set is, and where it is to be had."""
    return " ".join((config.__doc__ or "").split())


def require_folder(path: Path, config: DatasetConfig) -> Path:
    """`path`; raises ConfigError saying where the data set is to be had."""
    if not path.is_dir():
        raise ConfigError(f"folder {path} does not exist. Set dataset.root to: {about(config)}")
    return path


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that takes runs of digits as numbers."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


@dataclass(frozen=True)
class Faults:
    """What a data set has that cannot be used: refused, or left out and counted."""

    root: Path
    protocol: Protocol
    named: dict[str, list[str]] = field(default_factory=dict)
    """Names by what is wrong with them."""

    def add(self, wrong: str, name: str) -> None:
        """One more."""
        names = self.named.setdefault(wrong, [])
        if name not in names:
            names.append(name)

    def settle(self) -> dict[str, int]:
        """How many are left out, by what is wrong, with the first names (`paper`).

        Raises ConfigError with the same (`strict`, for which every image counts).
        """
        told = {f"{wrong}: {_first(names)}": len(names) for wrong, names in self.named.items()}
        if told and self.protocol == "strict":
            found = "; ".join(f"{count:,} {wrong}" for wrong, count in told.items())
            raise ConfigError(f"{self.root} has {found}. Fetch these anew, or mend or move them.")
        return told


def _first(names: list[str], most: int = 3) -> str:
    more = [f"{len(names) - most:,} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])


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
    if not train:
        require_no_share(share, "where all images are for testing")
        return samples
    if len(train) < 2:
        raise ConfigError("train has less than two images: none can be held out for validation.")
    block = set(train[-max(1, round(share * len(train))) :])
    return [replace(sample, split="val") if sample in block else sample for sample in samples]
