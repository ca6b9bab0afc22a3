"""A chip store of pairs of invented worlds, which needs no data and no licence."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from noise2map_core.chips.parts import join_parts, require_free, write_parts
from noise2map_core.chips.store import UNKNOWN_TIME, Columns
from noise2map_core.chips.writer import StoreHeader
from noise2map_core.datasets.sample import BUILDINGS, CHANGE
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.runtime.digest import digest_of
from noise2map_core.testing.worlds.classes import BUILDING, NAMES
from noise2map_core.testing.worlds.land_view import BANDS
from noise2map_core.testing.worlds.pair import Family, WorldPair, render_pair

ALGORITHM_VERSION = 1
"""Raised when the same rule gives other worlds."""

TILE_PX = 512
BATCH = 16
"""Pairs that are made before they are written."""

BANDS_OF: dict[Family, tuple[str, ...]] = {"buildings": ("red", "green", "blue"), "land": BANDS}
DTYPES: dict[Family, str] = {"buildings": "uint8", "land": "uint16"}
LAND = [{"value": value, "name": name} for value, name in enumerate(NAMES)]


INVENTED = "invented by noise2map draw-worlds, free of any licence"


@dataclass(frozen=True)
class WorldRule:
    """Which worlds."""

    family: Family
    count: int
    """Pairs."""
    seed: int
    chip_px: int
    gsd: float
    """Metres a pixel."""
    gsd_spread: float
    """A pair's pixels are up to so many times larger or smaller than `gsd`; 1: none is."""
    val_share: float
    """Share of the pairs that are for validation, the last ones."""
    all_classes: bool
    """Labels of each date are all classes; False: buildings (built-up land) alone."""


def write_worlds(rule: WorldRule, output: Path) -> None:
    """Write a store of pairs with labels of change and of both dates.

    Raises OutputMismatchError if something lies at `output`. The caller holds its lease.
    """
    header = worlds_header(rule)
    require_free(output)
    join_parts(output, header, write_parts(output, header, _batches(rule)))


def worlds_header(rule: WorldRule) -> StoreHeader:
    """Of the store that `write_worlds` makes."""
    px, name = rule.chip_px, f"{rule.family}-{rule.seed}"
    item = {
        "id": name,
        "collection": "worlds",
        "datetime": "",
        "href": name,
        "attribution": INVENTED,
    }
    region = Window(0, 0, px * rule.count, px)
    outline = shapely.box(0, -region.height * rule.gsd, px * rule.gsd, 0)
    crs = 'LOCAL_CS["invented",UNIT["metre",1]]'
    return StoreHeader(
        key=digest_of(["worlds", ALGORITHM_VERSION, vars(rule)]),
        grid=RegionGrid(crs, rule.gsd, 0.0, 0.0, TILE_PX, region, outline),
        chip_px=px,
        stride_px=px,
        dtype=DTYPES[rule.family],
        bands=[
            {"name": band, "common_name": band, "scale": None, "offset": None, "nodata": None}
            for band in BANDS_OF[rule.family]
        ],
        classes={"segment": LAND if rule.all_classes else BUILDINGS, "change": CHANGE},
        splits=("train", "val"),
        buffer_px=0,
        items=[item],
        labels_from=(INVENTED,),
        places=(name,) * (2 * rule.count),
    )


def _batches(rule: WorldRule) -> Iterator[Columns]:
    for start in range(0, rule.count, BATCH):
        indices = np.arange(start, min(start + BATCH, rule.count))
        pairs = [_pair(rule, index) for index in indices.tolist()]
        yield {**_pixels(rule, pairs), **_rows(rule, indices)}


def _pair(rule: WorldRule, index: int) -> WorldPair:
    zoom = np.random.default_rng((rule.seed, index, 99)).uniform(-1, 1)
    gsd = rule.gsd * rule.gsd_spread**zoom
    return render_pair(rule.family, rule.seed, index, rule.chip_px, gsd)


def _pixels(rule: WorldRule, pairs: list[WorldPair]) -> Columns:
    image = np.stack([[pair.before, pair.after] for pair in pairs])
    classes = np.stack([[pair.classes_before, pair.classes_after] for pair in pairs])
    return {
        "image": image,
        "valid": np.ones(classes.shape, np.bool_),
        "label_segment": classes if rule.all_classes else (classes == BUILDING).astype(np.uint8),
        "label_change": np.stack([pair.changed for pair in pairs]).astype(np.uint8),
    }


def _rows(rule: WorldRule, indices: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """What is known of chips besides pixels: they lie in a column, one below the other."""
    count, side = len(indices), rule.chip_px * rule.gsd
    west, north = np.zeros(count), -indices * side
    return {
        "row": indices * rule.chip_px,
        "col": np.zeros(count, np.int64),
        "footprint": np.stack([west, north - side, west + side, north], axis=1),
        "split": (indices >= round(rule.count * (1 - rule.val_share))).astype(np.uint8),
        "datetime": np.full((count, 2), UNKNOWN_TIME, np.int64),
        "items": np.zeros((count, 2, 1), np.int32),
        "crs": np.zeros(count, np.uint32),
        "scene": (2 * indices[:, None] + np.arange(2)).astype(np.uint32),
    }
