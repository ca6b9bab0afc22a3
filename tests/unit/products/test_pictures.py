"""Pictures of the imagery: read by parts as if at once, of a larger region no more pixels."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.window import Window
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.products import pictures
from noise2map_core.products.pictures import coarse_geobox, read_picture, stretched
from noise2map_core.rasters import blocks
from noise2map_core.runtime.errors import AssetReadError
from tests.map_factories import region_grid
from tests.mappers import pickled
from tests.raster_factories import frame, noise, scene_of, write_tif

SIDE, STEP = 300, 2


def scene_at(folder: Path, name: str, geobox: GeoBox, seed: int) -> Scene:
    path = write_tif(folder / f"{name}.tif", noise(*geobox.shape, seed=seed), geobox)
    return scene_of(path, geobox=geobox, name=name)


@pytest.fixture
def halves(tmp_path: Path) -> list[Scene]:
    """Two scenes, side by side, that have a strip in common, and leave the lower edge bare."""
    whole = frame(SIDE, SIDE)
    parts = whole[: SIDE - 40, : SIDE // 2 + 30], whole[: SIDE - 40, SIDE // 2 - 30 :]
    return [scene_at(tmp_path, f"s{n}", part, n) for n, part in enumerate(parts)]


def test_parts_by_whoever_make_the_picture_of_one_read(
    halves: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "PART_PX", 64)
    grid = region_grid(SIDE, SIDE, 64)
    photo = read_picture(halves, ("b0",), grid, STEP, mapper=pickled)
    image, valid = read_pixels(halves, coarse_geobox(grid, STEP))
    assert np.array_equal(photo.valid, valid) and 0.8 < valid.mean() < 0.9
    assert np.array_equal(photo.rgb, stretched(image, valid, (0, 0, 0)))


def test_a_scene_that_cannot_be_read_is_left_out_only_where_that_is_asked_for(
    halves: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "PART_PX", 64)
    Path(halves[1].bands[0].href).write_bytes(b"gone")
    grid = region_grid(SIDE, SIDE, 64)
    with pytest.raises(AssetReadError, match=r"s1\.tif"):
        read_picture(halves, ("b0",), grid, STEP)
    photo = read_picture(halves, ("b0",), grid, STEP, skip_unreadable=True)
    _, valid = read_pixels(halves[:1], coarse_geobox(grid, STEP))
    assert np.array_equal(photo.valid, valid)


def test_a_larger_region_takes_no_more_pixels_of_its_files(tmp_path: Path) -> None:
    picture_px, read, taken = 256, blocks.read_window, list[int]()

    def counted(source: Any, info: Any, window: Window, *more: Any) -> Any:
        taken[-1] += window.height * window.width
        return read(source, info, window, *more)

    for side in (512, 1024, 2048):
        scene = scene_at(tmp_path, f"side{side}", frame(side, side), 0)
        with rasterio.open(scene.bands[0].href, "r+") as file:
            file.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
        taken.append(0)
        with patch.object(blocks, "read_window", counted):
            read_picture([scene], ("b0",), region_grid(side, side, 512), side // picture_px)
        assert picture_px**2 <= taken[-1] <= 4.5 * picture_px**2
