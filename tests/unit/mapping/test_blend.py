"""Blending equals a weighted mean computed in the plain way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.mapping.blend import TileBlend, blend_weights


@given(st.integers(1, 40).map(lambda half: 2 * half))
def test_weights_are_positive_and_symmetric(chip_px: int) -> None:
    weights = blend_weights(chip_px)
    assert (weights > 0).all() and weights.max() == 1
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    np.testing.assert_array_equal(weights, weights.T)


def test_half_overlap_gives_every_pixel_the_same_total_weight() -> None:
    core = Window(0, 0, 64, 64)
    total = np.zeros((64, 64), np.float32)
    for chip in ChipLattice(32, 16).chips_touching(core):
        shared = chip.intersect(core)
        total[shared.slices_in(core)] += blend_weights(32)[shared.slices_in(chip)]
    np.testing.assert_allclose(total, total[0, 0], rtol=1e-6)


@pytest.mark.parametrize(("chip_px", "stride_px"), [(32, 16), (32, 32), (32, 24), (16, 5)])
def test_blending_tiles_equals_blending_the_whole(chip_px: int, stride_px: int) -> None:
    whole, lattice = Window(-64, -64, 128, 128), ChipLattice(chip_px, stride_px)
    logits = {
        chip: np.random.default_rng(abs(hash((chip.row, chip.col)))).normal(
            size=(2, chip_px, chip_px)
        ).astype(np.float32)
        for chip in lattice.chips_touching(whole)
    }  # fmt: skip
    expected = _blend(whole, lattice, logits)
    for row in (-64, 0):
        for col in (-64, 0):
            tile = Window(row, col, 64, 64)
            part = _blend(tile, lattice, logits)
            np.testing.assert_array_equal(part, expected[:, *tile.slices_in(whole)])


def test_equal_logits_stay_what_they_are() -> None:
    core, lattice = Window(0, 0, 48, 48), ChipLattice(32, 16)
    ones = {chip: np.full((2, 32, 32), 3.5, np.float32) for chip in lattice.chips_touching(core)}
    np.testing.assert_allclose(_blend(core, lattice, ones), 3.5, rtol=1e-6)


def _blend(core: Window, lattice: ChipLattice, logits: dict[Window, np.ndarray]) -> np.ndarray:
    blend = TileBlend(core, 2, lattice.chip_px)
    for chip in lattice.chips_touching(core):
        blend.add(chip, logits[chip])
    return blend.mean()
