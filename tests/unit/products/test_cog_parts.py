"""COGs by parts: as GDAL's own driver makes them, whoever packs the parts."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.shutil import copy
from rio_cogeo.cogeo import cog_validate

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.products import cog_file, cog_parts, part_files
from noise2map_core.products.rasters import RasterSpec, write_raster
from tests.mappers import elsewhere, pickled

COLORS = {0: (9, 9, 9, 255), 1: (200, 9, 9, 255)}
CLASSES = RasterSpec("class", "map.tif", "Map", "mode", names={0: "a", 1: "b"}, colors=COLORS)
AMOUNTS = RasterSpec("p", "map.tif", "Amounts", "average", 65_535, dtype="uint16")
COARSE = {"BLOCK_PX": 64, "STEPS": 1, "PART_PX": 128}


def pixels(height: int, width: int, spec: RasterSpec) -> NDArray[Any]:
    made = np.random.default_rng(1).integers(0, 7, (height, width)).astype(spec.dtype)
    made[: height // 3, : width // 3] = spec.nodata
    return made


class FromArray:
    """A read function that can be pickled."""

    def __init__(self, array: NDArray[Any], frame: Window) -> None:
        self.array, self.frame = array, frame

    def __call__(self, window: Window) -> NDArray[Any]:
        return self.array[window.slices_in(self.frame)]


def written(folder: Path, made: NDArray[Any], spec: RasterSpec, **how: Any) -> Path:
    folder.mkdir(exist_ok=True)
    frame = Window(-50, 30, *made.shape)
    grid = RegionGrid("EPSG:32633", 10.0, 0.0, 0.0, 512, frame, shapely.box(-1e8, -1e8, 1e8, 1e8))
    write_raster(grid, spec, FromArray(made, frame), folder, **how)
    return folder / spec.file


def by_gdal(folder: Path, made: NDArray[Any], spec: RasterSpec) -> Path:
    plain, path = folder / "plain.tif", folder / "gdal.tif"
    with rasterio.open(
        plain, "w", driver="GTiff", height=made.shape[0], width=made.shape[1], count=1,
        dtype=spec.dtype, nodata=spec.nodata, crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 300, 0, -10, 500),
    ) as file:  # fmt: skip
        file.write(made, 1)
    copy(plain, path, driver="COG", compress="deflate", blocksize=cog_parts.BLOCK_PX,
         predictor="no" if spec.names else "standard", overview_resampling=spec.overviews,
         statistics="yes")  # fmt: skip
    return path


@pytest.fixture()
def coarse_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts so small that a small raster has several, and levels beyond theirs."""
    for name, value in COARSE.items():
        monkeypatch.setattr(cog_parts, name, value)
    monkeypatch.setattr("noise2map_core.products.rasters.BLOCK_PX", COARSE["BLOCK_PX"])


@pytest.mark.parametrize("spec", [CLASSES, AMOUNTS], ids=["classes", "amounts"])
@pytest.mark.usefixtures("coarse_parts")
def test_pixels_overviews_and_statistics_are_those_of_gdal(
    tmp_path: Path, spec: RasterSpec
) -> None:
    made = pixels(512, 384, spec)
    ours, other = written(tmp_path / "ours", made, spec), by_gdal(tmp_path, made, spec)
    with rasterio.open(ours) as one, rasterio.open(other) as two:
        assert one.overviews(1) == two.overviews(1) == [2, 4, 8]
        assert one.tags(1) == two.tags(1)
        assert one.tags(ns="IMAGE_STRUCTURE") == two.tags(ns="IMAGE_STRUCTURE")
        np.testing.assert_array_equal(one.read(1), made)
    for level in range(3):
        with (
            rasterio.open(ours, overview_level=level) as one,
            rasterio.open(other, overview_level=level) as two,
        ):
            np.testing.assert_array_equal(one.read(1), two.read(1))


@pytest.mark.parametrize("shape", [(1, 1), (63, 65), (129, 500), (515, 300)])
@pytest.mark.usefixtures("coarse_parts")
def test_rasters_of_any_size_are_valid_and_hold_their_pixels(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    made = pixels(*shape, AMOUNTS)
    path = written(tmp_path / "ours", made, AMOUNTS)
    valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
    assert valid, (errors, [one for one in warnings])
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), made)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


@pytest.mark.parametrize("mapper", [pickled, elsewhere])
@pytest.mark.usefixtures("coarse_parts")
def test_whoever_packs_the_parts_the_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapper: Any
) -> None:
    made = pixels(500, 300, CLASSES)
    one = written(tmp_path / "one", made, CLASSES)
    monkeypatch.setattr(part_files, "RANGE_BYTES", 1000)
    other = written(tmp_path / "other", made, CLASSES, mapper=mapper)
    assert one.read_bytes() == other.read_bytes()
    assert sorted(file.name for file in other.parent.iterdir()) == sorted(
        file.name for file in one.parent.iterdir()
    )


@pytest.mark.usefixtures("coarse_parts")
def test_beyond_four_gigabytes_offsets_are_wide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cog_file, "MOST_CLASSIC", 1)
    made = pixels(300, 300, AMOUNTS)
    path = written(tmp_path / "big", made, AMOUNTS)
    assert struct.unpack("<2sH", path.read_bytes()[:4]) == (b"II", 43)
    assert cog_validate(path, strict=True, quiet=True)[0]
    for level in (0, 1):
        with rasterio.open(path, overview_level=level) as file:
            assert file.read(1).shape == (-(-300 // (2 << level)),) * 2
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), made)
        assert float(file.tags(1)["STATISTICS_MEAN"]) == pytest.approx(made[made != 65_535].mean())
