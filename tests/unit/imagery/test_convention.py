from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.errors import AssetReadError
from noise2map_core.imagery.convention import band_convention, offset_dn, require_one_convention
from noise2map_core.imagery.reader import read_pixels
from tests.raster_factories import frame, noise, scene_of, write_tif

SENTINEL_2 = {"scale": 0.0001, "offset": -0.1}
LANDSAT = {"scale": 2.75e-05, "offset": -0.2}


def stating(scene: Scene, scale: float | None, offset: float | None) -> Scene:
    bands = tuple(replace(band, scale=scale, offset=offset) for band in scene.bands)
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


def band(scale: float | None, offset: float | None) -> BandSource:
    return BandSource("red", "red.tif", 1, None, None, scale, offset)


def test_only_offsets_of_whole_numbers_are_taken_off() -> None:
    assert offset_dn(band(**SENTINEL_2)) == -1000
    assert offset_dn(band(**LANDSAT)) == offset_dn(band(None, None)) == 0
    assert band_convention(band(**SENTINEL_2)) == {"scale": 0.0001, "offset": 0.0}
    assert band_convention(band(**LANDSAT)) == LANDSAT


def test_scenes_of_unlike_scale_are_refused_by_name(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "a.tif", geobox=frame(2, 2))
    alike = [stating(scene, **SENTINEL_2), stating(scene, 0.0001, 0.0), scene]
    require_one_convention(alike)
    with pytest.raises(AssetReadError, match=r"a\.tif has scale 2\.75e-05"):
        require_one_convention([*alike, stating(scene, **LANDSAT)])
