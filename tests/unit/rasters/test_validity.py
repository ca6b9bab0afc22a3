"""A pixel is observed only if nothing that is stated speaks against it, and nothing else weighs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.warp
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, Resampling

from noise2map_core.catalog.scene import BandSource, MaskSource, Scene
from noise2map_core.imagery.masks import read_hidden
from noise2map_core.imagery.reader import read_bands, read_pixels
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.settings.imagery import MaskConfig
from noise2map_core.testing.catalog import serve_catalog
from tests.raster_factories import CRS, frame, noise, scene_of, write_tif

WHOLE = frame(60, 70)
SEEN = np.ones(WHOLE.shape, np.bool_)
SEEN[15:30, 20:45] = SEEN[40, 50] = False
SEEN[:, 66:] = False

GRIDS = {
    "own": WHOLE,
    "beside": frame(50, 60, WHOLE.affine.c + 33.3, WHOLE.affine.f - 41.7),
    "zone": GeoBox.from_bbox(
        WHOLE.extent.to_crs("EPSG:32632").boundingbox, crs="EPSG:32632", resolution=10
    ),
    "coarser": frame(20, 24, resolution=25.0),
}


def pixels_of(dtype: str, hidden: float) -> NDArray[Any]:
    """Smooth ground with what must not be seen in its holes."""
    row, col = np.indices(WHOLE.shape)
    ground = (60 + row + 2 * (col % 17)).astype(dtype)
    ground[~SEEN] = hidden
    return ground


def internal_mask(path: Path, **profile: Any) -> BandSource:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_tif(path, pixels_of("uint16", 60_000), WHOLE, **profile)
        with rasterio.open(path, "r+") as file:
            file.write_mask(SEEN)
    return BandSource("b", str(path), 1, None, None)


def internal_mask_and_nodata_of_the_item(path: Path) -> BandSource:
    return replace(internal_mask(path), nodata=0.0)


def mask_beside(path: Path, **profile: Any) -> BandSource:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        write_tif(path, pixels_of("uint16", 60_000), WHOLE, **profile)
        with rasterio.open(path, "r+") as file:
            file.write_mask(SEEN)
    assert path.with_name(path.name + ".msk").is_file()
    return BandSource("b", str(path), 1, None, None)


def mask_beside_and_nodata_of_the_file(path: Path) -> BandSource:
    return mask_beside(path, nodata=0)


def alpha(path: Path, count: int = 3, nodata: float | None = None) -> BandSource:
    bands = np.stack([pixels_of("uint8", 255)] * count + [(SEEN * 255).astype(np.uint8)])
    write_tif(path, bands, WHOLE, nodata=nodata)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*[ColorInterp.gray] * count, ColorInterp.alpha]
    return BandSource("b", str(path), 1, None, None)


def alpha_and_nodata(path: Path) -> BandSource:
    return alpha(path, nodata=0)


def alpha_of_four_bands(path: Path) -> BandSource:
    return alpha(path, 4)


def two_nodata(path: Path) -> BandSource:
    pixels = pixels_of("int16", -32768)
    pixels[15:20][~SEEN[15:20]] = -1
    write_tif(path, pixels, WHOLE, nodata=-32768)
    return BandSource("b", str(path), 1, -1.0, None)


def not_a_number(path: Path) -> BandSource:
    write_tif(path, pixels_of("float32", np.nan), WHOLE)
    return BandSource("b", str(path), 1, None, None)


def infinite(path: Path) -> BandSource:
    pixels = pixels_of("float64", np.inf)
    pixels[15:20][~SEEN[15:20]] = -np.inf
    write_tif(path, pixels, WHOLE, nodata=-9999)
    return BandSource("b", str(path), 1, 0.0, None)


def nodata_of_float32(path: Path) -> BandSource:
    """Stated in twice as many digits as the file can hold."""
    pixels = pixels_of("float32", np.float32(-3.4028234663852886e38))
    write_tif(path, pixels, WHOLE)
    return BandSource("b", str(path), 1, -3.4028234e38, None)


STATEMENTS = (
    internal_mask, internal_mask_and_nodata_of_the_item, mask_beside,
    mask_beside_and_nodata_of_the_file, alpha, alpha_and_nodata, alpha_of_four_bands, two_nodata,
    not_a_number, infinite, nodata_of_float32,
)  # fmt: skip


def scene_with(*sources: BandSource) -> Scene:
    return replace(scene_of("x", geobox=WHOLE), bands=sources)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("write", STATEMENTS, ids=lambda write: write.__name__)
def test_what_is_hidden_is_not_seen_and_weighs_nothing(
    tmp_path: Path, write: Callable[[Path], BandSource], grid: GeoBox
) -> None:
    """Against GDAL's warp of the same numbers as float64, with NaN where they are hidden."""
    source = write(tmp_path / "a.tif")
    image, valid = read_pixels([scene_with(source)], grid)
    mean = grid is GRIDS["coarser"]
    expected = np.full(grid.shape, np.nan)
    rasterio.warp.reproject(
        np.where(SEEN, pixels_of("float64", 0), np.nan), expected, src_transform=WHOLE.affine,
        src_crs=CRS, src_nodata=np.nan, dst_transform=grid.affine, dst_crs=str(grid.crs),
        dst_nodata=np.nan, resampling=Resampling.average if mean else Resampling.bilinear,
        **({} if mean else {"XSCALE": 1, "YSCALE": 1}),
    )  # fmt: skip
    assert np.isfinite(image).all() and not image[:, ~valid].any()
    assert 0.4 < valid.mean() < 0.9
    assert (valid != np.isfinite(expected)).mean() < 2e-3  # places on the edge of two pixels
    both = valid & np.isfinite(expected)
    assert np.abs(image[0] - expected)[both].max() <= 1


def test_the_near_infrared_is_no_transparency_though_the_file_says_so(tmp_path: Path) -> None:
    source = alpha(tmp_path / "a.tif")
    bands = [replace(source, name=f"b{number}", band=number) for number in (1, 2, 3, 4)]
    image, observed = read_bands(bands, WHOLE)
    assert observed.all() and np.array_equal(image[3] > 0, SEEN)
    assert np.array_equal(read_bands(bands[:3], WHOLE)[1], SEEN)


def test_a_mask_of_another_size_is_refused_by_name(tmp_path: Path) -> None:
    source = mask_beside(tmp_path / "a.tif")
    small = frame(8, 8)
    write_tif(tmp_path / "b.tif", noise(8, 8), small)
    (tmp_path / "a.tif.msk").rename(tmp_path / "b.tif.msk")
    with pytest.raises(AssetReadError, match=r"b\.tif\.msk has 70 x 60 pixels, .* 8 x 8"):
        read_bands([replace(source, href=str(tmp_path / "b.tif"))], small)


def test_a_mask_beside_a_file_on_the_web_is_found_with_one_question(tmp_path: Path) -> None:
    root = tmp_path / "web"
    root.mkdir()
    empty = {"type": "Catalog", "id": "x", "stac_version": "1.0.0", "description": "", "links": []}
    (root / "catalog.json").write_text(json.dumps(empty))
    for name in ("a.tif", "plain.tif"):
        mask_beside(root / name)
    (root / "plain.tif.msk").unlink()
    internal_mask(root / "inside.tif")
    rasterio.shutil.copy(root / "plain.tif", root / "cog.tif", driver="COG")
    with serve_catalog(root) as server:
        read: dict[str, Any] = {
            name: read_bands([BandSource("b", f"{server.url}/files/{name}", 1, None, None)], WHOLE)[
                1
            ]
            for name in ("a.tif", "plain.tif", "inside.tif", "cog.tif")
            for _ in range(2)
        }
        asked = [line for line in server.requests if ".msk" in line]
    assert np.array_equal(read["a.tif"], SEEN) and np.array_equal(read["inside.tif"], SEEN)
    assert read["plain.tif"].all() and read["cog.tif"].all()
    assert sum("plain.tif.msk" in line for line in asked) == 1
    assert not any(name in line for line in asked for name in ("inside.tif", "cog.tif"))


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_numbers_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    path = write_tif(tmp_path / "slc.tif", noise(8, 8), frame(8, 8), dtype=dtype)
    with pytest.raises(AssetReadError, match=rf"slc\.tif holds complex numbers \({dtype}\)"):
        read_pixels([scene_of(path, geobox=frame(8, 8))], frame(8, 8))


def test_a_cloud_mask_of_fractions_is_refused_by_name(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "scl.tif", noise(8, 8, "float32"), frame(8, 8))
    scene = scene_of(path, geobox=frame(8, 8))
    scene = replace(scene, mask=MaskSource("qa_pixel", scene.bands[0]))
    with pytest.raises(AssetReadError, match=r"scl\.tif .* fractions"):
        read_hidden(scene, frame(8, 8), MaskConfig())
