"""Random numbers follow from what they are for, and not from the batch."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from noise2map_core.learning.seeds import ChipRandom

CPU = torch.device("cpu")


def everything(random: ChipRandom) -> list[torch.Tensor]:
    drawn = [random.rand(3), random.randn(2, 2), random.randint(5), random.rand()]
    return [*drawn, random.noise((2, 4, 4), CPU)]


@pytest.mark.parametrize("chosen", [[0], [3, 1], [5, 0, 4, 2, 1, 3]])
def test_a_sample_has_the_same_numbers_in_any_batch(chosen: list[int]) -> None:
    samples = np.array([[7, 0, 0], [7, 0, 1], [7, 1, 0], [8, 0, 0], [9, 0, 0], [2**31, 3, 1]])
    whole = everything(ChipRandom(1, 2, "change", samples))
    part = everything(ChipRandom(1, 2, "change", samples[chosen]))
    for one, other in zip(part, whole, strict=True):
        assert torch.equal(one, other[chosen])


def test_seed_epoch_purpose_chip_and_showing_all_tell_numbers_apart() -> None:
    given = [(s, e, p) for s in (0, 1) for e in (0, 1) for p in ("change", "segment")]
    samples = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    drawn = [ChipRandom(*one, samples) for one in given]
    for numbers in (
        np.concatenate([one.rand().numpy() for one in drawn]),
        np.concatenate([one.noise((1,), CPU).numpy()[:, 0] for one in drawn]),
    ):
        assert len(np.unique(numbers)) == len(numbers) == 32


def test_numbers_of_many_chips_are_distributed_as_they_should_be() -> None:
    random = ChipRandom(0, 0, "change", np.arange(2000)[:, None])
    assert kstest(random.rand().numpy(), "uniform").pvalue > 0.01
    assert kstest(random.randn().numpy(), "norm").pvalue > 0.01
    assert kstest(random.noise((1,), CPU).numpy()[:, 0], "norm").pvalue > 0.01
    assert np.bincount(random.randint(4).numpy()).min() > 400
