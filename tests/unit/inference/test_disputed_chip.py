"""The chip that is shown is the one on which passes disagree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from noise2map_core.geo.window import Window
from noise2map_core.inference.disputed_chip import most_disputed
from noise2map_core.inference.region import Pass
from noise2map_core.mapping.mosaic import NO_PROBABILITY, Mosaic, TileMap
from tests.map_factories import CLASSES
from tests.unit.inference.test_region import GRID, job, scene


def mosaic_with(path: Path, disagreement: NDArray[np.uint16]) -> Mosaic:
    """A mosaic over GRID whose disagreement is [row, col] of the region."""
    mosaic = Mosaic.create(path, GRID, CLASSES, ("disagreement",))
    for tile in GRID.tiles():
        part = disagreement[GRID.window(tile).slices_in(GRID.tile_frame)]
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


def test_where_passes_agree_there_is_none(tmp_path: Path) -> None:
    mosaic = mosaic_with(tmp_path / "mosaic.zarr", np.zeros((256, 256), np.uint16))
    assert most_disputed(job(tmp_path, scene("full", GRID.region)), mosaic) is None
