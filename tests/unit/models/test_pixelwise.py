"""A network that judges pixels alone: by ranks, whichever variate they are of."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from noise2map_core.models.alteration import HIDDEN, Pixelwise, by_size, in_pieces
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import BENDS, NUM_TRACES, Normalisation, PixelwiseSpec
from noise2map_core.models.unet import TaskShape
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.network import Task
from tests.factories import checkpoint_spec, task_spec

BANDS, WIDTH = 3, 8


def by_scene(task: Task = "change") -> Normalisation:
    return task_spec(task).normalisation.model_copy(update={"of": "scene"})


def network(smoothing_px: float = 0.0) -> Pixelwise:
    torch.manual_seed(0)
    spec = PixelwiseSpec(width=WIDTH, smoothing_px=smoothing_px)
    return Pixelwise(spec, {"change": TaskShape(2, BANDS, 2)}).eval()


def ranks(seed: int = 0, side: int = 12) -> Tensor:
    """[2, (variate + 1)·trace, side, side]"""
    generator = torch.Generator().manual_seed(seed)
    shape = 2, (BANDS + 1) * NUM_TRACES, side, side
    return torch.rand(shape, generator=generator) * 5 + 0.01


def judged(one: Pixelwise, x: Tensor, keep: Tensor | None = None) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = one("change", x, torch.zeros(len(x)), keep)
        return logits


@given(order=st.permutations(range(BANDS)))
def test_which_variate_is_which_has_no_effect(order: list[int]) -> None:
    x = ranks()
    rows = x.unflatten(1, (-1, NUM_TRACES))
    other = torch.cat([rows[:, order], rows[:, BANDS:]], dim=1).flatten(1, 2)
    assert torch.equal(judged(network(), x), judged(network(), other))


def test_ranks_are_told_by_size_and_that_of_all_variates_stays_apart() -> None:
    x = ranks()
    rows = x.unflatten(1, (-1, NUM_TRACES)).numpy()
    told = by_size(x, NUM_TRACES).unflatten(1, (-1, NUM_TRACES)).numpy()
    np.testing.assert_array_equal(told[:, :-1], -np.sort(-rows[:, :-1], axis=1))
    np.testing.assert_array_equal(told[:, -1], rows[:, -1])


@given(rank=st.floats(0, 6, width=32))
def test_pieces_add_up_to_the_rank(rank: float) -> None:
    pieces = in_pieces(torch.full((1, 1, 1, 1), rank)).flatten().numpy()
    assert pieces @ np.diff(BENDS) == pytest.approx(min(rank, BENDS[-1]), abs=1e-5)


def test_a_pixel_is_judged_by_itself() -> None:
    x, other = ranks(), ranks(seed=1)
    other[..., 5, 7] = x[..., 5, 7]
    assert torch.equal(judged(network(), x)[..., 5, 7], judged(network(), other)[..., 5, 7])


def test_logits_are_averaged_over_what_is_observed() -> None:
    x = ranks(side=40)
    x[:, :, :, 25:] = 0
    plain, smooth = judged(network(), x), judged(network(1.5), x)
    row, col = np.mgrid[:40, :25]
    weight = torch.from_numpy(np.exp(-((row - 20) ** 2 + (col - 24) ** 2) / (2 * 1.5**2))).float()
    near = torch.from_numpy((abs(row - 20) <= 5) & (abs(col - 24) <= 5))
    mean = (plain[..., :25] * weight * near).sum((-2, -1)) / (weight * near).sum()
    torch.testing.assert_close(smooth[..., 20, 24], mean, rtol=1e-4, atol=1e-5)


def test_a_hidden_feature_that_is_kept_from_the_network_has_no_effect() -> None:
    one, other, x = network(), network(), ranks()
    keep = torch.ones(2, HIDDEN * WIDTH, dtype=torch.bool)
    keep[:, [3, WIDTH + 5]] = False
    with torch.no_grad():
        for layer, feature in (0, 3), (2, 5):
            other.heads["change"][layer].bias[feature] += 9  # type: ignore[index, union-attr]
    torch.testing.assert_close(judged(one, x, keep), judged(other, x, keep))
    assert not torch.allclose(judged(one, x), judged(other, x))
    everything = torch.ones_like(keep)
    torch.testing.assert_close(judged(one, x, everything), judged(one, x))


def test_training_is_told_how_much_can_be_kept_from_it() -> None:
    task = task_spec("change", normalisation=by_scene())
    wide = Noise2Map(checkpoint_spec(tasks={"change": task}, network=PixelwiseSpec(width=5)))
    assert wide.kept_each == (HIDDEN * 5,)
    assert Noise2Map(checkpoint_spec()).kept_each == ()


def test_it_judges_change_alone_and_by_ranks() -> None:
    tasks = {"segment": task_spec("segment", normalisation=by_scene("segment"))}
    with pytest.raises(ValueError, match=r"pixelwise judges change alone"):
        checkpoint_spec(tasks=tasks, network=PixelwiseSpec())
    assert network_of("pixelwise", 64, "ranks") == network_of("pixelwise", 64)
    with pytest.raises(ConfigError, match=r"sees no bands, and model\.fusion is early"):
        network_of("pixelwise", 64, "early")
