"""Areas with alerts, for tests of what is made of them."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from noise2map_core.alerts.state import ARRAYS, EPOCH, PixelState, nothing_known
from noise2map_core.alerts.store import LookKey, StateRules, StateStore
from noise2map_core.alerts.tables import ALERT_COLUMNS, write_alerts
from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.settings.alerts import AlertsConfig
from tests.map_factories import region_grid

AS_OF = date(2025, 6, 20)


def number(day: str) -> int:
    return (date.fromisoformat(day) - EPOCH).days


def random_state(height: int, width: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Pixels [H, W] of all status, a corner of which was never seen."""
    rng, shape = np.random.default_rng(seed), (height, width)
    status = rng.integers(0, 4, shape).astype(np.uint8)
    hits = np.where(status > 0, rng.integers(1, 256, shape), 0)
    first = np.where(status > 0, rng.integers(number("2024-01-01"), number("2025-06-10"), shape), 0)
    made = {
        "status": status, "hits": hits, "looks": np.minimum(hits * 2, 255), "quiet": status * 0,
        "p_max": np.where(status > 0, 99, 0), "p_sum": hits * rng.integers(0, 101, shape),
        "prior": np.maximum(first, 1) - 1, "first": first,
        "last": np.where(status > 0, first + rng.integers(0, 9, shape), 0),
        "confirmed": np.where(status == 2, first + 5, 0),
        "seen": np.full(shape, number(str(AS_OF))),
    }  # fmt: skip
    unseen = np.zeros(shape, np.bool_)
    unseen[: height // 3, : width // 4] = True
    return {name: np.where(unseen, 0, made[name]).astype(kind) for name, kind in ARRAYS.items()}


def alert_table(grid: RegionGrid, count: int = 4, **columns: Any) -> gpd.GeoDataFrame:
    """Alerts of every status in turn, in a row on the grid."""
    x, y = grid.transform(grid.region) @ (0, 0)
    statuses = ("provisional", "confirmed", "ended", "rejected")
    day = date(2025, 6, 10)
    rows = [
        {
            "object_id": f"a{n}", "polygon_id": f"p{n}", "status": statuses[n % 4],
            "confidence": 0.5, "prior_look": None if n else date(2025, 5, 1), "first_seen": day,
            "last_seen": AS_OF, "confirmed_on": AS_OF if n % 4 == 1 else None, "last_look": AS_OF,
            "looks": 2, "detections": 2, "support": 1.0, "p_mean": 0.8, "p_max": 0.9,
            "area_m2": 400.0, "area_confirmed_m2": 0.0, "parents": "", "before_item": "b",
            "after_item": "c", "review": "", "reject_reason": "",
        }
        for n in range(count)
    ]  # fmt: skip
    boxes = [shapely.box(x + 40 * n, y - 20, x + 40 * n + 20, y) for n in range(count)]
    table = pd.DataFrame(rows, columns=ALERT_COLUMNS[:-1]).assign(**columns)
    return gpd.GeoDataFrame(table, geometry=boxes, crs=grid.crs)


def write_area(
    area: Path,
    arrays: dict[str, NDArray[Any]],
    tile_px: int = 64,
    key: str = "b",
    as_of: date = AS_OF,
    **rules: Any,
) -> RegionGrid:
    """An area's folder with `alerts/` as run-nightly leaves it: state and table of objects. `key`
    is that of the last look, on `as_of`."""
    height, width = arrays["status"].shape
    grid, path = region_grid(height, width, tile_px), area / "alerts" / "alerts.zarr"
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    store = StateStore.create(path, grid, replace(StateRules.of(AlertsConfig(), grid), **rules))
    for tile in grid.tiles():
        store.write(tile, nothing_known((tile_px, tile_px)), _tile_state(grid, tile, arrays))
    store.note((LookKey(date(2025, 6, 10), "a"), LookKey(as_of, key)))
    write_alerts(area / "alerts" / "alerts.parquet", alert_table(grid))
    return grid


def _tile_state(grid: RegionGrid, tile: Tile, arrays: dict[str, NDArray[Any]]) -> PixelState:
    """The part of the region's arrays [H, W] that a tile has, and zeros around it."""
    window = grid.window(tile)
    inside = window.intersect(grid.region)
    made = {}
    for name, pixels in arrays.items():
        made[name] = np.zeros((window.height, window.width), pixels.dtype)
        made[name][inside.slices_in(window)] = pixels[inside.slices_in(grid.region)]
    return PixelState(**made)
