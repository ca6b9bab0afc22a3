"""Files in longitudes of any turn give the same pixels: the reader against GDAL on plain files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject

from noise2map_core.geo.turns import from_behind, outline_of
from noise2map_core.imagery.reader import read_mosaic
from tests.raster_factories import scene_of, write_tif

STEP = 0.02
"""Degrees a pixel."""
EQUATOR_M = 40_075_016.68557849


def field(longitude: NDArray[Any], latitude: NDArray[Any]) -> NDArray[Any]:
    """Smooth numbers of the globe, alike at longitudes a turn apart."""
    turn = np.radians(longitude)
    return 2000 + 800 * np.sin(3 * turn) + 400 * np.cos(40 * turn) + 5 * latitude


def geographic(folder: Path, west: float, east: float, north: float = -16.0) -> tuple[Path, GeoBox]:
    """A file of two degrees of latitude between two longitudes."""
    width, height = round((east - west) / STEP), round(2 / STEP)
    box = GeoBox((height, width), Affine(STEP, 0, west, 0, -STEP, north), "EPSG:4326")
    lon = west + STEP * (np.arange(width) + 0.5)
    lat = north - STEP * (np.arange(height) + 0.5)
    numbers = field(*np.meshgrid(lon, lat))
    return write_tif(folder / f"{west:g}.tif", numbers.astype(np.float32), box, nodata=-1), box


def utm(code: str, x: float, y: float, size: int = 40) -> GeoBox:
    return GeoBox((size, size), Affine(2000, 0, x, 0, -2000, y), code)


def expected(window: GeoBox) -> NDArray[Any]:
    """The numbers at the centres of a window's pixels."""
    height, width = window.shape
    col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = window.affine @ (col, row)
    assert window.crs is not None
    lon, lat = window.crs.transformer_to_crs("EPSG:4326")(x.ravel(), y.ravel())
    return field(np.asarray(lon), np.asarray(lat)).reshape(window.shape)


FIJI = utm("EPSG:32701", 150_000.0, 8_210_000.0)
"""The antimeridian runs through its middle."""
GREENWICH = utm("EPSG:32730", 780_000.0, 8_210_000.0)


@pytest.mark.parametrize(
    ("window", "west", "east"),
    [
        (FIJI, 170, 190), (FIJI, -190, -170), (FIJI, -180, 180), (FIJI, 0, 360), (FIJI, 530, 550),
        (FIJI, 0.01, 360.01), (GREENWICH, -10, 10), (GREENWICH, 0, 360), (GREENWICH, 350, 370),
        (GREENWICH, -180, 180), (GREENWICH, -360, 0),
    ],
)  # fmt: skip
def test_every_spelling_of_longitudes_gives_the_pixels_of_the_place(
    tmp_path: Path, window: GeoBox, west: float, east: float
) -> None:
    path, box = geographic(tmp_path, west, east)
    image, valid, *_ = read_mosaic([scene_of(path, geobox=box)], window)
    assert valid.mean() > 0.995  # but for a seam between the ends of a file, half a pixel wide
    assert np.abs(image[0] - expected(window))[valid].max() < 5


@pytest.mark.parametrize("west", [170.0, 350.0])
def test_where_the_file_ends_the_mask_ends(tmp_path: Path, west: float) -> None:
    path, box = geographic(tmp_path, west, west + 10)
    window = FIJI if west == 170 else GREENWICH
    _, valid, *_ = read_mosaic([scene_of(path, geobox=box)], window)
    height, width = window.shape
    col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    assert window.crs is not None
    x, y = window.affine @ (col.ravel(), row.ravel())
    lon, _ = window.crs.transformer_to_crs("EPSG:4326")(x, y)
    inside = (np.asarray(lon) - west) % 360 < 10
    assert 0.3 < inside.mean() < 0.7
    assert (valid.ravel() == inside).all()


@pytest.mark.parametrize("turns", [0, -1, 1])
def test_web_mercator_beyond_its_edge_is_read_too(tmp_path: Path, turns: int) -> None:
    pixel = 2000.0
    x0 = EQUATOR_M / 2 - 100 * pixel + turns * EQUATOR_M
    box = GeoBox((400, 200), Affine(pixel, 0, x0, 0, -pixel, -1_700_000), "EPSG:3857")
    lon = (x0 + pixel * (np.arange(200) + 0.5)) / EQUATOR_M * 360
    y = -1_700_000 - pixel * (np.arange(400) + 0.5)
    lat = np.degrees(2 * np.arctan(np.exp(y / 6378137)) - np.pi / 2)
    numbers = field(*np.meshgrid(lon, lat)).astype(np.float32)
    path = write_tif(tmp_path / "m.tif", numbers, box, nodata=-1)
    image, valid, *_ = read_mosaic([scene_of(path, geobox=box, proj_code="EPSG:3857")], FIJI)
    assert valid.all()
    assert np.abs(image[0] - expected(FIJI)).max() < 5


def test_a_plain_file_is_read_as_gdal_warps_it(tmp_path: Path) -> None:
    path, box = geographic(tmp_path, -10, 10)
    image, valid, *_ = read_mosaic([scene_of(path, geobox=box)], GREENWICH)
    numbers = field(*np.meshgrid(-10 + STEP * (np.arange(1000) + 0.5),
                                 -16 - STEP * (np.arange(100) + 0.5)))  # fmt: skip
    wanted = np.zeros(GREENWICH.shape)
    reproject(
        numbers, wanted, src_transform=box.affine, src_crs="EPSG:4326", tolerance=0,
        dst_transform=GREENWICH.affine, dst_crs=str(GREENWICH.crs), resampling=Resampling.bilinear,
        XSCALE=1, YSCALE=1,
    )  # fmt: skip
    assert valid.all() and np.abs(image[0] - wanted).max() < 0.01


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4167", "EPSG:3857", "EPSG:3395"])
def test_from_behind_the_antimeridian_is_the_middle(crs: str) -> None:
    from pyproj import Transformer

    here = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(1.0, 45.0)
    there = Transformer.from_crs("EPSG:4326", from_behind(crs), always_xy=True)
    assert there.transform(-179.0, 45.0) == pytest.approx(here, abs=1e-6)


def test_the_outline_of_a_file_around_a_pole_holds_the_pole() -> None:
    box = GeoBox((100, 100), Affine(20_000, 0, -1e6, 0, -20_000, 1e6), "EPSG:3031")
    south = outline_of(box).bounds
    assert south[0] == -180 and south[1] == -90 and south[2] == 180 and -82 < south[3] < -76
