"""A tile's probabilities: the same whatever the tiling, equal to a plain computation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.inference.decision import verdict_of
from noise2map_core.inference.networks.blend import blend_weights
from noise2map_core.inference.networks.predictor import MAP, REVERSED, Predictor, name_of
from noise2map_core.inference.networks.turns import turned, turned_back
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.inference.region import Pass
from noise2map_core.models.noise2map import Noise2Map, at_timestep
from tests.factories import checkpoint_spec

PATH = NumericPath("cpu", "any", "float32", batch=4, threads=1, torch="any")
BF16 = replace(PATH, dtype="bfloat16")
LATTICE = ChipLattice(32, 16)
WORLD = Window(-64, -64, 192, 192)


@pytest.fixture(scope="module")
def model() -> Noise2Map:
    torch.manual_seed(0)
    return Noise2Map(
        checkpoint_spec(threshold={"changed": 0.57})
    ).eval()  # about half of its pixels


@pytest.fixture(scope="module")
def world() -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.integers(0, 3000, (2, 2, WORLD.height, WORLD.width)).astype(np.uint16)


def predict(
    model: Noise2Map, world: np.ndarray, core: Window, valid: np.ndarray, path: NumericPath = PATH
) -> tuple[np.ndarray, int]:
    cover = LATTICE.cover(core)
    rows_cols = cover.slices_in(WORLD)
    part = valid[:, *rows_cols]
    wanted = part.all(axis=0)[core.slices_in(cover)]
    predictor = Predictor(model, path, LATTICE, (999,))
    found, chips = predictor.passes(world[:, :, *rows_cols], part, core, wanted)
    return found[MAP].numpy(), chips


def plain_loop(
    model: Noise2Map, world: np.ndarray, core: Window, reverse: bool = False
) -> np.ndarray:
    """Probabilities of `core`, chip by chip, by the model as it was trained."""
    total, weight = np.zeros((2, core.height, core.width)), np.zeros((core.height, core.width))
    for chip in LATTICE.chips_touching(core):
        image = torch.from_numpy(world[:, :, *chip.slices_in(WORLD)].reshape(1, 4, 32, 32).copy())
        with torch.inference_mode():
            logits = model.logits(image, 999, reverse_dates=reverse)[0].numpy()
        shared = chip.intersect(core)
        w = blend_weights(32)[shared.slices_in(chip)]
        total[:, *shared.slices_in(core)] += logits[:, *shared.slices_in(chip)] * w
        weight[shared.slices_in(core)] += w
    return torch.softmax(torch.from_numpy(total / weight), dim=0).numpy()


def test_a_tile_equals_a_plain_loop_over_its_chips(model: Noise2Map, world: np.ndarray) -> None:
    core = Window(0, 0, 64, 64)
    valid = np.ones((2, WORLD.height, WORLD.width), np.bool_)
    found, chips = predict(model, world, core, valid)
    expected = plain_loop(model, world, core)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert chips == len(LATTICE.chips_touching(core)) == 25


def test_neighbouring_tiles_agree_with_one_large_tile(model: Noise2Map, world: np.ndarray) -> None:
    valid = np.ones((2, WORLD.height, WORLD.width), np.bool_)
    whole, _ = predict(model, world, Window(0, 0, 64, 64), valid)
    for row, col in ((0, 0), (0, 32), (32, 0), (32, 32)):
        tile = Window(row, col, 32, 32)
        part, _ = predict(model, world, tile, valid)
        np.testing.assert_allclose(part, whole[:, *tile.slices_in(Window(0, 0, 64, 64))], atol=2e-6)


@pytest.mark.parametrize("path", [PATH, BF16], ids=lambda path: path.dtype)
def test_the_same_tile_gives_the_same_bits_after_other_work(
    model: Noise2Map, world: np.ndarray, path: NumericPath
) -> None:
    valid = np.random.default_rng(2).random((2, WORLD.height, WORLD.width)) > 0.2
    first, _ = predict(model, world, Window(0, 0, 64, 64), valid, path)
    predict(model, world, Window(-32, 0, 64, 64), valid, path)
    again, _ = predict(model, world, Window(0, 0, 64, 64), valid, path)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_logits_of_a_chip_do_not_depend_on_its_neighbours_in_the_batch(
    model: Noise2Map, world: np.ndarray, dtype: torch.dtype
) -> None:
    chips = torch.from_numpy(world[:, :, :128, :32].reshape(4, 4, 32, 32).astype(np.float32))
    others = chips.clone()
    others[[0, 1, 3]] = 3000 - others[[0, 1, 3]]
    fixed = at_timestep(model, 999, dtype)
    with torch.inference_mode():
        assert torch.equal(fixed.logits(chips, 999)[2], fixed.logits(others, 999)[2])


def test_bf16_gives_nearly_the_same_map(model: Noise2Map, world: np.ndarray) -> None:
    valid = np.ones((2, WORLD.height, WORLD.width), np.bool_)
    core = Window(0, 0, 64, 64)
    exact, _ = predict(model, world, core, valid)
    fast, _ = predict(model, world, core, valid, BF16)
    assert not np.array_equal(fast, exact)
    np.testing.assert_allclose(fast, exact, atol=0.02)


def test_chips_without_a_wanted_pixel_cost_no_forward_pass(
    model: Noise2Map, world: np.ndarray
) -> None:
    valid = np.zeros((2, WORLD.height, WORLD.width), np.bool_)
    core = Window(0, 0, 64, 64)
    assert predict(model, world, core, valid)[1] == 0
    valid[:, 64:66, 64:66] = True  # the core's first 2 x 2 pixels
    assert predict(model, world, core, valid)[1] == 4


def test_pixels_of_one_date_alone_do_not_move_the_result(
    model: Noise2Map, world: np.ndarray
) -> None:
    valid = np.random.default_rng(3).random((2, WORLD.height, WORLD.width)) > 0.3
    core = Window(0, 0, 64, 64)
    expected, _ = predict(model, world, core, valid)
    disturbed = np.where(valid.all(axis=0), world, 60_000).astype(np.uint16)
    found, _ = predict(model, disturbed, core, valid)
    np.testing.assert_array_equal(found, expected)


def test_another_batch_is_another_path_but_nearly_the_same_map(
    model: Noise2Map, world: np.ndarray
) -> None:
    valid = np.ones((2, WORLD.height, WORLD.width), np.bool_)
    core = Window(0, 0, 64, 64)
    one, _ = predict(model, world, core, valid)
    other, _ = predict(model, world, core, valid, replace(PATH, batch=7))
    np.testing.assert_allclose(one, other, atol=1e-5)


WAYS = [
    lambda x: x,
    lambda x: np.rot90(x, 1, (-2, -1)),
    lambda x: np.rot90(x, 2, (-2, -1)),
    lambda x: np.rot90(x, 3, (-2, -1)),
    lambda x: x[..., ::-1],
    lambda x: np.rot90(x[..., ::-1], 1, (-2, -1)),
    lambda x: np.rot90(x[..., ::-1], 2, (-2, -1)),
    lambda x: np.rot90(x[..., ::-1], 3, (-2, -1)),
]
"""Of laying a square, by numpy: the oracle of `turned`."""


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_pass_is_the_network_on_the_turned_chip(
    model: Noise2Map, world: np.ndarray, turn: int
) -> None:
    x = torch.arange(2 * 3 * 3.0).reshape(2, 3, 3)
    np.testing.assert_array_equal(turned(x, turn), WAYS[turn](x.numpy()))
    np.testing.assert_array_equal(turned_back(turned(x, turn), turn), x)
    core = Window(0, 0, 32, 32)
    lattice = ChipLattice(32, 32)  # one chip, nothing blended
    part = world[:, :, :32, :32]
    seen, wanted = np.ones((2, 32, 32), np.bool_), np.ones((32, 32), np.bool_)
    predictor = Predictor(model, PATH, lattice, (999,), "change", [Pass(999, turn=turn)])
    found = predictor.passes(part, seen, core, wanted)[0][name_of(Pass(999, turn=turn))][1]
    laid = np.ascontiguousarray(WAYS[turn](part.reshape(-1, 32, 32)))
    with torch.inference_mode():
        logits = model.logits(torch.from_numpy(laid)[None], 999)[0]
    expected = torch.softmax(logits / model.spec.tasks["change"].temperature, dim=0)[1].numpy()
    np.testing.assert_allclose(WAYS[turn](found.numpy()), expected, atol=1e-5)


def test_disagreement_is_the_range_over_passes_predicted_alone(
    model: Noise2Map, world: np.ndarray
) -> None:
    core, valid = Window(0, 0, 64, 64), np.ones((2, WORLD.height, WORLD.width), np.bool_)
    part = world[:, :, *LATTICE.cover(core).slices_in(WORLD)]
    seen, wanted = np.ones((2, *part.shape[2:]), np.bool_), np.ones((64, 64), np.bool_)
    passes = [Pass(0), Pass(999), Pass(999, reversed_dates=True)]
    predictor = Predictor(model, PATH, LATTICE, (999,), "change", passes)
    found, _ = predictor.passes(part, seen, core, wanted)
    said = predictor.predict(part, seen, core, wanted)
    plain, _ = predict(model, world, core, valid)
    np.testing.assert_array_equal(found[MAP], plain)
    first, last = (
        Predictor(model, PATH, LATTICE, (t,)).passes(part, seen, core, wanted)[0][MAP][1]
        for t in (0, 999)
    )
    reverse = plain_loop(model, world, core, reverse=True)
    np.testing.assert_allclose(found[REVERSED], reverse, atol=2e-6)
    alone = np.stack([first, last, found[REVERSED][1]])
    assert said.disagreement is not None and said.reversed_classes is not None
    expected = (alone.max(axis=0) - alone.min(axis=0)) * 10_000
    np.testing.assert_allclose(said.disagreement, expected, atol=0.55)
    assert said.disagreement.max() > 10
    other = verdict_of(found[REVERSED].numpy(), model.spec.tasks["change"]).classes
    np.testing.assert_array_equal(said.reversed_classes, other)
    assert not np.array_equal(said.reversed_classes, said.verdict.classes)
