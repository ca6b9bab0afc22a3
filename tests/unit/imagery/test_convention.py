from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.enums import Resampling
from rasterio.warp import reproject

from noise2map_core.catalog.bands import find_bands
from noise2map_core.catalog.item import Item
from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.imagery.convention import band_convention, require_one_convention
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.runtime.errors import AssetReadError
from tests.raster_factories import frame, noise, scene_of, write_tif

SENTINEL_2 = {"scale": 0.0001, "offset": -0.1, "added_dn": -1000}
LANDSAT = {"scale": 2.75e-05, "offset": -0.2}


def stating(scene: Scene, **numbers: Any) -> Scene:
    bands = tuple(replace(band, **numbers) for band in scene.bands)
    return replace(scene, bands=bands)


@pytest.mark.parametrize("shift", [0.0, 10.0 / 3])
def test_scenes_with_and_without_the_offset_come_out_alike(tmp_path: Path, shift: float) -> None:
    whole = frame(40, 40)
    old = noise(40, 40, "uint16") * 10
    old[3:7, 3:7] = 0
    new = np.where(old > 0, old + 1000, 0).astype(np.uint16)
    target = frame(20, 20, whole.affine.c + shift + 20, whole.affine.f - 20)
    pixels = []
    for name, numbers in (("old", old), ("new", new)):
        path = write_tif(tmp_path / f"{name}.tif", numbers, whole, nodata=0)
        scene = scene_of(path, geobox=whole)
        pixels.append(
            read_pixels([stating(scene, **SENTINEL_2) if name == "new" else scene], target)
        )
    (image, valid), (harmonised, also_valid) = pixels
    assert np.array_equal(valid, also_valid) and not valid.all()
    assert np.abs(image.astype(int) - harmonised)[0, valid].max() <= (1 if shift else 0)


def test_dark_pixels_below_the_offset_stay_observed_and_next_to_nodata(tmp_path: Path) -> None:
    whole = frame(2, 2)
    numbers = np.array([[0, 1], [999, 1700]], np.uint16)
    path = write_tif(tmp_path / "dark.tif", numbers, whole, nodata=0)
    image, valid = read_pixels([stating(scene_of(path, geobox=whole), **SENTINEL_2)], whole)
    assert valid.tolist() == [[False, True], [True, True]]
    assert image[0].tolist() == [[0, 1], [1, 700]]


@pytest.mark.parametrize(
    ("dtype", "scale", "offset", "nodata"),
    [
        ("uint8", 0.2, -40.0, 0), ("uint8", 0.002, 0.49, 0), ("uint8", 0.004, -0.08, 255),
        ("uint16", 0.1, -500.0, 0), ("uint16", 0.01, 500.0, 65535), ("int16", 0.1, -500.0, -32768),
        ("int16", 0.5, 4000.0, 0), ("float32", 0.0001, -0.1, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shift", [0.0, 10.0 / 3])
def test_stored_numbers_mean_the_items_physical_values(
    tmp_path: Path, dtype: str, scale: float, offset: float, nodata: float | None, shift: float
) -> None:
    whole = frame(40, 40)
    target = frame(20, 20, whole.affine.c + shift + 20, whole.affine.f - 20)
    numbers = noise(40, 40, "int32") * (1 if dtype == "uint8" else 150)
    path = write_tif(tmp_path / "a.tif", numbers.astype(dtype), whole, nodata=nodata)
    item = Item(
        {
            "id": "i", "properties": {}, "assets": {"b": {"href": str(path), "raster:bands": [
                {"scale": scale, "offset": offset, "nodata": nodata}]}},
        },
        str(tmp_path / "i.json"),
    )  # fmt: skip
    found = find_bands(item, ["b"])
    assert found is not None
    scene = replace(scene_of(path, geobox=whole), bands=found.sources)
    image, valid = read_pixels([scene], target)
    physical = np.zeros(target.shape)
    reproject(
        numbers * scale + offset, physical, src_transform=whole.affine, src_crs=str(whole.crs),
        dst_transform=target.affine, dst_crs=str(target.crs), resampling=Resampling.bilinear,
        XSCALE=1, YSCALE=1,
    )  # fmt: skip
    said = band_convention(found.sources[0])
    assert valid.all() and said["scale"] is not None and said["offset"] is not None
    stored = image[0].astype(np.float64) * said["scale"] + said["offset"]
    assert np.abs(stored - physical).max() <= scale * 0.51


def test_fractions_and_negative_numbers_of_floats_lose_nothing_with_the_offset(
    tmp_path: Path,
) -> None:
    whole = frame(2, 2)
    numbers = np.array([[np.nan, 1000.25], [10.5, 1e5]], np.float32)
    path = write_tif(tmp_path / "f.tif", numbers, whole, nodata=np.nan)
    image, valid = read_pixels([stating(scene_of(path, geobox=whole), **SENTINEL_2)], whole)
    assert valid.tolist() == [[False, True], [True, True]]
    assert image[0][valid].tolist() == [0.25, -989.5, 99000]


def test_a_store_says_what_its_numbers_mean() -> None:
    source = BandSource("red", "red.tif", 1, None, None)
    assert band_convention(replace(source, **SENTINEL_2)) == {"scale": 0.0001, "offset": 0.0}  # type: ignore[arg-type]
    assert band_convention(replace(source, **LANDSAT)) == LANDSAT  # type: ignore[arg-type]
    assert band_convention(source) == {"scale": None, "offset": None}


def test_scenes_of_unlike_scale_are_refused_by_name(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "a.tif", geobox=frame(2, 2))
    alike = [stating(scene, **SENTINEL_2), stating(scene, scale=0.0001, offset=0.0), scene]
    require_one_convention(alike)
    with pytest.raises(AssetReadError, match=r"a\.tif has scale 2\.75e-05"):
        require_one_convention([*alike, stating(scene, **LANDSAT)])


def test_dates_of_one_sensor_with_unlike_offsets_are_refused(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "a.tif", geobox=frame(2, 2))
    with pytest.raises(AssetReadError, match=r"offset -30\.0, but .* cannot be compared"):
        require_one_convention(
            [stating(scene, scale=0.2, offset=-40.0), stating(scene, scale=0.2, offset=-30.0)]
        )
