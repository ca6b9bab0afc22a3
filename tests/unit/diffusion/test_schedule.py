import math
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.settings.diffusion import (
    CosineSchedule,
    LinearSchedule,
    ScaledLinearSchedule,
    Schedule,
    SigmoidSchedule,
    SquaredCosineSchedule,
)

IN_DIFFUSERS = {
    "linear": LinearSchedule,
    "scaled_linear": ScaledLinearSchedule,
    "sigmoid": SigmoidSchedule,
    "squaredcos_cap_v2": SquaredCosineSchedule,
}
BETA_KINDS = ("linear", "scaled_linear", "sigmoid")


@pytest.mark.parametrize("T", [10, 250, 1000, 4000])
@pytest.mark.parametrize("name", IN_DIFFUSERS)
def test_alpha_bars_are_those_of_diffusers_for_any_number_of_timesteps(name: str, T: int) -> None:
    oracle = DDPMScheduler(T, beta_schedule=name)
    ours = schedule_alpha_bars(IN_DIFFUSERS[name](num_timesteps=T))
    assert ours.dtype == torch.float64
    # diffusers multiplies in float32, whose rounding is all that differs at 4000 timesteps.
    expected = torch.cumprod(1 - oracle.betas.double(), dim=0)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.float(), oracle.alphas_cumprod, rtol=0, atol=T * 1e-9 + 1e-7)


@pytest.mark.parametrize("kind", BETA_KINDS)
def test_beta_range_is_that_of_diffusers(kind: str) -> None:
    oracle = DDPMScheduler(500, beta_schedule=kind, beta_start=1e-3, beta_end=0.05)
    ours = schedule_alpha_bars(
        IN_DIFFUSERS[kind](num_timesteps=500, beta_start=1e-3, beta_end=0.05)
    )
    torch.testing.assert_close(ours.float(), oracle.alphas_cumprod, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", IN_DIFFUSERS)
def test_zero_terminal_snr_is_that_of_diffusers(name: str) -> None:
    betas = rescale_zero_terminal_snr(DDPMScheduler(1000, beta_schedule=name).betas.double())
    expected = torch.cumprod(1 - betas, dim=0)
    ours = schedule_alpha_bars(IN_DIFFUSERS[name](zero_terminal_snr=True))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    assert ours[-1] == 0


def test_cosine_is_the_squared_cosine_of_diffusers_where_that_has_no_offset() -> None:
    chen = schedule_alpha_bars(CosineSchedule())
    nichol = schedule_alpha_bars(SquaredCosineSchedule(offset=0.0))
    torch.testing.assert_close(chen[:-2], nichol[:-2], rtol=0, atol=1e-9)


def test_cosine_part_and_power_are_those_of_chens_algorithm() -> None:
    start, end, tau, T = 0.2, 0.9, 1.5, 100
    v_start, v_end = (math.cos(x * math.pi / 2) ** (2 * tau) for x in (start, end))
    expected = [
        (v_end - math.cos((t * (end - start) + start) * math.pi / 2) ** (2 * tau))
        / (v_end - v_start)
        for t in ((i + 1) / T for i in range(T))
    ]
    ours = schedule_alpha_bars(CosineSchedule(num_timesteps=T, start=start, end=end, power=tau))
    assert ours.tolist() == pytest.approx([max(value, 1e-9) for value in expected], abs=1e-12)


@given(
    T=st.integers(2, 300),
    betas=st.tuples(st.floats(1e-4, 0.02), st.floats(1e-4, 0.02)),
    kind=st.sampled_from([*BETA_KINDS, "squared_cosine", "cosine"]),
    zero_terminal_snr=st.booleans(),
)
def test_every_schedule_falls_within_zero_and_one(
    T: int, betas: tuple[float, float], kind: str, zero_terminal_snr: bool
) -> None:
    fields: dict[str, Any] = {"kind": kind, "num_timesteps": T}
    if kind in BETA_KINDS:
        fields |= {"beta_start": betas[0], "beta_end": betas[1]}
    schedule: Schedule = TypeAdapter(Schedule).validate_python(
        fields | {"zero_terminal_snr": zero_terminal_snr}
    )
    alpha_bars = schedule_alpha_bars(schedule)
    assert alpha_bars.shape == (T,)
    assert (alpha_bars.diff() < 0).all()
    assert 0 <= alpha_bars[-1] < alpha_bars[0] < 1
