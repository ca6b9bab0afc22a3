import torch

from noise2map_core.diffusion.schedule import linear_alpha_bars
from noise2map_core.diffusion.timesteps import draw_timesteps, training_timesteps

ALPHA_BARS = linear_alpha_bars(1000)


def test_uniform_is_all_timesteps() -> None:
    assert training_timesteps("uniform", ALPHA_BARS).tolist() == list(range(1000))


def test_distinguishable_leaves_out_the_tenth_around_equal_parts() -> None:
    left = set(range(1000)) - set(training_timesteps("distinguishable", ALPHA_BARS).tolist())
    assert min(left) < 258 < max(left)
    assert len(left) == max(left) - min(left) + 1
    assert 0.10 < len(left) / 1000 < 0.12
    assert 999 not in left


def test_draws_are_admissible_and_repeat_with_the_seed() -> None:
    candidates = training_timesteps("distinguishable", ALPHA_BARS)
    draws = [draw_timesteps(candidates, 500, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert torch.isin(draws[0], candidates).all()
