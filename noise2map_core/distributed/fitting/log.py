"""What a training run tells while it runs: a line for people, curves for TensorBoard and tools."""

import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tensorboardX import SummaryWriter

from noise2map_core.distributed.board import Point
from noise2map_core.runtime.storage import is_local, upload
from noise2map_core.training.curve import LOSS, CurveWriter

INTERVAL_S = 1.0
"""Least time between two messages to the driver."""
FLUSH_INTERVAL_S = 1
"""Most of TensorBoard's curves that a killed run loses."""


class TrainLog:
    """Kept by rank 0, from `first_step` of `num_steps` on.

    Objects cannot be appended to: on object storage what was drawn between two states is a file of
    TensorBoard's in `folder`. `curve` is the file of all curves as JSON lines.
    """

    def __init__(
        self, board: Any, folder: Path, curve: Path, first_step: int, num_steps: int,
        batch_size: int,
    ) -> None:  # fmt: skip
        self._board, self._folder, self._lines = board, folder, CurveWriter(curve)
        self._scratch = None if is_local(folder) else TemporaryDirectory(prefix="noise2map-")
        self._step, self._num_steps, self._batch_size = first_step, num_steps, batch_size
        self._since, self._first = time.monotonic(), first_step
        self._learn_s = self._loss = 0.0
        self._points: list[Point] = []
        """Of curves, not told yet."""
        self._curves = self._open()

    def _open(self) -> SummaryWriter:
        return SummaryWriter(
            str(self._scratch.name if self._scratch else self._folder),
            # What a killed run had drawn behind its last state, from here on, is shown no longer.
            purge_step=self._step + 1,
            flush_secs=FLUSH_INTERVAL_S,
            filename_suffix=f".{self._step:09}",
        )

    def step(self, loss: float, learn_s: float) -> None:
        """A step was taken; `learn_s` of its time went into computing, the rest into reading."""
        self._step, self._learn_s, self._loss = self._step + 1, self._learn_s + learn_s, loss
        self._draw({LOSS: loss})

    def tell(self) -> None:
        """Say how far the steps are that were taken, unless that was said a moment ago."""
        seconds = time.monotonic() - self._since
        if seconds >= INTERVAL_S or self._step == self._num_steps:
            self._tell(self._loss, seconds)

    def epoch(self, metrics: dict[str, Any], shown: tuple[str, ...]) -> None:
        """An epoch was validated; figures without a curve are left out."""
        self._draw({f"epoch/{k}": v for k, v in metrics.items() if isinstance(v, float)})
        self._put({name: metrics[name] for name in shown})
        self._since, self._first, self._learn_s = time.monotonic(), self._step, 0.0

    def save(self) -> None:
        """Write what was drawn; a run that goes on from a state kept now does not draw it again."""
        self._lines.save()
        if self._scratch:
            self._put_away(self._scratch)
            self._curves = self._open()

    def close(self) -> None:
        """Wait until all curves are written."""
        self._lines.close()
        if self._scratch is None:
            self._curves.close()
            return
        self._put_away(self._scratch)
        self._scratch.cleanup()

    def _put_away(self, scratch: "TemporaryDirectory[str]") -> None:
        self._curves.close()
        for file in Path(scratch.name).iterdir():
            upload(file, self._folder / file.name)
            file.unlink()

    def _draw(self, figures: dict[str, float]) -> None:
        self._lines.add(self._step, figures)
        for name, value in figures.items():
            self._curves.add_scalar(name, value, self._step)
            self._points.append((name, value, self._step, int(time.time() * 1000)))

    def _put(self, figures: dict[str, Any]) -> None:
        self._board.put.remote(figures, self._points)
        self._points = []

    def _tell(self, loss: float, seconds: float) -> None:
        rate = (self._step - self._first) / seconds
        left = timedelta(seconds=round((self._num_steps - self._step) / rate))
        self._put(
            {
                "step": f"{self._step}/{self._num_steps}",
                "loss": loss,
                "samples/s": self._batch_size * rate,
                "busy": f"{100 * self._learn_s / seconds:.0f} %",
                "left": str(left),
            }
        )
        self._since, self._first, self._learn_s = time.monotonic(), self._step, 0.0
