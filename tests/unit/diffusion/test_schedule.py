import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.diffusion.config import LinearSchedule
from noise2map_core.diffusion.schedule import linear_alpha_bars, schedule_alpha_bars


def test_linear_alpha_bars_are_those_of_diffusers() -> None:
    oracle = DDIMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    ours = schedule_alpha_bars(LinearSchedule())
    torch.testing.assert_close(ours.float(), oracle.alphas_cumprod, rtol=1e-4, atol=1e-7)
    assert ours.dtype == torch.float64


@given(
    num_timesteps=st.integers(2, 400),
    betas=st.tuples(st.floats(1e-5, 0.05), st.floats(1e-5, 0.05)),
)
def test_linear_alpha_bars_fall_strictly_within_zero_and_one(
    num_timesteps: int, betas: tuple[float, float]
) -> None:
    alpha_bars = linear_alpha_bars(num_timesteps, *betas)
    assert alpha_bars.shape == (num_timesteps,)
    assert (alpha_bars.diff() < 0).all()
    assert 0 < alpha_bars[-1] < alpha_bars[0] < 1
