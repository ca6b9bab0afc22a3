"""COGs: valid, on the grid to the pixel, with a colour table."""

from dataclasses import replace
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
from noise2map_core.mapping.recut import RecutMosaic
from noise2map_core.products.rasters import RasterSpec, write_cog
from noise2map_core.products.styles.legend import amount_legend
from noise2map_core.runtime.digest import file_sha256

CLASSES = [
    {"value": 0, "name": "unchanged", "color": "#cccccc"},
    {"value": 1, "name": "changed", "color": "#d7191c"},
]
COLORS = {0: (204, 204, 204, 0), 1: (215, 25, 28, 255), 255: (0, 0, 0, 0)}
CHANGE = RasterSpec(
    "class", "change.tif", "Change map", "mode", names={0: "unchanged", 1: "changed"}, colors=COLORS
)
PROBABILITY = RasterSpec(
    "probability", "probability.tif", "Probability", "average", 65_535, dtype="uint16",
    tags={"units": "1"}, scale=0.0001, ramp=amount_legend(),
)  # fmt: skip
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
            assert file.shape == (900, 700)
            assert file.nodata == (255 if name == "change.tif" else 65_535)
            assert file.transform == mosaic.grid.transform(REGION)
            assert file.overviews(1)
    with rasterio.open(tmp_path / "change.tif") as file:
        np.testing.assert_array_equal(file.read(1), mosaic.read("class", REGION))
        assert file.colormap(1) == {value: COLORS[value] for value in (0, 1)}
        assert file.units == (None,) and file.scales == (1.0,)
    with rasterio.open(tmp_path / "probability.tif") as file:
        np.testing.assert_array_equal(file.read(1), mosaic.read("probability", REGION))
        assert (file.units, file.scales, file.offsets) == (("1",), (0.0001,), (0.0,))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "change.qml", "change.sld", "change.tif", "change.tif.aux.xml",
        "probability.qml", "probability.sld", "probability.tif",
    ]  # fmt: skip


THRESHOLDS = (0.0001, 0.1, 0.199, 0.19994, 0.19995, 1 / 3, 0.5, 0.7001, 0.9999, 0.99999)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_any_threshold_on_the_probabilities_gives_the_map_cut_at_it(
    mosaic: Mosaic, tmp_path: Path, threshold: float
) -> None:
    recut = RecutMosaic(mosaic, threshold, of_winner=False)
    write_cog(recut, CHANGE, tmp_path)
    write_cog(recut, PROBABILITY, tmp_path)
    with (
        rasterio.open(tmp_path / "change.tif") as change,
        rasterio.open(tmp_path / "probability.tif") as probability,
    ):
        classes, values = change.read(1), probability.read(1, masked=True)
        cut = values * probability.scales[0] >= threshold
    np.testing.assert_array_equal(values.mask, classes == 255)
    np.testing.assert_array_equal(cut.compressed(), classes[classes != 255])


def test_a_lone_raster_keeps_its_colours(mosaic: Mosaic, tmp_path: Path) -> None:
    write_cog(mosaic, CHANGE, tmp_path)
    (tmp_path / "change.tif.aux.xml").unlink()
    with rasterio.open(tmp_path / "change.tif") as file:
        assert [file.colormap(1)[value][:3] for value in (0, 1)] == [
            COLORS[value][:3] for value in (0, 1)
        ]


def test_an_array_that_does_not_fit_the_raster_is_no_raster(mosaic: Mosaic, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="safe"):
        write_cog(mosaic, replace(PROBABILITY, dtype="uint8", nodata=255), tmp_path)
    assert not list(tmp_path.iterdir())


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
