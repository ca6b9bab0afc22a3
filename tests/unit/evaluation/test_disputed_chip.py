"""The chip that is shown is the one on which passes disagree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from noise2map_core.evaluation.disputed_chip import draw_disputed_chip, most_disputed
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.inference.region import Pass
from noise2map_core.mapping.mosaic import NO_PROBABILITY, Mosaic, TileMap
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.products.styles.palette import opaque
from tests.factories import checkpoint_spec
from tests.map_factories import CLASSES, region_grid
from tests.raster_factories import frame, noise, scene_of, write_tif
from tests.training_factories import segmentation_task
from tests.unit.inference.test_region import GRID, job, scene


def mosaic_with(path: Path, disagreement: NDArray[np.uint16], grid: RegionGrid = GRID) -> Mosaic:
    """A mosaic over `grid` whose disagreement is [row, col] of its tiles."""
    mosaic = Mosaic.create(path, grid, CLASSES, ("disagreement",))
    for tile in grid.tiles():
        part = disagreement[grid.window(tile).slices_in(grid.tile_frame)]
        zeros = np.zeros(part.shape, np.uint8)
        mosaic.write(tile, TileMap(zeros, zeros.astype(np.uint16), zeros == 0, zeros, part))
    return mosaic


@settings(max_examples=10)
@given(row=st.integers(0, 240), col=st.integers(0, 240))
def test_the_chip_holds_the_middle_of_what_is_disputed(
    row: int, col: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("disputed")
    disagreement = np.full((256, 256), 10, np.uint16)
    disagreement[:, :3] = NO_PROBABILITY
    disagreement[row : row + 16, col : col + 16] = 9_000
    wanted = replace(job(folder, scene("full", GRID.region)), evidence=(Pass(1),))
    chip = most_disputed(wanted, mosaic_with(folder / "mosaic.zarr", disagreement))
    assert chip is not None
    blob = Window(GRID.region.row + row, GRID.region.col + col, 16, 16)
    shared = chip.intersect(blob)
    assert (chip.height, chip.width) == (32, 32)
    assert not shared.is_empty


def test_the_chip_is_drawn_in_the_classes_of_each_pass(tmp_path: Path) -> None:
    spec = checkpoint_spec(tasks={"segment": segmentation_task(("other", "forest", "water"))})
    torch.manual_seed(0)
    save_checkpoint(Noise2Map(spec).eval(), spec, tmp_path / "checkpoint", "card")
    grid, pixels = region_grid(64, 64, 64), noise(64, 64, "uint16")
    files = [write_tif(tmp_path / f"{n}.tif", pixels, frame(64, 64)) for n in range(2)]
    disputed = replace(
        job(tmp_path, scene_of(*files, geobox=frame(64, 64))), grid=grid, spec=spec,
        checkpoint=tmp_path / "checkpoint", task_name="segment", evidence=(Pass(0), Pass(999)),
    )  # fmt: skip
    disagreement = np.zeros((grid.tile_frame.height, grid.tile_frame.width), np.uint16)
    disagreement[grid.region.grow(-16).slices_in(grid.tile_frame)] = 9_000
    mosaic = mosaic_with(tmp_path / "mosaic.zarr", disagreement, grid)
    draw_disputed_chip(disputed, mosaic, tmp_path / "timesteps.png")
    picture = Image.open(tmp_path / "timesteps.png").convert("RGB")
    counts = {color: count for count, color in picture.getcolors(1 << 24) or ()}
    decided = [counts.get(tuple(opaque(one.color)[:3]), 0) for one in spec.task("segment").classes]
    # Of two panels of a chip, each of which is all of its classes; the legend's patches are small.
    assert max(decided) > 10_000


def test_where_passes_agree_there_is_none(tmp_path: Path) -> None:
    mosaic = mosaic_with(tmp_path / "mosaic.zarr", np.zeros((256, 256), np.uint16))
    assert most_disputed(job(tmp_path, scene("full", GRID.region)), mosaic) is None
