import pytest
import torch
from scipy.special import expit
from scipy.stats import kstest, norm

from noise2map_core.diffusion.schedule import linear_alpha_bars
from noise2map_core.diffusion.timesteps import inference_timesteps, timestep_weights, timesteps_at
from noise2map_core.settings.diffusion import (
    DiffusionConfig,
    EarlyTimesteps,
    FixedTimestep,
    GaussianCorruption,
    LateTimesteps,
    LinearSchedule,
    LogitNormalTimesteps,
    NoCorruption,
    SelfCorruption,
    TimestepSampler,
)

ALPHA_BARS = linear_alpha_bars(1000)


def draws(config: DiffusionConfig, count: int = 20_000) -> torch.Tensor:
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(3))
    return timesteps_at(timestep_weights(config, ALPHA_BARS), uniform)


def sampler(one: TimestepSampler) -> DiffusionConfig:
    return DiffusionConfig(training_timesteps=one, min_gain=0)


def test_uniform_gives_all_timesteps_the_same_weight() -> None:
    weights = timestep_weights(DiffusionConfig(min_gain=0), ALPHA_BARS)
    torch.testing.assert_close(weights, torch.full((1000,), 1e-3, dtype=torch.float64))


def test_min_gain_leaves_out_the_tenth_where_the_pair_cannot_be_told_apart() -> None:
    weights = timestep_weights(DiffusionConfig(), ALPHA_BARS)
    left = torch.nonzero(weights == 0).flatten().tolist()
    assert left == list(range(left[0], left[-1] + 1))
    assert left[0] < 258 < left[-1] < 999
    assert 0.10 < len(left) / 1000 < 0.12
    assert not set(draws(DiffusionConfig()).tolist()) & set(left)


def test_self_noise_leaves_out_nothing() -> None:
    weights = timestep_weights(DiffusionConfig(corruption=SelfCorruption()), ALPHA_BARS)
    assert (weights > 0).all()


def test_logit_normal_draws_follow_its_distribution() -> None:
    u = (draws(sampler(LogitNormalTimesteps(mean=-0.5, std=0.8))).double() + 0.5) / 1000
    assert kstest(torch.logit(u), norm(-0.5, 0.8).cdf).statistic < 0.015
    assert u.median().item() == pytest.approx(expit(-0.5), abs=0.01)


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_early_and_late_mirror_each_other_and_have_the_mean_of_their_power(power: float) -> None:
    early = draws(sampler(EarlyTimesteps(power=power))).double().mean().item() / 1000
    late = draws(sampler(LateTimesteps(power=power))).double().mean().item() / 1000
    assert late == pytest.approx((power + 1) / (power + 2), abs=0.01)  # mean of Beta(power + 1, 1)
    assert early == pytest.approx(1 - late, abs=0.01)


def test_fixed_draws_one_timestep() -> None:
    assert set(draws(sampler(FixedTimestep(timestep=17)), 100).tolist()) == {17}


def test_draws_repeat_with_the_seed() -> None:
    assert torch.equal(draws(DiffusionConfig()), draws(DiffusionConfig()))


def test_a_fixed_timestep_in_the_blind_band_is_refused() -> None:
    config = DiffusionConfig(training_timesteps=FixedTimestep(timestep=258))
    with pytest.raises(ValueError, match=r"min_gain 0\.2 leaves no timestep"):
        timestep_weights(config, ALPHA_BARS)


def test_inference_is_at_the_last_timestep_for_structured_noise_and_at_the_first_otherwise() -> (
    None
):
    short = LinearSchedule(num_timesteps=50)
    assert inference_timesteps(DiffusionConfig(schedule=short)) == (49,)
    assert inference_timesteps(DiffusionConfig(corruption=GaussianCorruption())) == (0,)
    assert inference_timesteps(DiffusionConfig(corruption=NoCorruption())) == (0,)
    assert inference_timesteps(DiffusionConfig(inference_timesteps=(7, 90))) == (7, 90)
    with pytest.raises(ValueError, match="60 is not below 50"):
        inference_timesteps(DiffusionConfig(schedule=short, inference_timesteps=(60,)))
