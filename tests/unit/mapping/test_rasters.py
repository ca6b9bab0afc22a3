"""COGs: valid, on the grid to the pixel, with a colour table."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rio_cogeo.cogeo import cog_validate

from noise2map_core.digest import file_sha256
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import Mosaic, TileMap
from noise2map_core.mapping.rasters import write_change_cog, write_probability_cog

CLASSES = [
    {"value": 0, "name": "unchanged", "color": "#cccccc"},
    {"value": 1, "name": "changed", "color": "#d7191c"},
]
COLORS = {0: (204, 204, 204, 255), 1: (215, 25, 28, 255), 255: (0, 0, 0, 0)}
REGION = Window(-700, 300, 900, 700)


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> Mosaic:
    grid = RegionGrid("EPSG:32633", 10.0, 5.0, 5.0, 512, REGION, shapely.box(-1e8, -1e8, 1e8, 1e8))
    mosaic = Mosaic.create(tmp_path_factory.mktemp("m") / "mosaic.zarr", grid, CLASSES)
    for seed, tile in enumerate(grid.tiles()):
        rng = np.random.default_rng(seed)
        probability = rng.integers(0, 10_001, (512, 512)).astype(np.uint16)
        classes = (probability >= 5000).astype(np.uint8)
        classes[:20], probability[:20] = 255, 65_535
        mosaic.write(tile, TileMap(classes, probability, classes < 2, classes * 0))
    return mosaic


def test_both_are_valid_cogs_on_the_grid(mosaic: Mosaic, tmp_path: Path) -> None:
    write_change_cog(mosaic, tmp_path / "change.tif", COLORS)
    write_probability_cog(mosaic, tmp_path / "probability.tif")
    for name in ("change.tif", "probability.tif"):
        valid, errors, warnings = cog_validate(tmp_path / name, strict=True)
        assert valid, (errors, warnings)
        with rasterio.open(tmp_path / name) as file:
            assert file.shape == (900, 700) and file.nodata == 255
            assert file.transform == mosaic.grid.transform(REGION)
            assert file.overviews(1)
    with rasterio.open(tmp_path / "change.tif") as file:
        np.testing.assert_array_equal(file.read(1), mosaic.read("class", REGION))
        assert {value: file.colormap(1)[value] for value in (0, 1)} == {
            value: COLORS[value] for value in (0, 1)
        }
    with rasterio.open(tmp_path / "probability.tif") as file:
        stored = mosaic.read("probability", REGION)
        expected = np.where(stored == 65_535, 255, np.rint(stored / 100))
        np.testing.assert_array_equal(file.read(1), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["change.tif", "probability.tif"]


def test_the_same_mosaic_gives_the_same_bytes(mosaic: Mosaic, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        write_change_cog(mosaic, tmp_path / name, COLORS)
    assert file_sha256(tmp_path / "a.tif") == file_sha256(tmp_path / "b.tif")
