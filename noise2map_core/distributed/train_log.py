"""What a training run tells while it runs: a line for people, curves for TensorBoard."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

INTERVAL_S = 1.0
"""Least time between two messages to the driver."""


class TrainLog:
    """Kept by rank 0, from `first_step` of `num_steps` on."""

    def __init__(
        self, board: Any, folder: Path, first_step: int, num_steps: int, batch_size: int
    ) -> None:
        self._board = board
        # What a killed run had written behind its last state is shown no longer.
        self._curves = SummaryWriter(str(folder), purge_step=first_step)
        self._step, self._num_steps, self._batch_size = first_step, num_steps, batch_size
        self._since, self._first = time.monotonic(), first_step
        self._learn_s = 0.0

    def step(self, loss: float, learn_s: float) -> None:
        """A step was taken; `learn_s` of its time went into computing, the rest into reading."""
        self._step, self._learn_s = self._step + 1, self._learn_s + learn_s
        self._curves.add_scalar("train/loss", loss, self._step)
        seconds = time.monotonic() - self._since
        if seconds >= INTERVAL_S or self._step == self._num_steps:
            self._tell(loss, seconds)

    def epoch(self, metrics: dict[str, Any], shown: tuple[str, ...]) -> None:
        """An epoch was validated; figures without a curve are left out."""
        for name, value in metrics.items():
            if isinstance(value, float):
                self._curves.add_scalar(f"epoch/{name}", value, self._step)
        self._curves.flush()
        self._board.put.remote({name: metrics[name] for name in shown})
        self._since, self._first, self._learn_s = time.monotonic(), self._step, 0.0

    def _tell(self, loss: float, seconds: float) -> None:
        rate = (self._step - self._first) / seconds
        left = timedelta(seconds=round((self._num_steps - self._step) / rate))
        self._board.put.remote(
            {
                "step": f"{self._step}/{self._num_steps}",
                "loss": loss,
                "samples/s": self._batch_size * rate,
                "busy": f"{100 * self._learn_s / seconds:.0f} %",
                "left": str(left),
            }
        )
        self._since, self._first, self._learn_s = time.monotonic(), self._step, 0.0
