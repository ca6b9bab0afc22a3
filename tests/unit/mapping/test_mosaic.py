"""The mosaic: whole templates, disjoint writes, the same bytes in any order."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import (
    PROBABILITY_SCALE,
    Mosaic,
    Reason,
    TileMap,
    require_same_output,
)
from noise2map_core.mapping.opening import open_mosaic
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import OutputError, OutputMismatchError
from noise2map_core.runtime.storage import sweep

CLASSES = [
    {"value": 0, "name": "unchanged", "color": "#cccccc"},
    {"value": 1, "name": "changed", "color": "#d7191c"},
]


WORLD = shapely.box(-1e7, -1e7, 1e7, 1e7)
REGION = Window(-100, 30, 150, 120)


def grid(tile_px: int = 64, region: Window = REGION) -> RegionGrid:
    return RegionGrid("EPSG:32633", 10.0, 5.0, 2.0, tile_px, region, WORLD)


def tile_map(seed: int, px: int = 64) -> TileMap:
    rng = np.random.default_rng(seed)
    return TileMap(
        classes=rng.integers(0, 2, (px, px)).astype(np.uint8),
        probability=rng.integers(0, PROBABILITY_SCALE, (px, px)).astype(np.uint16),
        valid=rng.random((px, px)) > 0.5,
        reason=np.zeros((px, px), np.uint8),
    )


def digests(path: Path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file_sha256(file) for file in files}


def test_any_order_of_tiles_and_any_repetition_gives_the_same_bytes(tmp_path: Path) -> None:
    tiles = list(grid().tiles())
    forth = Mosaic.create(tmp_path / "forth.zarr", grid(), CLASSES)
    back = Mosaic.create(tmp_path / "back.zarr", grid(), CLASSES)
    for index, tile in enumerate(tiles):
        forth.write(tile, tile_map(index))
    for index, tile in [*reversed(list(enumerate(tiles))), (0, tiles[0])]:
        back.write(tile, tile_map(index))
    assert digests(tmp_path / "forth.zarr") == digests(tmp_path / "back.zarr")


def test_what_is_written_is_read_back_at_its_place(tmp_path: Path) -> None:
    mosaic = Mosaic.create(tmp_path / "m.zarr", grid(), CLASSES)
    tile = next(iter(mosaic.grid.tiles()))
    mosaic.write(tile, tile_map(3))
    window = mosaic.grid.window(tile)
    np.testing.assert_array_equal(mosaic.read("class", window), tile_map(3).classes)
    other = mosaic.grid.window(Tile(tile.row + 1, tile.col))
    assert (mosaic.read("class", other) == 255).all()
    assert (mosaic.read("reason", other) == Reason.OUTSIDE).all()


def test_rioxarray_opens_it_with_crs_and_transform(tmp_path: Path) -> None:
    mosaic = Mosaic.create(tmp_path / "m.zarr", grid(), CLASSES)
    tile = next(iter(mosaic.grid.tiles()))
    mosaic.write(tile, tile_map(3))
    dataset = open_mosaic(tmp_path / "m.zarr")
    assert dataset.rio.crs.to_epsg() == 32633
    assert dataset["class"].chunks is not None
    transform = mosaic.grid.transform(mosaic.grid.tile_frame)
    assert dataset["class"].rio.transform() == transform
    assert dataset["class"].rio.transform(recalc=True) == transform
    stored = tile_map(3).probability
    rows_cols = mosaic.grid.window(tile).slices_in(mosaic.grid.tile_frame)
    np.testing.assert_allclose(dataset["probability"].values[rows_cols], stored / 1e4, atol=1e-7)
    assert np.isnan(dataset["probability"].values[-1, -1])
    dataset["class"].rio.to_raster(tmp_path / "class.tif")
    with rasterio.open(tmp_path / "class.tif") as raster:
        assert (raster.crs.to_epsg(), raster.transform) == (32633, transform)
        np.testing.assert_array_equal(raster.read(1)[rows_cols], tile_map(3).classes)


@pytest.mark.parametrize(
    "other", [grid(tile_px=128), grid(region=Window(-100, 31, 150, 120))], ids=["tile", "region"]
)
def test_another_grid_is_refused_and_nothing_is_touched(tmp_path: Path, other: RegionGrid) -> None:
    path = tmp_path / "m.zarr"
    Mosaic.create(path, grid(), CLASSES)
    before = digests(path)
    with pytest.raises(OutputMismatchError, match="--overwrite"):
        require_same_output(path, other, CLASSES)
    with pytest.raises(OutputMismatchError):
        require_same_output(path, grid(), CLASSES[:1])
    require_same_output(path, grid(), CLASSES)
    assert digests(path) == before


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    mosaic = Mosaic.create(tmp_path / "m.zarr", grid(), CLASSES)
    before = digests(mosaic.path)
    (mosaic.path / "class" / "c").mkdir(parents=True, exist_ok=True)
    (mosaic.path / "class" / "c" / "0.abc.partial").write_bytes(b"half")
    sweep(mosaic.path)
    assert digests(mosaic.path) == before


@pytest.mark.parametrize("name", ["class", "probability"])
def test_a_flipped_bit_is_found_at_reading_and_the_way_out_is_said(
    tmp_path: Path, name: str
) -> None:
    mosaic = Mosaic.create(tmp_path / "mosaic.zarr", grid(), CLASSES)
    tile = next(iter(mosaic.grid.tiles()))
    mosaic.write(tile, tile_map(3))
    shard = next(
        path for path in (tmp_path / "mosaic.zarr" / name / "c").rglob("*") if path.is_file()
    )
    body = bytearray(shard.read_bytes())
    body[len(body) // 3] ^= 4
    shard.write_bytes(body)
    with pytest.raises(OutputError, match=rf"{name} is damaged .*verify --repair {tmp_path}"):
        mosaic.read(name, mosaic.grid.window(tile))
