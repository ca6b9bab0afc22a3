import torch
from diffusers import DDIMScheduler

from noise2map_core.diffusion.corruption import swap_dates, swapped_pair, swapped_pair_gain
from noise2map_core.diffusion.schedule import linear_alpha_bars

ALPHA_BARS = linear_alpha_bars(1000)


def pairs(count: int = 4, bands: int = 3) -> torch.Tensor:
    return torch.randn(count, 2 * bands, 8, 8, generator=torch.Generator().manual_seed(1))


def test_swapped_pair_is_what_diffusers_adds_with_the_swapped_pair_as_noise() -> None:
    scheduler = DDIMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    x_0, timesteps = pairs(), torch.tensor([0, 100, 258, 999])
    swapped = torch.cat([x_0[:, 3:], x_0[:, :3]], dim=1)
    expected = scheduler.add_noise(x_0, swapped, timesteps)
    torch.testing.assert_close(
        swapped_pair(x_0, ALPHA_BARS[timesteps]), expected, rtol=1e-4, atol=1e-4
    )


def test_invalid_pixels_stay_exactly_zero() -> None:
    x_0 = pairs()
    x_0[:, :, 2:5, 3:] = 0
    x_t = swapped_pair(x_0, ALPHA_BARS[torch.tensor([0, 300, 600, 999])])
    assert (x_t[:, :, 2:5, 3:] == 0).all()


def test_swapping_the_dates_is_the_same_as_swapping_signal_and_noise() -> None:
    x_0, alpha_bars = pairs(), ALPHA_BARS[torch.tensor([0, 100, 400, 999])]
    torch.testing.assert_close(
        swapped_pair(swap_dates(x_0), alpha_bars), swapped_pair(x_0, 1 - alpha_bars)
    )


def test_gain_is_what_is_left_of_the_difference() -> None:
    x_0, timesteps = pairs(), torch.tensor([0, 200, 258, 999])
    x_t = swapped_pair(x_0, ALPHA_BARS[timesteps])
    gain = swapped_pair_gain(ALPHA_BARS[timesteps]).float()[:, None, None, None]
    torch.testing.assert_close(
        x_t[:, :3] - x_t[:, 3:], gain * (x_0[:, :3] - x_0[:, 3:]), rtol=1e-4, atol=1e-5
    )
