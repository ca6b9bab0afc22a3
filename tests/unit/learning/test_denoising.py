"""Learning to denoise."""

from typing import Any

import pytest
import torch

from noise2map_core.learning.denoising import CleanBatch, DenoisingLearner, SquaredError, noise
from noise2map_core.learning.steps import Ranks
from noise2map_core.settings.diffusion import DenoisingConfig
from noise2map_core.settings.learning import PretrainingConfig
from tests.factories import samples
from tests.unit.models.test_denoiser import denoiser

CONFIG = PretrainingConfig(epochs=3, learning_rate=1e-2)


def batch(showing: int = 0) -> CleanBatch:
    """Smooth images, in which noise can be told from what is there; a part is not observed."""
    ramp = torch.linspace(-2, 2, 16)
    image = (ramp[None, :] + ramp[:, None]).expand(8, 2, 16, 16) / 2
    valid = torch.ones(8, 1, 16, 16, dtype=torch.bool)
    valid[:4, :, :8] = False
    return CleanBatch(torch.where(valid, image, 0.0), valid, samples(8, showing))


def learner(objective: str = "epsilon", **training: Any) -> DenoisingLearner:
    model = denoiser(denoising=DenoisingConfig.model_validate({"objective": objective}))
    return DenoisingLearner(model, CONFIG.model_copy(update=training), seed=0)


def steps(one: DenoisingLearner, first: int, last: int) -> list[float]:
    outcomes = [
        one.step(batch(step), step // 10, step % 10, 10, Ranks()) for step in range(first, last)
    ]
    return [float(outcome.loss) for outcome in outcomes]


def error(one: DenoisingLearner) -> float:
    """Mean squared error on noise and timesteps that are always the same."""
    generator = torch.Generator().manual_seed(1)
    epsilon = torch.randn(8, 2, 16, 16, generator=generator)
    noised = noise(one.model, batch(), torch.arange(8) * 100, epsilon)
    with torch.no_grad():
        output = one.model(noised.inputs)
    return float(SquaredError().mean(SquaredError().sums(output, noised.targets)))


@pytest.mark.parametrize("objective", ["epsilon", "velocity"])
def test_training_lowers_the_error(objective: str) -> None:
    one = learner(objective)
    before = error(one)
    steps(one, 0, 30)
    assert error(one) < 0.9 * before


def test_a_restored_learner_goes_on_to_the_same_bits() -> None:
    whole, first, second = learner(), learner(), learner()
    losses = steps(whole, 0, 12)
    steps(first, 0, 7)
    second.restore(first.state())
    assert steps(second, 7, 12) == losses[7:]
    for name, weight in whole.averaged.state_dict().items():
        assert torch.equal(weight, second.averaged.state_dict()[name]), name


def test_accumulated_parts_make_the_step_of_the_whole() -> None:
    whole, parts = learner(), learner(accumulation=4)
    assert steps(parts, 0, 5) == pytest.approx(steps(whole, 0, 5), rel=1e-4)


def test_pixels_that_were_not_observed_do_not_count() -> None:
    model, clean = denoiser(), batch()
    noised = noise(model, clean, torch.full((8,), 500), torch.randn(clean.image.shape))
    wanted, valid = noised.targets
    garbage = torch.where(valid, wanted, 1e6)
    assert SquaredError().sums(garbage, noised.targets).tolist() == [0.0, 2.0 * valid.sum()]
    assert (noised.inputs[0][~valid.expand_as(wanted)] == 0).all()


def test_velocity_and_noised_image_give_back_the_noise() -> None:
    """√ᾱ v + √(1 − ᾱ) x_t is ε (Salimans & Ho 2022, appendix D)."""
    model = denoiser(denoising=DenoisingConfig(objective="velocity"))
    clean = CleanBatch(batch().image, torch.ones(8, 1, 16, 16, dtype=torch.bool), samples(8))
    timesteps, epsilon = torch.arange(8) * 100, torch.randn(clean.image.shape)
    noised = noise(model, clean, timesteps, epsilon)
    alpha_bars = model.alpha_bars[timesteps].float()[:, None, None, None]
    found = alpha_bars.sqrt() * noised.targets[0] + (1 - alpha_bars).sqrt() * noised.inputs[0]
    torch.testing.assert_close(found, epsilon, rtol=1e-4, atol=1e-5)
