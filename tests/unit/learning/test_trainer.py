import torch

from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.config import TrainingConfig
from noise2map_core.learning.trainer import Learner
from tests.factories import checkpoint_spec

CONFIG = TrainingConfig(epochs=3, learning_rate=1e-2)


def learner(seed: int = 0) -> Learner:
    return Learner(
        checkpoint_spec(chip_px=16), CONFIG, "distinguishable", seed, torch.device("cpu"),
        wrap=lambda model: model,
    )  # fmt: skip


def batch() -> TrainingBatch:
    """Pairs whose changed pixels differ between the dates."""
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 2, (8, 16, 16), generator=generator)
    before = torch.randn(8, 2, 16, 16, generator=generator)
    after = before + 2 * label[:, None]
    return TrainingBatch(torch.cat([before, after], dim=1), label, torch.ones_like(label).bool())


def steps(learner: Learner, first: int, last: int) -> list[float]:
    return [
        learner.step(batch(), step // 10, step % 10, 10, 0, 1, lambda total: total)
        for step in range(first, last)
    ]


def test_training_lowers_the_loss() -> None:
    losses = steps(learner(), 0, 30)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_a_restored_learner_goes_on_to_the_same_bits() -> None:
    whole, first, second = learner(), learner(), learner(seed=0)
    losses = steps(whole, 0, 12)
    steps(first, 0, 7)
    second.restore(first.state())
    assert steps(second, 7, 12) == losses[7:]
    for name, weight in whole.averaged.state_dict().items():
        assert torch.equal(weight, second.averaged.state_dict()[name]), name


def test_seeds_give_different_weights_and_one_seed_the_same() -> None:
    losses = [steps(learner(seed), 0, 1)[0] for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
