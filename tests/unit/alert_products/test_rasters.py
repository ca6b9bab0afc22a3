"""Rasters of the state: against the arrays and a loop over pixels."""

from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import odc.geo.xr  # noqa: F401  (the accessor .odc)
import pytest
import rasterio
import rioxarray
from hypothesis import given
from hypothesis import strategies as st
from rasterio.shutil import copy
from rio_cogeo.cogeo import cog_validate

from noise2map_core.alert_products.rasters import alert_rasters, mean_percent
from noise2map_core.alert_products.source import open_state
from noise2map_core.products.rasters import write_raster
from tests.alert_product_factories import random_state, write_area

SHAPE = (560, 300)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rasters of an area; overviews begin at 512 pixels."""
    folder = tmp_path_factory.mktemp("alerts")
    write_area(folder / "farm", random_state(*SHAPE), tile_px=128)
    state = open_state(folder / "farm")
    for raster in alert_rasters(state):
        write_raster(state.grid, raster.spec, raster.reader(state), folder)
    return folder


@pytest.mark.parametrize(
    ("name", "dtype", "nodata"),
    [("status", "uint8", 255), ("first", "uint16", 0), ("last", "uint16", 0), ("hits", "uint8", 0),
     ("looks", "uint8", 0), ("p_mean", "uint8", 255)],
)  # fmt: skip
def test_each_is_a_cog_on_the_grid_with_overviews_and_units(
    made: Path, name: str, dtype: str, nodata: int
) -> None:
    path = made / f"alert_{name}.tif"
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(path) as file:
        assert (file.dtypes[0], file.nodata, file.shape) == (dtype, nodata, SHAPE)
        assert file.overviews(1) and file.tags()["epoch"] == "1970-01-01" and file.tags()["units"]
    grid = open_state(made / "farm").grid
    with rioxarray.open_rasterio(path) as opened:
        assert opened.odc.geobox == grid.geobox(grid.region)


def test_pixels_are_those_of_the_state(made: Path) -> None:
    state = random_state(*SHAPE)
    for name in ("first", "last", "hits", "looks"):
        with rasterio.open(made / f"alert_{name}.tif") as file:
            np.testing.assert_array_equal(file.read(1), state[name])
    with rasterio.open(made / "alert_status.tif") as file:
        status = file.read(1)
    assert (status[state["seen"] == 0] == 255).all()
    np.testing.assert_array_equal(status[state["seen"] > 0], state["status"][state["seen"] > 0])
    assert set(np.unique(status)) == {0, 1, 2, 3, 255}


def test_status_has_a_colour_and_a_name_for_each_code(made: Path) -> None:
    copy(made / "alert_status.tif", made / "status.vrt", driver="VRT")
    band = ElementTree.parse(made / "status.vrt").find("VRTRasterBand")
    assert band is not None
    names = [entry.text for entry in band.iter("Category")]
    assert names == ["no alert", "provisional", "confirmed", "ended"]
    with rasterio.open(made / "alert_status.tif") as file:
        colors = file.colormap(1)
    assert set(colors) == set(range(4)) and len(set(colors.values())) == 4
    assert [colors[code][3] for code in range(4)] == [0, 255, 255, 255]


@given(st.integers(0, 255), st.integers(0, 100))
def test_the_mean_is_the_exact_one_rounded(hits: int, percent: int) -> None:
    """However many hits; halves upwards, by fractions."""
    total = max(hits * percent - 1, 0)
    (found,) = mean_percent(np.array([total], np.uint16), np.array([hits], np.uint8)).tolist()
    exact = Fraction(total, hits) if hits else None
    assert found == (255 if exact is None else (exact + Fraction(1, 2)).__floor__())
