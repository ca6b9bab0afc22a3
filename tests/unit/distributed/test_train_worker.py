"""A rank's steps, without Ray and without a network."""

from pathlib import Path
from typing import Any

import pytest

from noise2map_core.distributed.fitting import Score, TrainLink
from noise2map_core.distributed.train_worker import TrainWorker
from noise2map_core.learning.config import TrainingConfig


class Link(TrainLink):
    """Stands for Ray Train; keeps the states."""

    def __init__(self) -> None:
        self.rank, self.world_size = 0, 1
        self.states: list[Any] = []

    def last_checkpoint(self) -> None:
        return None

    def report(self, metrics: dict[str, Any], state: Any) -> None:
        self.states.append(state)


class Worker(TrainWorker):
    """Its losses are given; a state is the number of steps behind it."""

    score, num_steps = Score("score", highest=True), 2

    def __init__(self, losses: list[float], link: Link) -> None:
        super().__init__(TrainingConfig(epochs=3, checkpoint_epochs=1), link)
        self._given, self.learner, self.log_folder = iter(losses), self, Path()
        self.taken = 0

    def begin_epoch(self, epoch: int) -> None:
        pass

    def load(self, epoch: int, step: int) -> None:
        pass

    def learn(self, batch: Any, epoch: int, step: int) -> float:
        self.taken += 1
        return next(self._given)

    def chips_of(self, step: int) -> str:
        return f"chips of step {step}"

    def validate(self) -> dict[str, Any]:
        return {"score": 0.5}

    def state(self) -> dict[str, Any]:
        return {"taken": self.taken}


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
