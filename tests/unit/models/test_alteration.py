"""A network that sees MAD variates: of the pair, whatever its light, and in either order."""

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from noise2map_core.learning.alteration import (
    LEAST_PIXELS,
    _traces,
    alteration_matrix,
    pair_alteration,
)
from noise2map_core.learning.augment import TrainingBatch, augment, draw_augmentations
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.models.alteration import (
    altered,
    in_z_scores,
    ranked,
    reversed_dates,
    traces,
)
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import (
    CheckpointSpec,
    NetworkSpec,
    Normalisation,
    PatchUNetSpec,
    PixelwiseSpec,
    note_size,
)
from noise2map_core.settings.diffusion import DiffusionConfig, NoCorruption
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from noise2map_core.settings.network import BY_VARIATES, Fusion
from tests.factories import UNET, checkpoint_spec, random_of, samples, task_spec

BY_SCENE = Normalisation(of="scene", mean=((1000.0,) * 2,) * 2, std=((300.0,) * 2,) * 2)


Kind = Fusion | Literal["pixels of alteration", "pixels of ranks"]
KINDS: tuple[Kind, ...] = (*BY_VARIATES, "pixels of alteration", "pixels of ranks")


def network_of(kind: Kind) -> NetworkSpec:
    if kind == "pixels of alteration":
        return PixelwiseSpec(width=16, fusion="alteration")
    if kind == "pixels of ranks":
        return PixelwiseSpec(width=16)
    return PatchUNetSpec(patch=2, unet=UNET, context_channels=4, detail_channels=8, fusion=kind)


def spec_of(normalisation: Normalisation = BY_SCENE, kind: Kind = "alteration") -> CheckpointSpec:
    network = network_of(kind)
    task = task_spec("change", corruption=NoCorruption(), normalisation=normalisation)
    return checkpoint_spec(tasks={"change": task}, network=network)


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Noise2Map:
    torch.manual_seed(0)
    return Noise2Map(spec_of(kind=request.param)).eval()


def pair(seed: int = 0, side: int = 64) -> NDArray[np.float64]:
    """[date, band, y, x]: dates that resemble each other."""
    rng = np.random.default_rng(seed)
    ground = rng.normal(1000, 300, (2, side, side))
    return np.stack([ground, 0.8 * ground[::-1] + 500]) + rng.normal(0, 40, (2, 2, side, side))


def known(dates: NDArray[np.float64]) -> NDArray[np.float64]:
    seen = np.ones(dates.shape[2:], bool)
    return pair_alteration(*dates.reshape(2, 2, -1), windows=[(dates, seen)])


def raw(dates: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(dates.reshape(1, 4, *dates.shape[2:]))


def seen(model: Noise2Map, dates: NDArray[np.float64]) -> Tensor:
    with torch.inference_mode():
        return model.logits(raw(dates), 5, alteration=torch.from_numpy(known(dates))[None])


def test_what_the_network_sees_are_the_sizes_of_the_standardised_variates() -> None:
    dates = pair()
    pixels = dates.reshape(4, -1)
    matrix, offset = alteration_matrix(pixels[:2].T, pixels[2:].T)
    variates = matrix @ pixels + offset[:, None]
    mean, std = torch.tensor([900.0, 1100, 800, 1000]), torch.tensor([200.0, 300, 250, 350])
    mean, std = mean[:, None, None], std[:, None, None]
    z = (torch.from_numpy(dates.reshape(1, 4, 64, 64)).float() - mean) / std
    scaled = in_z_scores(torch.from_numpy(known(dates)).float()[None], mean, std)
    found = altered(z, scaled)[0].numpy().reshape(3, -1)
    np.testing.assert_allclose(np.expm1(found[:2]), np.abs(variates), atol=2e-3)
    np.testing.assert_allclose(np.expm1(found[2]), (variates**2).sum(axis=0), rtol=2e-2, atol=0.01)


def test_traces_of_networks_are_those_that_are_ranked() -> None:
    dates, observed = pair(side=96), np.ones((96, 96), bool)
    observed[20:30, 40:50] = False
    note = pair_alteration(*dates[:, :, observed], windows=[(dates, observed)])
    theirs = _traces(note[:, :4], note[:-1, 4], dates, observed)
    mean, std = torch.full((4, 1, 1), 1000.0), torch.full((4, 1, 1), 300.0)
    z = torch.from_numpy((dates.reshape(1, 4, 96, 96) - 1000) / 300).float()
    scaled = in_z_scores(torch.from_numpy(note).float()[None], mean, std)
    valid = torch.from_numpy(observed)[None, None]
    ours = traces(z, scaled, valid)[0].numpy()
    np.testing.assert_allclose(ours[..., observed], theirs[..., observed], rtol=2e-2, atol=5e-3)


def test_ranks_are_those_among_all_pixels_of_the_scene() -> None:
    dates, observed = pair(side=96), np.ones((96, 96), bool)
    note = torch.from_numpy(
        pair_alteration(*dates.reshape(2, 2, -1), windows=[(dates, observed)])
    ).float()
    x, valid = torch.from_numpy(dates.reshape(1, 4, 96, 96)).float(), torch.from_numpy(observed)
    every = traces(x, note[None], valid[None, None])[0].flatten(0, 1).numpy()
    told = ranked(x, note[None], valid[None, None])[0].numpy()
    for trace, channel in zip(every, told, strict=True):
        rank = rankdata(trace).reshape(96, 96) / (96 * 96 + 1)
        usual = rank < 0.99  # beyond, a sample of so few says little
        np.testing.assert_allclose(channel[usual], -np.log10(1 - rank[usual]), atol=0.15)


@given(seed=st.integers(0, 20), gain=st.floats(0.3, 3), offset=st.floats(-500, 500))
def test_no_linear_change_of_a_date_moves_a_map(seed: int, gain: float, offset: float) -> None:
    torch.manual_seed(0)
    network, dates = Noise2Map(spec_of()).eval(), pair(seed)
    moved = dates.copy()
    moved[1, 0], moved[1, 1] = gain * dates[1, 0] + offset, dates[1, 1] + 0.4 * dates[1, 0]
    torch.testing.assert_close(seen(network, moved), seen(network, dates), rtol=0.02, atol=0.02)


def test_the_order_of_the_dates_has_no_effect(model: Noise2Map) -> None:
    dates = pair()
    image, statistics = (
        torch.from_numpy(dates.reshape(1, 4, 64, 64)),
        torch.from_numpy(known(dates)),
    )
    with torch.inference_mode():
        one, other = (
            model.logits(image, 5, alteration=statistics[None], reverse_dates=turned)
            for turned in (False, True)
        )
    torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)


def test_a_batch_that_is_reversed_while_training_shows_the_same_variates(model: Noise2Map) -> None:
    image = torch.randn(3, 4, 16, 16)
    statistics = torch.randn(3, *note_size(2))
    batch = TrainingBatch(
        image, torch.zeros(3, 16, 16, dtype=torch.int64), torch.ones(3, 16, 16, dtype=torch.bool),
        samples(3), statistics,
    )  # fmt: skip
    config = TrainingConfig(flips=False, jitter=0)
    draws = draw_augmentations(random_of(3), 4, 2, config)
    assert draws.reverse.any() and not draws.reverse.all()
    made = augment(batch, draws, 2)
    assert made.alteration is not None
    torch.testing.assert_close(altered(made.image, made.alteration), altered(image, statistics))


def test_where_nothing_is_known_the_differences_of_the_normalised_bands_count() -> None:
    mean, std = torch.full((4, 1, 1), 100.0), torch.full((4, 1, 1), 20.0)
    scaled = in_z_scores(torch.full((1, *note_size(2)), torch.nan), mean, std)
    x = torch.randn(1, 4, 8, 8)
    found = altered(x, scaled)
    torch.testing.assert_close(found[:, :2].expm1(), (x[:, 2:] - x[:, :2]).abs() / 2**0.5)
    assert reversed_dates(scaled, 2).abs().equal(scaled.abs())


def test_few_pixels_and_bands_that_do_not_vary_say_nothing() -> None:
    rng = np.random.default_rng(0)
    few = rng.normal(size=(2, 2, LEAST_PIXELS - 1))
    flat = rng.normal(size=(2, 2, LEAST_PIXELS))
    flat[1, 0] = 7
    for dates in (few, flat):
        assert np.isnan(pair_alteration(*dates, windows=[])).all()


def test_an_invalid_pixel_is_no_change_and_moves_no_other(model: Noise2Map) -> None:
    dates = pair(3)
    statistics = torch.from_numpy(known(dates))[None]
    valid = torch.ones(1, 2, 64, 64, dtype=torch.bool)
    valid[:, 1, 10:20, 10:20] = False
    broken = dates.copy()
    broken[1, :, 10:20, 10:20] = np.nan
    with torch.inference_mode():
        maps = [
            model.logits(
                torch.from_numpy(one.reshape(1, 4, 64, 64)), 5, valid, alteration=statistics
            )
            for one in (dates, broken)
        ]
    assert torch.isfinite(maps[1]).all() and torch.equal(*maps)


def test_it_wants_scenes_normalised_by_themselves() -> None:
    with pytest.raises(ValueError, match=r"alteration needs normalisation\.of scene"):
        spec_of(BY_SCENE.model_copy(update={"of": "training"}))


@pytest.mark.parametrize("kind", KINDS)
def test_change_is_learnt_through_variates(kind: Kind) -> None:
    trained = Learner(
        new_model(spec_of(kind=kind), 0, torch.device("cpu")),
        TrainingConfig(epochs=3, learning_rate=1e-2, jitter=0, context_dropout=0),
        {"change": TaskTrainingConfig(diffusion=DiffusionConfig(corruption=NoCorruption()))},
        {"change": (1.0, 1.0)},
        0,
    )
    batches = [_changed(seed) for seed in range(30)]
    losses = [
        float(trained.step({"change": one}, step // 10, step % 10, 10, Ranks()).loss)
        for step, one in enumerate(batches)
    ]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def _changed(seed: int) -> TrainingBatch:
    """Pairs with a square of change, and the statistics of each."""
    rng = np.random.default_rng(seed)
    dates = np.stack([pair(seed * 4 + n, side=32) for n in range(4)])
    label = np.zeros((4, 32, 32), np.int64)
    for n, (row, col) in enumerate(rng.integers(0, 20, (4, 2))):
        label[n, row : row + 12, col : col + 12] = 1
        dates[n, 1, :, row : row + 12, col : col + 12] = rng.normal(2500, 300, (2, 12, 12))
    image = torch.from_numpy((dates.reshape(4, 4, 32, 32) - 1000) / 300).float()
    notes = np.stack([known(one) for one in image.numpy().reshape(4, 2, 2, 32, 32)])
    valid = torch.ones(4, 32, 32, dtype=torch.bool)
    noted = torch.from_numpy(notes).float()
    return TrainingBatch(image, torch.from_numpy(label), valid, samples(4), noted)
