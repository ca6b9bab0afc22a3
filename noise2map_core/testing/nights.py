"""A catalogue that grows: every night another part of the embedded scene is seen once more."""

import hashlib
import json
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.windows import Window

from noise2map_core.testing.item_table import Document, write_item_table
from noise2map_core.testing.scenes import COLLECTION, CRS, Box, EmbeddedCatalog, lon_lat_polygon

FIRST = date(2025, 6, 20)
"""Day of the first night: all of the later scene."""


@dataclass(frozen=True)
class Night:
    """What a night adds to the catalogue."""

    day: date
    item: Document
    box: Box
    """Where the item shows something, in the scene's CRS."""


def write_nights(catalog: EmbeddedCatalog, root: Path, count: int, seed: int = 0) -> list[Night]:
    """Write the files of `count` nights under `root`; the first shows all, the others a part."""
    rng = np.random.default_rng(seed)
    folder = catalog.root / COLLECTION / f"{COLLECTION}-after"
    document = json.loads((folder / f"{COLLECTION}-after.json").read_text(encoding="utf-8"))
    for asset in document["assets"].values():
        asset["href"] = str((folder / asset["href"]).resolve())
    return [_write_night(document, root, number, rng) for number in range(count)]


def publish(catalog: EmbeddedCatalog, nights: list[Night], table: Path) -> None:
    """The catalogue, as a table of items, after these nights; the earlier scene is always there."""
    folder = catalog.root / COLLECTION / f"{COLLECTION}-before"
    before = json.loads((folder / f"{COLLECTION}-before.json").read_text(encoding="utf-8"))
    for asset in before["assets"].values():
        asset["href"] = str((folder / asset["href"]).resolve())
    items = [{**item, "links": []} for item in (before, *(night.item for night in nights))]
    write_item_table(items, table)


def _write_night(document: Document, root: Path, number: int, rng: Any) -> Night:
    item, day = deepcopy(document), FIRST + timedelta(days=number)
    item["id"] = f"night-{number:02d}"
    moment = datetime(day.year, day.month, day.day, 10, tzinfo=UTC)
    item["properties"]["datetime"] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    (root / item["id"]).mkdir(parents=True)
    window: Window | None = None
    for name, asset in item["assets"].items():
        with rasterio.open(asset["href"]) as file:
            window = window or _part(file.width, file.height, number, rng)
            pixels, transform = file.read(1, window=window), file.window_transform(window)
            profile = file.profile | {
                "driver": "GTiff", "width": window.width, "height": window.height,
                "transform": transform, "tiled": False, "blockxsize": window.width,
            }  # fmt: skip
            box = rasterio.windows.bounds(window, file.transform)
        for key in ("blocksize", "blockxsize", "blockysize", "overviews", "overview_resampling"):
            profile.pop(key, None)
        if number:
            pixels = np.where(pixels, pixels + rng.integers(0, 200), 0).astype(pixels.dtype)
        path = root / item["id"] / f"{name}.tif"
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels, 1)
        asset["href"] = str(path)
        asset["file:checksum"] = f"1220{hashlib.sha256(path.read_bytes()).hexdigest()}"
        asset["file:size"] = path.stat().st_size
        for key in ("proj:shape", "proj:transform", "proj:bbox"):
            asset.pop(key, None)
    for key in ("proj:shape", "proj:transform", "proj:bbox"):
        item["properties"].pop(key, None)
    polygon = lon_lat_polygon(box)
    item["geometry"], item["bbox"] = shapely.geometry.mapping(polygon), list(polygon.bounds)
    item["properties"]["proj:code"] = CRS
    return Night(day, item, box)


def _part(width: int, height: int, number: int, rng: Any) -> Window:
    """All of it the first time, then about a quarter in the east, where the map is."""
    if number == 0:
        return Window(0, 0, width, height)
    row = int(rng.integers(0, height * 3 // 4))
    return Window(width // 2, row, width - width // 2, height // 4)
