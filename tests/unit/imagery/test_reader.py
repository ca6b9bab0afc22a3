import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import rasterio.warp
import shapely
from hypothesis import HealthCheck, given, settings
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from rasterio.enums import Resampling

from noise2map_core.catalog.search import search_scenes
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.imagery.reader import inspect, pixel_type, read_pixels
from noise2map_core.rasters.identity import pin_scenes
from noise2map_core.runtime import patience
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.settings.catalog import PATIENCE_S, SearchConfig
from noise2map_core.testing.catalog import Fault, serve_catalog
from noise2map_core.testing.scenes import EmbeddedCatalog
from tests.raster_factories import CRS, frame, noise, scene_of, write_tif

PUCALLPA = AreaOfInterest("pucallpa", shapely.box(-74.6, -8.5, -74.4, -8.35))


def search(catalog: Path | str, collection: str, aoi: AreaOfInterest, when: str, bands: Any) -> Any:
    return search_scenes(
        SearchConfig(catalog=str(catalog), collection=collection), aoi, when, bands
    )


def test_a_scene_on_the_grid_is_read_bit_for_bit(real_data: Path) -> None:
    bands = ("red", "swir22")
    aoi = AreaOfInterest("taizhou", shapely.box(119.85, 32.45, 119.95, 32.5))
    catalog = real_data / "stac" / "catalog.json"
    (scene,) = search(catalog, "landsat-taizhou", aoi, "2000-03-17", bands)
    for number, source in enumerate(scene.bands):
        with rasterio.open(source.href) as file:
            whole = GeoBox(file.shape, file.transform, file.crs)
            image, valid = read_pixels([scene], whole[37:171, 210:400])
            assert np.array_equal(image[number], file.read(1)[37:171, 210:400])
            assert valid.all()


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("zoom", [0.5, 1.0, 1.3])
def test_reprojected_pixels_are_those_of_odc_stac(
    real_data: Path, resampling: str, zoom: float
) -> None:
    catalog = real_data / "stac" / "catalog.json"
    (scene,) = search(catalog, "landsat-pucallpa", PUCALLPA, "1990", ("red", "nir08"))
    extent = Geometry(PUCALLPA.geometry, "EPSG:4326").to_crs("EPSG:32718").boundingbox
    geobox = GeoBox.from_bbox(extent, crs="EPSG:32718", resolution=89.2 * zoom)
    image, valid = read_pixels([scene], geobox, resampling)
    oracle = odc.stac.load(
        [pystac.Item.from_file(scene.href)],
        bands=["red", "nir08"],
        geobox=geobox,
        resampling=resampling,
        nodata=0,
    )
    assert valid.mean() > 0.99
    for number, band in enumerate(("red", "nir08")):
        ours, theirs = np.where(valid, image[number], 0), oracle[band].values[0]
        away = np.abs(ours.astype(int) - theirs)
        # GDAL projects some pixels of a row only, and looks between them: by 0.016 pixels off here.
        if resampling == "nearest":
            assert (away > 0).mean() < 0.03
        else:
            assert away.max() <= 4 and (away > 0).mean() < 0.2


def test_far_outside_all_scenes_nothing_is_valid(real_data: Path) -> None:
    catalog = real_data / "stac" / "catalog.json"
    scenes = search(catalog, "landsat-pucallpa", PUCALLPA, "1990", ("red",))
    image, valid = read_pixels(scenes, frame(64, 64))
    assert image.shape == (1, 64, 64) and not image.any() and not valid.any()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.integers(-80, 80), col=st.integers(-80, 80), size=st.integers(1, 90))
def test_any_window_of_a_file_holds_its_pixels_and_invalid_zeros_beside(
    tmp_path: Path, row: int, col: int, size: int
) -> None:
    pixels, whole = noise(60, 70), frame(60, 70)
    path = tmp_path / "whole.tif"
    if not path.exists():
        write_tif(path, pixels, whole)
    wide = np.pad(pixels, 200)[200 + row : 200 + row + size, 200 + col : 200 + col + size]
    geobox = frame(size, size, whole.affine.c + 10 * col, whole.affine.f - 10 * row)
    image, valid = read_pixels([scene_of(path, geobox=whole)], geobox)
    assert np.array_equal(image[0], wide)
    assert np.array_equal(valid, wide > 0)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    row=st.integers(-50, 130), col=st.integers(-50, 130), size=st.integers(1, 90),
    zoom=st.integers(2, 4),
)  # fmt: skip
def test_a_coarser_file_on_a_grid_that_fits_is_what_gdal_makes_of_it(
    tmp_path: Path, row: int, col: int, size: int, zoom: int
) -> None:
    pixels = noise(30, 35)
    pixels[10:12, 5:9] = 0
    step, path = 10.0 * zoom, tmp_path / f"coarse{zoom}.tif"
    coarse = frame(30, 35, resolution=step)
    if not path.exists():
        write_tif(path, pixels, coarse, nodata=0)
    box = frame(size, size, coarse.affine.c + 10 * col, coarse.affine.f - 10 * row)
    image, valid = read_pixels([scene_of(path, geobox=coarse)], box, "nearest")
    expected = np.zeros(box.shape, np.uint8)
    rasterio.warp.reproject(
        pixels, expected, src_transform=coarse.affine, src_crs=CRS, dst_transform=box.affine,
        dst_crs=CRS, resampling=Resampling.nearest, src_nodata=0, dst_nodata=0,
    )  # fmt: skip
    assert np.array_equal(image[0], expected)
    assert np.array_equal(valid, expected > 0)


@pytest.mark.parametrize(("rows", "cols"), [(60, 0), (-1, 0), (0, 70), (0, -1), (60, 70)])
def test_a_window_that_only_touches_a_file_holds_nothing_of_it(
    tmp_path: Path, rows: int, cols: int
) -> None:
    """Of no pixel in the file, on its own grid and on one turned to another CRS."""
    whole = frame(60, 70)
    scene = scene_of(write_tif(tmp_path / "whole.tif", noise(60, 70), whole), geobox=whole)
    beside = frame(1, 1, whole.affine.c + 10 * cols, whole.affine.f - 10 * rows)
    image, valid = read_pixels([scene], beside)
    assert image.shape == (1, 1, 1) and not image.any() and not valid.any()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_a_window_of_no_pixels_reads_none(tmp_path: Path, shape: tuple[int, int]) -> None:
    whole = frame(60, 70)
    scene = scene_of(write_tif(tmp_path / "whole.tif", noise(60, 70), whole), geobox=whole)
    image, valid = read_pixels([scene], frame(*shape))
    assert image.shape == (1, *shape) and valid.shape == shape


def test_the_first_scene_with_a_valid_pixel_gives_it_in_all_bands(tmp_path: Path) -> None:
    whole = frame(8, 8)
    first, second = noise(8, 8, seed=1), noise(8, 8, seed=2)
    holes = first.copy()
    holes[2:5, 3:6] = 0
    paths = [
        write_tif(tmp_path / f"{n}.tif", pixels, whole, nodata=0)
        for n, pixels in enumerate((holes, first, second, second))
    ]
    scenes = [scene_of(*paths[:2], geobox=whole), scene_of(*paths[2:], geobox=whole)]
    image, valid = read_pixels(scenes, whole)
    assert valid.all()
    expected = np.where(holes == 0, second, first)
    assert np.array_equal(image[0], expected) and np.array_equal(image[1], expected)


def test_scenes_behind_a_full_one_are_not_read(tmp_path: Path) -> None:
    whole = frame(8, 8)
    full = write_tif(tmp_path / "full.tif", noise(8, 8), whole)
    cut = write_tif(tmp_path / "cut.tif", noise(8, 8), whole)
    scenes = pin_scenes([scene_of(full, geobox=whole), scene_of(cut, geobox=whole)])
    pixel_type(scenes)
    with cut.open("r+b") as file:
        file.truncate(200)
    assert read_pixels(scenes, whole)[1].all()


@pytest.mark.parametrize("stated", [None, 7.0])
def test_nodata_of_the_item_and_of_the_file_both_mean_no_observation(
    tmp_path: Path, stated: float | None
) -> None:
    pixels, whole = noise(8, 8), frame(8, 8)
    pixels[0, :4], pixels[1, :] = 7, 9
    path = write_tif(tmp_path / "a.tif", pixels, whole, nodata=9)
    _, valid = read_pixels([scene_of(path, geobox=whole, nodata=stated)], whole)
    assert np.array_equal(valid, (pixels != 9) & (pixels != stated))


def test_nodata_that_the_type_cannot_hold_is_none(tmp_path: Path) -> None:
    whole = frame(8, 8)
    path = write_tif(tmp_path / "a.tif", noise(8, 8), whole)
    scene = scene_of(path, geobox=whole, nodata=-9999.0)
    assert inspect(scene.bands[0]).nodata is None
    assert read_pixels([scene], whole)[1].all()


@pytest.mark.parametrize("shift", [0.0, 3.3])
def test_nan_is_nodata_on_the_same_grid_and_on_another(tmp_path: Path, shift: float) -> None:
    pixels, whole = noise(20, 20, "float32"), frame(20, 20)
    pixels[5:9, 5:9] = np.nan
    path = write_tif(tmp_path / "a.tif", pixels, whole, nodata=np.nan)
    target = frame(10, 10, whole.affine.c + 20 + shift, whole.affine.f - 20)
    image, valid = read_pixels([scene_of(path, geobox=whole)], target, "nearest")
    assert 0 < valid.sum() < valid.size
    assert np.isfinite(image).all()


@pytest.mark.parametrize("shift", [0.0, 10.0 / 3])
def test_a_mask_inside_the_file_is_honoured(tmp_path: Path, shift: float) -> None:
    whole, mask = frame(32, 32), np.full((32, 32), 255, np.uint8)
    mask[:, 16:] = 0
    path = tmp_path / "masked.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_tif(path, noise(32, 32), whole)
        with rasterio.open(path, "r+") as file:
            file.write_mask(mask)
    target = frame(16, 32, whole.affine.c + shift, whole.affine.f)
    _, valid = read_pixels([scene_of(path, geobox=whole)], target, "bilinear")
    assert valid[:, :15].all() and not valid[:, 16:].any()


def test_a_grid_that_is_a_fifth_of_a_pixel_off_is_resampled(tmp_path: Path) -> None:
    whole = frame(40, 40)
    ramp = np.tile(np.arange(0, 200, 5, dtype=np.uint8), (40, 1))
    path = write_tif(tmp_path / "ramp.tif", ramp, whole)
    target = frame(20, 20, whole.affine.c + 102, whole.affine.f - 100)
    image, valid = read_pixels([scene_of(path, geobox=whole)], target, "bilinear")
    assert valid.all()
    assert np.array_equal(image[0], ramp[10:30, 10:30] + 1)


def test_a_much_coarser_grid_takes_the_mean_of_what_lies_under_it(tmp_path: Path) -> None:
    pixels, whole = noise(256, 256, "uint16"), frame(256, 256)
    path = write_tif(tmp_path / "fine.tif", pixels, whole)
    coarse = frame(8, 8, resolution=320.0)
    image, valid = read_pixels([scene_of(path, geobox=whole)], coarse, "bilinear")
    means = pixels.reshape(8, 32, 8, 32).mean(axis=(1, 3))
    assert valid.all()
    assert np.abs(image[0] - means).max() < 15 < means.std() * 100


def test_bands_of_different_types_are_refused_by_name(tmp_path: Path) -> None:
    whole = frame(8, 8)
    one = write_tif(tmp_path / "one.tif", noise(8, 8), whole)
    other = write_tif(tmp_path / "other.tif", noise(8, 8, "uint16"), whole)
    with pytest.raises(AssetReadError, match=r"other\.tif is uint16, but .*one\.tif is uint8"):
        read_pixels([scene_of(one, other, geobox=whole)], whole)


def _missing(path: Path) -> None:
    path.unlink()


def _truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _no_tiff(path: Path) -> None:
    with rasterio.open(
        path, "w", driver="JPEG", count=1, height=8, width=8, dtype="uint8"
    ) as picture:
        picture.write(np.ones((1, 8, 8), np.uint8))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("damage", "message"),
    [(_missing, "does not exist"), (_truncated, "truncated"), (_no_tiff, "not a GeoTIFF")],
)
def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong(
    tmp_path: Path, damage: Any, message: str
) -> None:
    whole = frame(200, 200)
    path = write_tif(tmp_path / "red.tif", noise(200, 200), whole)
    damage(path)
    with pytest.raises(AssetReadError, match=rf"red\.tif.*{message}") as caught:
        read_pixels([scene_of(path, geobox=whole)], whole)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_without_a_crs_is_named(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "bare.tif", noise(8, 8), frame(8, 8), crs=None)
    with pytest.raises(AssetReadError, match=r"bare\.tif has no CRS"):
        read_pixels([scene_of(path, geobox=frame(8, 8))], frame(8, 8))


def embedded_scenes(embedded: EmbeddedCatalog, catalog: str, patience_s: float = PATIENCE_S) -> Any:
    where = SearchConfig(catalog=catalog, collection=embedded.collection, patience_s=patience_s)
    return search_scenes(where, _whole_earth(), embedded.before, embedded.bands)


def _whole_earth() -> AreaOfInterest:
    return AreaOfInterest("earth", shapely.box(-180, -90, 180, 90))


def test_pixels_over_http_are_those_of_the_disk(embedded: EmbeddedCatalog) -> None:
    local = embedded_scenes(embedded, embedded.catalog)
    geobox = inspect(local[0].bands[0]).geobox[20:150, 30:170]
    with serve_catalog(embedded.root) as server:
        remote = embedded_scenes(embedded, server.url)
        for one, other in zip(read_pixels(local, geobox), read_pixels(remote, geobox), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("fault", "message"),
    [(Fault.MISSING, "does not exist"), (Fault.FAILING, "500"), (Fault.TRUNCATED, "truncated")],
)
def test_a_server_that_does_not_give_a_file_is_named(
    embedded: EmbeddedCatalog, fault: Fault, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.01)
    asset = f"{embedded.bands[0]}.tif"
    with serve_catalog(embedded.root, faults={asset: fault}) as server:
        scenes = embedded_scenes(embedded, server.static, patience_s=0.3)
        geobox = inspect(scenes[0].bands[1]).geobox
        with pytest.raises(AssetReadError, match=rf"http.*{asset}.*{message}"):
            read_pixels(scenes, geobox)
        tries = [line for line in server.requests if asset in line]
    assert len(tries) > (3 if fault is Fault.FAILING else 0)


def test_nodata_that_only_the_item_states_does_not_leak_into_means(tmp_path: Path) -> None:
    whole = frame(256, 256)
    pixels = np.full((256, 256), 100, np.uint8)
    pixels[::3] = 200
    path = write_tif(tmp_path / "striped.tif", pixels, whole)
    scene = scene_of(path, geobox=whole, nodata=200.0)
    image, valid = read_pixels([scene], frame(32, 32, resolution=80.0), "bilinear")
    assert valid.any() and set(np.unique(image[0, valid])) == {100}


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_a_warped_pixel_does_not_depend_on_the_window_it_is_read_in(
    tmp_path: Path, resampling: str
) -> None:
    whole = frame(200, 200)
    paths = []
    for number, name in enumerate(("full.tif", "holed.tif")):
        pixels = noise(200, 200, seed=number)
        pixels[90:110, 80 : 80 + 40 * number] = 0
        paths.append(write_tif(tmp_path / name, pixels, whole, nodata=0))
    scene = scene_of(*paths, geobox=whole)
    extent = whole.extent.to_crs("EPSG:32632").boundingbox
    target = GeoBox.from_bbox(extent, crs="EPSG:32632", resolution=10)[20:180, 20:180]
    image, valid = read_pixels([scene], target, resampling)
    for rows, cols in ((slice(0, 77), slice(0, 53)), (slice(61, 160), slice(40, 160))):
        part, part_valid = read_pixels([scene], target[rows, cols], resampling)
        assert np.array_equal(part_valid, valid[rows, cols])
        away = np.abs(part.astype(int) - image[:, rows, cols])[:, part_valid]
        assert (away.max() <= 1) if resampling != "nearest" else ((away > 0).mean() < 5e-4)
        assert away.mean() < 0.02


def test_bands_resampled_together_are_those_resampled_apart(tmp_path: Path) -> None:
    whole = frame(100, 100)
    paths = [
        write_tif(tmp_path / f"{n}.tif", noise(100, 100, seed=n), whole, nodata=0) for n in range(3)
    ]
    target = frame(60, 60, whole.affine.c + 33.3, whole.affine.f - 41.7, resolution=11.0)
    together, _ = read_pixels([scene_of(*paths, geobox=whole)], target)
    for number, path in enumerate(paths):
        apart, _ = read_pixels([scene_of(path, geobox=whole)], target)
        with rasterio.open(path) as file:
            oracle = np.zeros(target.shape, np.uint8)
            rasterio.warp.reproject(
                rasterio.band(file, 1), oracle, src_nodata=0, dst_nodata=0,
                dst_transform=target.affine, dst_crs=str(target.crs),
                resampling=Resampling.bilinear,
            )  # fmt: skip
        assert np.array_equal(together[number], apart[0])
        away = np.abs(together[number].astype(int) - oracle)
        assert away.max() <= 1 and (away > 0).mean() < 2e-3  # halves, which GDAL rounds either way


def test_pixels_of_a_server_with_hiccups_are_right_or_the_file_is_named(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.01)
    local = embedded_scenes(embedded, embedded.catalog)
    whole = inspect(local[0].bands[0]).geobox
    windows = [whole[row : row + 64, col : col + 96] for row in (0, 90, 190) for col in (0, 150)]
    failed = right = 0
    with serve_catalog(embedded.root, faults={".tif": Fault.FLAKY}) as server:
        remote = embedded_scenes(embedded, server.static)
        for window in windows:
            try:
                image, valid = read_pixels(remote, window)
            except AssetReadError as error:
                failed += 1
                assert re.search(rf"asset {server.url}.*\.tif", str(error))
                continue
            expected, expected_valid = read_pixels(local, window)
            right += 1
            assert np.array_equal(image, expected) and np.array_equal(valid, expected_valid)
        ranges = sum("bytes=" in line for line in server.requests)
    assert ranges >= 10 and right >= 5 and failed <= 1
