"""The key of a tile: it changes with all that moves its pixels, and with nothing else."""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import shapely
from odc.geo.geom import Geometry

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.geo.grid import ChipLattice, RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.imagery.recipe import scene_key
from noise2map_core.inference.comparison import Comparison
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.inference.region import ALGORITHM_VERSION, RegionJob
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.runtime.digest import digest_of
from tests.factories import checkpoint_spec

WORLD = shapely.box(-1e8, -1e8, 1e8, 1e8)
GRID = RegionGrid("EPSG:32633", 10.0, 0.0, 0.0, 64, Window(-500_032, 50_048, 256, 256), WORLD)
PATH = NumericPath("cpu", "any", "float32", batch=4, threads=1, torch="any")


def scene(name: str, window: Window) -> Scene:
    """A scene whose footprint is `window` of the grid."""
    footprint = Geometry(GRID.bounds_polygon(window), GRID.crs).to_crs("EPSG:4326", 100).geom
    bands = tuple(BandSource(b, f"/{name}/{b}.tif", 1, 0.0, None) for b in ("green", "red"))
    wkb = shapely.to_wkb(footprint)
    return Scene(name, "c", datetime(2020, 1, 1, tzinfo=UTC), wkb, bands, None, 10.0, "/x", "")


def job(tmp_path: Path, *after: Scene) -> RegionJob:
    before = scene("before", GRID.region)
    scenes = [before, *after]
    identities = {band.href: f"sha256:{band.href}" for s in scenes for band in s.bands}
    return RegionJob(
        tmp_path, GRID, checkpoint_spec(), Path("c"), ChipLattice(32, 16), (999,), PATH,
        (before,), tuple(after), identities, "uint16", 1,
    )  # fmt: skip


WEST = Window(GRID.region.row, GRID.region.col, 256, 100)
TILES = list(GRID.tiles())


def keys(job: RegionJob) -> dict[Tile, str]:
    return {tile: job.key(tile) for tile in TILES}


def test_a_new_scene_changes_exactly_the_tiles_that_it_touches(tmp_path: Path) -> None:
    full = scene("full", GRID.region)
    old, new = keys(job(tmp_path, full)), keys(job(tmp_path, scene("west", WEST), full))
    changed = {tile for tile in TILES if old[tile] != new[tile]}
    # The scene ends 100 pixels east of the region's edge: within tile column 1, whose chips reach
    # 16 pixels into column 2, but not to the scene.
    assert changed == {tile for tile in TILES if tile.col <= TILES[0].col + 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"timesteps": (500,)},
        {"lattice": ChipLattice(32, 8)},
        {"path": replace(PATH, threads=2)},
        {"spec": checkpoint_spec(temperature=2.0)},
        {"grid": replace(GRID, x_origin=5.0)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_moves_pixels_changes_every_key(tmp_path: Path, changes: dict[str, object]) -> None:
    plain = job(tmp_path, scene("full", GRID.region))
    old, new = keys(plain), keys(replace(plain, **changes))
    assert not set(old.values()) & set(new.values())


@pytest.mark.parametrize(
    "changes",
    [{"fence": 7}, {"output": Path("elsewhere")}, {"checkpoint": Path("copy")}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_moves_no_pixel_changes_no_key(tmp_path: Path, changes: dict[str, object]) -> None:
    plain = job(tmp_path, scene("full", GRID.region))
    assert keys(plain) == keys(replace(plain, **changes))


def test_other_bytes_or_another_order_change_the_key(tmp_path: Path) -> None:
    one, other = scene("one", GRID.region), scene("other", GRID.region)
    plain = job(tmp_path, one, other)
    assert plain.key(TILES[0]) != job(tmp_path, other, one).key(TILES[0])
    fresh = {href: identity + "'" for href, identity in plain.identities.items()}
    assert plain.key(TILES[0]) != replace(plain, identities=fresh).key(TILES[0])


def test_a_key_is_the_digest_of_all_that_a_tile_is_made_from(tmp_path: Path) -> None:
    plain = job(tmp_path, scene("west", WEST), scene("full", GRID.region))
    for tile in TILES:
        sources = {
            name: [scene_key(one, plain.identities, plain.recipe) for one in scenes]
            for name, scenes in zip(("before", "after"), plain.scenes(tile), strict=True)
        }
        settings = {
            "algorithm": ALGORITHM_VERSION, "model": plain.spec.digest, "path": PATH.as_dict(),
            "chip_px": 32, "stride_px": 16, "timesteps": [999], "crs": GRID.crs,
            "resolution": 10.0, "origin": [0.0, 0.0],
            "outline": digest_of(shapely.to_wkt(WORLD, rounding_precision=3)),
        }  # fmt: skip
        assert plain.key(tile) == digest_of({"tile": [tile.row, tile.col], **sources, **settings})


def test_only_tiles_that_are_not_done_under_their_key_are_to_be_made(tmp_path: Path) -> None:
    plain, ledger = job(tmp_path, scene("full", GRID.region)), Ledger(tmp_path)
    records = [TileRecord(t.row, t.col, plain.key(t), "done") for t in TILES[:3]]
    ledger.append([*records, TileRecord(TILES[3].row, TILES[3].col, "stale", "done")], fence=1)
    comparison = Comparison(plain, ledger)
    (missing,) = comparison.waves()
    assert comparison.tiles == len(TILES) == 16
    assert [Tile(*map(int, row)) for row in missing] == TILES[3:]
    assert missing.dtype == np.int32 and comparison.missing == 13


def test_the_digest_of_a_region_does_not_depend_on_what_is_done(tmp_path: Path) -> None:
    plain, ledger = job(tmp_path, scene("full", GRID.region)), Ledger(tmp_path)
    before = Comparison(plain, ledger)
    assert sum(map(len, before.waves())) == 16
    ledger.append([TileRecord(t.row, t.col, plain.key(t), "done") for t in TILES], fence=1)
    after = Comparison(plain, ledger)
    assert [*after.waves()] == []
    assert after.digest == before.digest
    assert after.digest == sha256("".join(map(plain.key, TILES)).encode()).hexdigest()


def test_waves_hold_every_missing_tile_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noise2map_core.inference.comparison.WAVE_TILES", 5)
    monkeypatch.setattr("noise2map_core.geo.grid.BAND_TILES", 4)
    plain = job(tmp_path, scene("full", GRID.region))
    waves = [*Comparison(plain, Ledger(tmp_path)).waves()]
    assert len(waves) > 1
    assert [Tile(*row) for row in np.concatenate(waves).tolist()] == TILES
