import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from noise2map_core.learning.average import MovingAverage
from noise2map_core.learning.losses import CrossEntropy
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.learning.steps import (
    MicroBatch,
    Objective,
    Ranks,
    SkippedSteps,
    StepOutcome,
    learning_rate,
    train_step,
)
from noise2map_core.models.noise2map import TaskInput
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.settings.network import Task

OBJECTIVE = Objective({"change": (1.0, CrossEntropy(torch.tensor([1.0, 3.0])))})


def target(count: int = 4) -> torch.Tensor:
    label = torch.randint(0, 3, (count, 6, 6), generator=torch.Generator().manual_seed(0))
    return label.masked_fill(label == 2, IGNORE)


class Linear(nn.Module):
    """A stand-in for the model: one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 2, 1)

    def forward(self, batches: dict[Task, TaskInput]) -> dict[Task, torch.Tensor]:
        return {name: self.layer(batch.x_0) for name, batch in batches.items()}


def step(model: Linear, image: torch.Tensor, max_norm: float = 1.0) -> float:
    batch = TaskInput(image, torch.ones(4, 1, 6, 6).bool(), torch.zeros(4).long())
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0, fused=True)
    micro = MicroBatch({"change": batch}, {"change": target()})
    return float(train_step(model, [micro], OBJECTIVE, optimiser, max_norm, Ranks()).loss)


def test_the_loss_is_torch_weighted_mean_over_labelled_pixels() -> None:
    torch.manual_seed(0)
    model, image = Linear(), torch.randn(4, 4, 6, 6)
    expected = cross_entropy(
        model.layer(image), target(), weight=torch.tensor([1.0, 3.0]), ignore_index=IGNORE
    )
    assert step(model, image) == pytest.approx(expected.item(), rel=1e-5)


def test_a_step_moves_the_weights_by_the_clipped_gradient() -> None:
    torch.manual_seed(0)
    model = Linear()
    before = [weight.clone() for weight in model.parameters()]
    assert math.isfinite(step(model, 100 * torch.randn(4, 4, 6, 6), max_norm=0.5))
    moved = [(new - old).detach() for new, old in zip(model.parameters(), before, strict=True)]
    assert math.sqrt(sum(float(part.square().sum()) for part in moved)) == pytest.approx(0.5, 1e-3)


def test_a_loss_that_is_not_finite_leaves_the_weights() -> None:
    model = Linear()
    before = [weight.clone() for weight in model.parameters()]
    assert math.isnan(step(model, torch.full((4, 4, 6, 6), torch.nan)))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def adam_step(model: Linear, image: torch.Tensor, label: torch.Tensor) -> StepOutcome:
    """A step of an optimiser that moves without a gradient, too: momentum and weight decay."""
    batch = TaskInput(image, torch.ones(4, 1, 6, 6).bool(), torch.zeros(4).long())
    optimiser = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.5, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    before = [weight.clone() for weight in model.parameters()]
    micro = MicroBatch({"change": batch}, {"change": label})
    kept = copy.deepcopy(optimiser.state_dict()["state"])
    outcome = train_step(model, [micro], OBJECTIVE, optimiser, 1.0, Ranks())
    still = all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    same = all(
        torch.equal(optimiser.state_dict()["state"][number][key], value)
        for number, moments in kept.items()
        for key, value in moments.items()
    )
    assert still == same == (not outcome.moved)
    return outcome


def test_a_batch_without_a_labelled_pixel_has_no_loss_and_moves_nothing() -> None:
    model, nothing = Linear(), torch.full((4, 6, 6), IGNORE)
    outcome = adam_step(model, torch.randn(4, 4, 6, 6), nothing)
    assert not outcome.loss and not outcome.norm and not outcome.moved
    outcome = adam_step(model, torch.randn(4, 4, 6, 6), target())
    assert outcome.loss > 0 and outcome.moved


def test_a_finite_loss_with_a_gradient_that_is_no_number_moves_nothing() -> None:
    class Root(Linear):
        """The slope of a root has no bound at 0, and 0 times it is no number."""

        def forward(self, batches: dict[Task, TaskInput]) -> dict[Task, torch.Tensor]:
            found = super().forward(batches)
            return {name: (logits * 0).abs().sqrt() for name, logits in found.items()}

    model = Root()
    outcome = adam_step(model, torch.randn(4, 4, 6, 6), target())
    assert math.isfinite(outcome.loss) and not math.isfinite(outcome.norm) and not outcome.moved
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_gradients_that_are_no_numbers_are_counted() -> None:
    skips, counted = SkippedSteps(), []
    for norm in (1.0, math.nan, math.inf, 0.0, math.nan):
        skips.count(norm)
        counted.append((skips.skipped, skips.in_a_row))
    assert counted == [(0, 0), (1, 1), (2, 2), (2, 0), (3, 1)]


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainingConfig(learning_rate=1e-2, warmup=0.1)
    rates = [learning_rate(step, 200, config) for step in range(201)]
    assert rates[0] == pytest.approx(1e-2 / 20)
    assert max(rates) == rates[19] == pytest.approx(1e-2)
    assert rates[110] == pytest.approx(5e-3)
    assert rates[200] == pytest.approx(0, abs=1e-9)
    assert all(a >= b for a, b in pairwise(rates[19:]))


def test_without_decay_the_learning_rate_stays_after_the_warm_up() -> None:
    config = TrainingConfig(learning_rate=1e-2, warmup=0.1, decay="none")
    rates = [learning_rate(step, 200, config) for step in range(201)]
    assert rates[0] == pytest.approx(1e-2 / 20)
    assert set(rates[20:]) == {1e-2}


def test_the_average_follows_the_weights_with_its_decay() -> None:
    model = Linear()
    average = MovingAverage(model, 0.9)
    average.update(torch.tensor(1.0))
    first = model.layer.bias.detach().clone()
    with torch.no_grad():
        model.layer.bias.add_(1.0)
    average.update(torch.tensor(0.0))
    torch.testing.assert_close(average.module.layer.bias.detach(), first)
    average.update(torch.tensor(1.0))
    torch.testing.assert_close(average.module.layer.bias.detach(), first + 0.1)


def test_a_warming_average_follows_faster_at_first() -> None:
    model, expected = Linear(), 0.0
    average = MovingAverage(model, 0.5, warmup=True)
    for n in range(20):
        with torch.no_grad():
            model.layer.bias.fill_(1.0 + n)
        average.update(torch.tensor(1.0))
        # The first update copies; then 2/11, 3/12, … until they reach the decay.
        decay = 0.0 if n == 0 else min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * (1.0 + n)
        assert average.module.layer.bias.detach().tolist() == pytest.approx([expected] * 2)
