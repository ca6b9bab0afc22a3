"""Looks at a small grid, as slices have them, and what an area's alerts are made of them."""

import shutil
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from noise2map_core.alerts.looks import ItemPlace, LookRecord
from noise2map_core.alerts.replay import Slice
from noise2map_core.alerts.store import StateRules
from noise2map_core.alerts.tiles import fold_here
from noise2map_core.alerts.update import Updated, update_alerts
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION, NO_PROBABILITY, Mosaic, TileMap
from noise2map_core.runtime.digest import digest_of, file_sha256
from noise2map_core.settings.alerts import AlertsConfig

SIDE = 16
GRID = RegionGrid(
    "EPSG:32633", 10.0, 0.0, 0.0, SIDE, Window(-32, 16, 32, 32), shapely.box(160, 0, 480, 320)
)
"""2 x 2 tiles of 16 pixels of 100 m², north of the origin."""
CLASSES = [{"value": 0, "name": "same"}, {"value": 1, "name": "changed"}]
FIRST = date(2024, 1, 20)
WORLD = shapely.box(-180, -90, 180, 90).wkb.hex()
PIXEL_M2 = 100.0


@dataclass
class Area:
    """Alerts of an area under `root`, and its slices."""

    root: Path
    config: AlertsConfig = field(default_factory=lambda: AlertsConfig(minimum_m2=2 * PIXEL_M2))

    @property
    def folder(self) -> Path:
        return self.root / "alerts"

    def update(self, slices: list[Slice], **changes: Any) -> Updated | None:
        rules = StateRules.of(self.config.model_copy(update=changes), GRID)
        return update_alerts(self.folder, GRID, rules, slices, fold_here)

    def files(self, *, revisions: bool = False) -> dict[str, str]:
        """Digest of all files by path; what was taken back only where that is asked for."""
        return {
            str(path.relative_to(self.folder)): file_sha256(path)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and (revisions or path.name != "revisions.parquet")
        }


def write_look(
    root: Path, day: date, found: NDArray[np.uint8], percent: NDArray[np.int64], name: str = ""
) -> Slice:
    """A slice of codes [32, 32] (0, 1, 255) and whole percents."""
    path = root / (name or str(day)) / "mosaic.zarr"
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    mosaic, decided, digests = Mosaic.create(path, GRID, CLASSES), [], []
    frame = GRID.tile_frame
    for tile in GRID.tiles():
        rows, cols = GRID.window(tile).slices_in(frame)
        classes, chance = found[rows, cols], percent[rows, cols]
        hidden = classes == NO_DECISION
        stored = np.where(hidden, NO_PROBABILITY, chance * 100 + 37).clip(max=65_535)
        stored = np.where(hidden, stored, stored.clip(max=10_000)).astype(np.uint16)
        mosaic.write(tile, TileMap(classes, stored, ~hidden, hidden.astype(np.uint8)))
        if count := int((~hidden).sum()):
            decided.append((tile.row, tile.col, count))
            digests.append(mosaic.digest(tile))
    items = tuple(ItemPlace(one, WORLD) for one in ("baseline", f"item-{name or day}"))
    record = LookRecord(day, digest_of(digests)[:32], tuple(decided), items[:1], items[1:])
    return Slice(record, path)


def drawn_look(root: Path, number: int, seed: int = 0, hidden: float = 0.4) -> Slice:
    """The look of a day, 5 days after the one before: patches that stay, and a cloud that moves."""
    rng = np.random.default_rng([seed, number])
    found = np.zeros((32, 32), np.uint8)
    for row, col, since in ((2, 3, 1), (10, 12, 2), (20, 5, 3), (14, 14, 4), (25, 25, 5)):
        if number >= since:
            found[row : row + 5, col : col + 6] = 1
    found ^= (rng.random(found.shape) < 0.02).astype(np.uint8)
    start = rng.integers(0, 32)
    cloud = (np.arange(32) - start) % 32 < round(32 * hidden)
    found[:, cloud] = NO_DECISION
    return write_look(root, FIRST + timedelta(days=5 * number), found,
                      rng.integers(50, 100, found.shape), f"{seed}-{number}")  # fmt: skip


def pruned(one: Slice) -> Slice:
    return replace(one, mosaic=None)
