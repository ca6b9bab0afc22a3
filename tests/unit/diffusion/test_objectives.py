import torch
from diffusers import DDIMScheduler

from noise2map_core.diffusion.corruption import corrupt
from noise2map_core.diffusion.objectives import (
    denoising_loss,
    velocity,
    x_0_from_epsilon,
    x_0_from_velocity,
)

SCHEDULER = DDIMScheduler()
T = torch.tensor([5, 300, 700])
ALPHA_BARS_T = SCHEDULER.alphas_cumprod.double()[T]


def normal(seed: int) -> torch.Tensor:
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_velocity_is_that_of_diffusers() -> None:
    expected = SCHEDULER.get_velocity(normal(1), normal(2), T)
    torch.testing.assert_close(velocity(normal(1), normal(2), ALPHA_BARS_T), expected)


def test_x_0_comes_back_from_epsilon_and_from_velocity() -> None:
    x_0, epsilon = normal(1), normal(2)
    x_t = corrupt(x_0, epsilon, ALPHA_BARS_T, None)
    v = velocity(x_0, epsilon, ALPHA_BARS_T)
    torch.testing.assert_close(x_0_from_velocity(x_t, v, ALPHA_BARS_T), x_0, rtol=0, atol=1e-5)
    torch.testing.assert_close(x_0_from_epsilon(x_t, epsilon, ALPHA_BARS_T), x_0, rtol=0, atol=1e-4)


def test_loss_is_the_mean_squared_error_of_observed_pixels_only() -> None:
    predicted, target = normal(1), normal(2)
    valid = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3)) < 0.5
    spoilt = torch.where(valid, predicted, torch.nan)
    total, count = denoising_loss(spoilt, target, valid)
    chosen = valid.expand_as(target)
    expected = torch.nn.functional.mse_loss(predicted[chosen], target[chosen])
    torch.testing.assert_close(total / count, expected)
    torch.testing.assert_close(
        torch.divide(*denoising_loss(predicted, target)),
        torch.nn.functional.mse_loss(predicted, target),
    )
