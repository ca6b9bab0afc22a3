"""COGs: valid, on the grid to the pixel, with a colour table."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.shutil import copy
from rio_cogeo.cogeo import cog_validate

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import Mosaic, TileMap
from noise2map_core.products.rasters import RasterSpec, write_cog
from noise2map_core.runtime.digest import file_sha256

CLASSES = [
    {"value": 0, "name": "unchanged", "color": "#cccccc"},
    {"value": 1, "name": "changed", "color": "#d7191c"},
]
COLORS = {0: (204, 204, 204, 255), 1: (215, 25, 28, 255), 255: (0, 0, 0, 0)}
CHANGE = RasterSpec(
    "class", "change.tif", "Change map", "mode", names={0: "unchanged", 1: "changed"}, colors=COLORS
)
PROBABILITY = RasterSpec("probability", "probability.tif", "Probability", "average")
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
    write_cog(mosaic, CHANGE, tmp_path)
    write_cog(mosaic, PROBABILITY, tmp_path)
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
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "change.tif", "change.tif.aux.xml", "probability.tif",
    ]  # fmt: skip


def test_the_same_mosaic_gives_the_same_bytes(mosaic: Mosaic, tmp_path: Path) -> None:
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        write_cog(mosaic, CHANGE, tmp_path / run)
    assert file_sha256(tmp_path / "one/change.tif") == file_sha256(tmp_path / "two/change.tif")


def test_gdal_knows_statistics_and_the_names_of_the_values(mosaic: Mosaic, tmp_path: Path) -> None:
    write_cog(mosaic, CHANGE, tmp_path)
    write_cog(mosaic, PROBABILITY, tmp_path)
    with rasterio.open(tmp_path / "probability.tif") as file:
        values, tags = file.read(1, masked=True).compressed(), file.tags(1)
    assert float(tags["STATISTICS_MEAN"]) == pytest.approx(values.mean())
    assert float(tags["STATISTICS_MAXIMUM"]) == values.max()
    # A virtual raster tells what GDAL itself has read.
    copy(tmp_path / "change.tif", tmp_path / "change.vrt", driver="VRT")
    band = ElementTree.parse(tmp_path / "change.vrt").find("VRTRasterBand")
    assert band is not None
    assert [entry.text for entry in band.iter("Category")] == ["unchanged", "changed"]
