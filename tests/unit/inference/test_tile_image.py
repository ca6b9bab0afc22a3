"""The pixels of a tile: what is suspected in them is the same whatever window they are read in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from noise2map_core.clouds.hidden import Hidden
from noise2map_core.clouds.suspicion import Suspicion
from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.imagery.recipe import UNCHANGED
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.tile_image import TileImage, read_window
from tests.factories import checkpoint_spec
from tests.map_factories import region_grid
from tests.raster_factories import frame, scene_of, write_tif

SIDE, REGION = 160, region_grid(160, 160, 64)
PATH = NumericPath("cpu", "any", "float32", batch=4, threads=1, torch="any")
SUSPICION = Suspicion(
    bands=(0, 1, 2), mean=((100.0,) * 3,) * 2, unit=(20.0, 20.0), bright=(4.0, 4.0), radius_px=4
)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> RegionJob:
    """A region whose later date has a cloud in its middle."""
    folder, box = tmp_path_factory.mktemp("scenes"), frame(SIDE, SIDE)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    cloud = np.hypot(y, x * 0.8) < 30 - 20 * np.abs(np.sin(np.arctan2(y, x) * 3))
    dates = []
    for name, pixels in (("before", np.full_like(y, 100)), ("after", np.where(cloud, 250, 100))):
        files = [write_tif(folder / f"{name}{n}.tif", pixels + n, box) for n in range(3)]
        dates.append((scene_of(*files, geobox=box, name=name),))
    return RegionJob(
        folder, replace(REGION, outline=shapely.box(-1e8, -1e8, 1e8, 1e8)),
        checkpoint_spec(), Path("c"), ChipLattice(32, 16), (999,), PATH, *dates, {}, "uint16", 1,
        recipe=UNCHANGED.model_copy(update={"suspicion": SUSPICION}),
    )  # fmt: skip


def read(job: RegionJob, window: Window) -> TileImage:
    made = replace(job, spec=checkpoint_spec(bands=("blue", "green", "red")))
    return read_window(made, window, made.dates)


def test_suspected_pixels_are_hidden_and_not_valid(job: RegionJob) -> None:
    found = read(job, job.grid.region)
    cloud = found.hidden[1] == Hidden.SUSPECTED
    assert 200 < cloud.sum() < 2000
    assert np.array_equal(found.valid[1], ~cloud)
    assert not found.image[1][:, cloud].any()
    assert found.valid[0].all()


def test_every_window_shows_the_same_suspicion(job: RegionJob) -> None:
    region = job.grid.region
    whole = read(job, region)
    for row in range(0, SIDE, 32):
        for col in range(0, SIDE, 40):
            part = Window(region.row + row, region.col + col, 32, 40)
            place = part.slices_in(region)
            found = read(job, part)
            assert np.array_equal(found.hidden, whole.hidden[:, *place])
            assert np.array_equal(found.image, whole.image[:, :, *place])


def test_without_suspicion_nothing_is_hidden(job: RegionJob) -> None:
    plain = replace(job, recipe=UNCHANGED)
    assert not read(plain, job.grid.region).hidden.any()
    assert UNCHANGED.key() == {}
    assert job.recipe.key().keys() == {"suspicion"}
