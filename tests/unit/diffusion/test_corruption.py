from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.diffusion.corruption import (
    corrupt,
    difference_gain,
    fixed_epsilon,
    needs_epsilon,
    noise_of,
    rotate_dates,
)
from noise2map_core.settings.diffusion import (
    Corruption,
    GaussianCorruption,
    MixtureCorruption,
    NoCorruption,
    SelfCorruption,
    SwappedPairCorruption,
)

T = torch.tensor([0, 100, 258, 999])
SCHEDULER = DDPMScheduler(1000)
# In float64 from float32 betas: what diffusers computes, without its rounding of ᾱ.
ALPHA_BARS = SCHEDULER.alphas_cumprod.double()
CORRUPTIONS: list[Corruption] = [
    NoCorruption(),
    GaussianCorruption(),
    SwappedPairCorruption(),
    SelfCorruption(),
    MixtureCorruption(structured="swapped_pair", gaussian_share=0.3),
    MixtureCorruption(structured="self", gaussian_share=0.3),
]


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def corrupted(corruption: Corruption, x_0: torch.Tensor, **options: Any) -> torch.Tensor:
    epsilon = normal(*x_0.shape, seed=2)
    noise = noise_of(corruption, x_0, num_dates=2, epsilon=epsilon)
    return corrupt(x_0, noise, ALPHA_BARS[T], **({"valid": None} | options))


@pytest.mark.parametrize(
    ("corruption", "noise"),
    [
        (SwappedPairCorruption(), lambda x, _: torch.cat([x[:, 3:], x[:, :3]], dim=1)),
        (SelfCorruption(), lambda x, _: x),
        (GaussianCorruption(), lambda _, epsilon: epsilon),
        (
            MixtureCorruption(gaussian_share=0.25),
            lambda x, epsilon: 0.75**0.5 * torch.cat([x[:, 3:], x[:, :3]], 1) + 0.5 * epsilon,
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_x_t_is_what_diffusers_adds_for_the_same_noise(corruption: Corruption, noise: Any) -> None:
    x_0 = normal(4, 6, 8, 8)
    expected = SCHEDULER.add_noise(x_0, noise(x_0, normal(4, 6, 8, 8, seed=2)), T)
    torch.testing.assert_close(corrupted(corruption, x_0), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda one: one.kind)
def test_invalid_pixels_stay_exactly_zero(corruption: Corruption) -> None:
    valid = torch.ones(4, 1, 8, 8, dtype=torch.bool)
    valid[:, :, 2:5, 3:] = False
    x_t = corrupted(corruption, torch.where(valid, normal(4, 6, 8, 8), 0.0), valid=valid)
    assert (x_t[:, :, 2:5, 3:] == 0).all()
    assert (x_t[:, :, 5:] != 0).any()


def test_swapping_the_dates_is_the_same_as_swapping_signal_and_noise() -> None:
    x_0 = normal(4, 6, 8, 8)
    swapped = rotate_dates(x_0, 2)
    torch.testing.assert_close(
        corrupt(swapped, x_0, ALPHA_BARS[T], None), corrupt(x_0, swapped, 1 - ALPHA_BARS[T], None)
    )


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda one: one.kind)
def test_gain_is_what_is_left_of_the_difference(corruption: Corruption) -> None:
    x_0, epsilon = normal(4, 6, 8, 8), torch.zeros(4, 6, 8, 8)
    x_t = corrupt(x_0, noise_of(corruption, x_0, 2, epsilon), ALPHA_BARS[T], None)
    if corruption.kind == "none":
        x_t = x_0  # nothing is mixed in: see Noise2Map
    gain = difference_gain(corruption, ALPHA_BARS[T]).float()[:, None, None, None]
    torch.testing.assert_close(
        x_t[:, :3] - x_t[:, 3:], gain * (x_0[:, :3] - x_0[:, 3:]), rtol=1e-4, atol=1e-5
    )


@given(num_dates=st.integers(1, 5), bands=st.integers(1, 4))
def test_rotation_puts_every_date_in_the_place_of_the_one_before(
    num_dates: int, bands: int
) -> None:
    x_0 = normal(2, num_dates * bands, 4, 4)
    dates = list(x_0.chunk(num_dates, dim=1))
    expected = torch.cat([*dates[1:], dates[0]], dim=1)
    assert torch.equal(rotate_dates(x_0, num_dates), expected)
    rotated = x_0
    for _ in range(num_dates):
        rotated = rotate_dates(rotated, num_dates)
    assert torch.equal(rotated, x_0)


def test_gaussian_part_at_inference_is_standard_normal_and_the_same_again() -> None:
    epsilon = fixed_epsilon(6, 128, 128)
    assert torch.equal(epsilon, fixed_epsilon(6, 128, 128))
    assert abs(epsilon.mean()) < 0.01
    assert abs(epsilon.std() - 1) < 0.01


def test_only_gaussian_parts_need_epsilon() -> None:
    needing = [one.kind for one in CORRUPTIONS if needs_epsilon(one)]
    assert needing == ["gaussian", "mixture", "mixture"]
