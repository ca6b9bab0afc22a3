"""Blending equals a weighted mean computed in the plain way."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.inference.networks.blend import TileBlend, blend_weights


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


@pytest.mark.parametrize(("chip_px", "stride_px"), [(32, 16), (32, 32), (32, 24), (16, 5)])
@pytest.mark.parametrize("core", [Window(-64, 0, 64, 64), Window(7, -33, 41, 70)], ids=str)
def test_chips_by_batches_give_the_bits_of_a_sum_chip_by_chip(
    chip_px: int, stride_px: int, core: Window
) -> None:
    """Some chips are left out, as those without a wanted pixel are."""
    lattice, rng = ChipLattice(chip_px, stride_px), np.random.default_rng(0)
    chips = [chip for chip in lattice.chips_touching(core) if rng.random() > 0.2]
    logits = {chip: rng.normal(size=(3, chip_px, chip_px)).astype(np.float32) for chip in chips}
    np.testing.assert_array_equal(_blend(core, lattice, logits), _summed(core, logits))


def _blend(core: Window, lattice: ChipLattice, logits: dict[Window, np.ndarray]) -> np.ndarray:
    channels = next(iter(logits.values())).shape[0]
    blend = TileBlend(core, lattice, channels)
    chips = [chip for chip in lattice.chips_touching(core) if chip in logits]
    for start in range(0, len(chips), 5):
        batch = chips[start : start + 5]
        blend.add(batch, torch.from_numpy(np.stack([logits[chip] for chip in batch])))
    return blend.mean().numpy()


def _summed(core: Window, logits: dict[Window, np.ndarray]) -> np.ndarray:
    """The weighted mean in float32, one chip after the other."""
    first = next(iter(logits.values()))
    total = np.zeros((len(first), core.height, core.width), np.float32)
    weight = np.zeros(total.shape[1:], np.float32)
    for chip, values in logits.items():
        shared = chip.intersect(core)
        inside, place = shared.slices_in(chip), shared.slices_in(core)
        weights = blend_weights(first.shape[-1])[inside]
        total[:, *place] += values[:, *inside] * weights
        weight[place] += weights
    return total / np.where(weight > 0, weight, np.float32(1))
