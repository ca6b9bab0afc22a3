"""Masks of data sets: what their values, colours or polygons mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noise2map_core.datasets.images import AS_IT_IS, RGB, inspect_image, read_grey, read_rgb
from noise2map_core.datasets.polygons import SUFFIXES, read_polygons
from noise2map_core.datasets.resizing import Sizing
from noise2map_core.datasets.sample import MaskRule
from noise2map_core.geo.window import Window
from noise2map_core.labels import IGNORE
from noise2map_core.runtime.errors import ConfigError

UNKNOWN = 254
"""In a table of classes: a value that no class is known for."""

AMBIGUOUS = {1, 255}
"""Each of them means yes; in one mask one of them means something else."""


@dataclass(frozen=True)
class MaskReport:
    """What is wrong with a mask."""

    wrong: str = ""
    """Empty: it can be used."""
    detail: str = ""
    outside: int = 0
    """Polygons that touch no pixel of the image, and are not burnt."""


def is_raster(path: Path) -> bool:
    """False for polygons."""
    return path.suffix.lower() not in SUFFIXES


def read_mask(
    path: Path,
    rule: MaskRule,
    shape: tuple[int, int],
    sizing: Sizing = AS_IT_IS,
    window: Window | None = None,
) -> NDArray[np.uint8]:
    """[H, W] classes, 255 where there is none; polygons are burnt into an image of `shape`.

    Raises AssetReadError, and ConfigError for values that the rule does not know.
    """
    if not is_raster(path):
        return _sized(read_polygons(path, rule.subtypes).burnt(shape), sizing, window)
    labels, strange = _classes(path, rule, sizing, window)
    if strange.size:
        raise ConfigError(f"mask {path} holds {_named(strange)}; {_known(rule)}. Mend the file.")
    return labels if sizing.by == "gdal" else sizing.mask(labels > 0)


def inspect_mask(path: Path, rule: MaskRule, shape: tuple[int, int]) -> MaskReport:
    """Whether the content of a mask can be used. Raises AssetReadError."""
    if not is_raster(path):
        polygons = read_polygons(path, rule.subtypes)
        outside = polygons.outside(shape)
        if outside and outside == len(polygons.shapes):
            return MaskReport("files of polygons that all lie outside of their image")
        return MaskReport(outside=outside)
    _, strange = _classes(path, rule, AS_IT_IS, None)
    if strange.size:
        return MaskReport(f"masks whose values are not known ({_known(rule)})", _named(strange))
    return MaskReport()


def _sized(labels: NDArray[np.uint8], sizing: Sizing, window: Window | None) -> NDArray[np.uint8]:
    """Burnt polygons as a file of them would be read."""
    if sizing.px is None:
        whole = Window(0, 0, *labels.shape)
        return labels[(window or whole).slices_in(whole)]
    if sizing.by != "gdal":
        return sizing.mask(labels > 0)
    rows, cols = (((np.arange(sizing.px) + 0.5) * n / sizing.px).astype(int) for n in labels.shape)
    return labels[np.ix_(rows, cols)]


def _classes(
    path: Path, rule: MaskRule, sizing: Sizing, window: Window | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Classes of the pixels, and the values that mean nothing."""
    if rule.colours and inspect_image(path).count >= len(RGB):
        nearest = Sizing(sizing.px, sizing.by, "nearest")
        red, green, blue = read_rgb(path, nearest, window).astype(np.int64)
        codes = {_code(*colour): value for colour, value in rule.colours.items()}
        return _looked_up((red << 16) | (green << 8) | blue, codes)
    values = read_grey(path, sizing, window)
    if rule.table:
        return _looked_up(values.astype(np.int64), rule.table)
    yes = (values > rule.threshold).astype(np.uint8)
    return yes, _strange(values, rule)


def _code(red: int, green: int, blue: int) -> int:
    """A colour as one number."""
    return (red << 16) | (green << 8) | blue


def _looked_up(
    values: NDArray[np.int64], classes: Mapping[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found, inverse = np.unique(values, return_inverse=True)
    labels = np.asarray([classes.get(int(value), UNKNOWN) for value in found], np.uint8)
    return labels[inverse.reshape(values.shape)], found[labels == UNKNOWN]


def _strange(values: NDArray[np.int64], rule: MaskRule) -> NDArray[np.int64]:
    """Values that a mask may not hold."""
    if not rule.values:
        return np.empty(0, np.int64)
    found = np.unique(values)
    strange = np.setdiff1d(found, rule.values)
    return found[found > 0] if not strange.size and set(found.tolist()) >= AMBIGUOUS else strange


def _known(rule: MaskRule) -> str:
    if rule.colours:
        return f"known are {len(rule.colours)} colours, or {_listed(tuple(rule.table))}"
    if rule.table:
        return f"known are {_listed(tuple(rule.table))}"
    known = tuple(value for value in rule.values if value != IGNORE)
    return f"known are {_listed(known)} and nothing else, or 0 and 255"


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))


def _named(strange: NDArray[np.int64]) -> str:
    return _listed(tuple(strange[:5].tolist()))
