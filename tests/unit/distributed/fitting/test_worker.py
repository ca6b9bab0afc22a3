"""A rank's steps, without Ray and without a network."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from noise2map_core.distributed.fitting.fit import Score, TrainLink
from noise2map_core.distributed.fitting.worker import FETCHED_STEPS, MAX_SKIPPED, TrainWorker
from noise2map_core.learning.steps import StepOutcome
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.learning import TrainingConfig


class Link(TrainLink):
    """Stands for Ray Train; keeps the states."""

    def __init__(self) -> None:
        self.rank, self.world_size = 0, 1
        self.states: list[Any] = []

    def last_checkpoint(self) -> None:
        return None

    def report(self, metrics: dict[str, Any], state: Any) -> None:
        self.states.append(state)


def outcome(loss: float, norm: float = 1.0) -> StepOutcome:
    return StepOutcome(*(torch.tensor(value) for value in (loss, norm, 1.0)))


class Worker(TrainWorker):
    """Its losses are given, then 1; a state is the number of steps behind it."""

    score, num_steps = Score("score", highest=True), 2

    def __init__(self, losses: list[float], link: Link) -> None:
        super().__init__(TrainingConfig(epochs=3, checkpoint_epochs=1), Path(), link)
        self._given, self.learner = iter(losses), self
        self.taken = 0
        self.weights = torch.zeros(3)

    def begin_epoch(self, epoch: int) -> None:
        pass

    def load(self, step: int) -> int:
        return step

    def learn(self, batch: int, epoch: int, step: int) -> StepOutcome:
        self.taken += 1
        return outcome(next(self._given, 1.0))

    def chips_in(self, batch: int) -> list[int]:
        return [batch]

    def named(self, chips: list[int]) -> str:
        return f"chips of step {', '.join(map(str, chips))}"

    def validate(self) -> dict[str, Any]:
        return {"score": 0.5}

    def state(self) -> dict[str, Any]:
        return {"taken": self.taken, "model": {"weight": self.weights}}


@pytest.mark.parametrize(
    ("losses", "kept", "said"),
    [
        (
            [1.0, 1.0, 1.0, float("nan")],
            [2],
            "at epoch 2, step 2, on chips of step 1; the last good state is that after epoch 1",
        ),
        ([float("inf")], [], "at epoch 1, step 1, on chips of step 0; no epoch was kept yet"),
    ],
)
def test_a_loss_that_is_no_number_stops_with_step_chips_and_the_last_good_state(
    losses: list[float], kept: list[int], said: str
) -> None:
    link = Link()
    assert Worker(losses, link).run() == f"the loss is not finite {said}"
    assert [state["taken"] for state in link.states] == kept


class Skipping(Worker):
    """Its gradients are finite where `norms` are."""

    def __init__(self, norms: list[float], link: Link) -> None:
        super().__init__([1.0] * len(norms), link)
        self.training = self.training.model_copy(update={"epochs": len(norms) // 2})
        self._norms = iter(norms)

    def learn(self, batch: int, epoch: int, step: int) -> StepOutcome:
        return replace(super().learn(batch, epoch, step), norm=torch.tensor(next(self._norms)))


def test_some_gradients_that_are_no_numbers_are_skipped_and_counted() -> None:
    link, worker = Link(), Skipping([1.0, *[math.nan] * (MAX_SKIPPED - 1), 1.0, math.inf], Link())
    worker.link = link
    assert worker.run() is None
    assert [entry["skipped"] for entry in worker.history] == [1, 3, 5, 7, 9, 10]
    assert link.states


def test_many_gradients_in_a_row_that_are_no_numbers_end_training_with_their_place() -> None:
    link = Link()
    said = Skipping([1.0, 1.0, *[math.nan] * (MAX_SKIPPED + 2)], link).run()
    assert said is not None and said.startswith(f"{MAX_SKIPPED} gradients in a row are not finite")
    assert (
        "at epoch 6, step 2, on chips of step 1; the last good state is that after epoch 5" in said
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("every", [None, 1])
def test_weights_that_are_no_numbers_are_never_kept(value: float, every: int | None) -> None:
    """Neither at the end of an epoch nor in its middle."""
    link = Link()
    worker = Worker([1.0] * 6, link)
    worker.training = worker.training.model_copy(update={"checkpoint_steps": every})
    worker.weights[1] = value
    said = worker.run()
    assert said is not None and "state.model.weight is not finite" in said
    assert not link.states


class Large(Worker):
    """Its batches are larger than the memory."""

    def learn(self, batch: int, epoch: int, step: int) -> StepOutcome:
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_batch_larger_than_the_memory_is_told_with_the_settings_that_help() -> None:
    worker = Large([], Link())
    worker.training = worker.training.model_copy(update={"batch": 48, "accumulation": 4})
    with pytest.raises(ConfigError, match=r"^12 chips at once .*training\.accumulation \(4\)"):
        worker.run()


def test_losses_are_fetched_some_steps_later_and_none_is_lost() -> None:
    """What is wrong is found with its own chips, though later steps were taken."""

    class Long(Worker):
        num_steps = 3 * FETCHED_STEPS

    link, losses = Link(), [1.0] * (FETCHED_STEPS + 2)
    worker = Long([*losses, math.nan], link)
    said = worker.run()
    wrong = len(losses)
    assert said is not None and f"at epoch 1, step {wrong + 1}, on chips of step {wrong}" in said
    assert worker.taken == 2 * FETCHED_STEPS
    assert worker.losses[:-1] == losses and math.isnan(worker.losses[-1])
