"""One rank of a training run: epochs of steps, the states between them, and what is shown."""

import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from noise2map_core.distributed.fitting.fit import LOG_FOLDER, Score, TrainLink, load_state
from noise2map_core.distributed.fitting.log import TrainLog
from noise2map_core.inference.numeric_path import processor_name
from noise2map_core.learning.steps import Ranks
from noise2map_core.settings.learning import OptimisationConfig
from noise2map_core.settings.resources import gpus_held
from noise2map_core.training.curve import CURVE_FILE

MAX_SKIPPED = 10
"""Steps in a row without a finite gradient after which training ends: one or two may be a chip's
fault, so many are the settings'."""

POSITION = ("epoch", "losses", "history", "train_s")
"""Attributes of a worker that are kept besides the learner's state."""


class _Diverged(Exception):
    """Training that leads nowhere; says where and how, for people."""


def find_not_finite(state: Any, name: str = "state") -> str | None:
    """The name of a tensor within dicts and lists that holds NaN or infinity; None: none does."""
    if isinstance(state, Tensor):
        return None if torch.isfinite(state).all() else name
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(state, Mapping):
        inside = state.items()
    elif isinstance(state, list | tuple):
        inside = enumerate(state)
    found = (find_not_finite(value, f"{name}.{key}") for key, value in inside)
    return next((one for one in found if one is not None), None)


class TrainWorker(ABC):
    """Takes the steps of every epoch, from where an earlier run was kept.

    All randomness of a step follows from (seed, epoch, step), so that the position is all that a
    state needs besides weights and optimiser: a run that goes on in the middle of an epoch, with
    as many workers or fewer, sees the chips and the noise that it would have seen.
    """

    learner: Any
    """Has `state`, `restore` and `guard`."""
    num_steps: int
    """Steps of an epoch."""
    score: Score

    def __init__(self, training: OptimisationConfig, state: Path, link: TrainLink) -> None:
        """`state` is the folder of states; curves lie in it, and for TensorBoard beside it."""
        self.training, self.link, self._folder = training, link, state
        self.ranks = Ranks(link.rank, link.world_size, self._sum_over_ranks)
        self.epoch = 0
        """Epochs that are complete."""
        self.history: list[dict[str, Any]] = []
        """Of every validated epoch: epoch, loss, train_s, resources, what `validate` found, and
        skipped, the steps so far whose gradient was not finite."""
        self.losses: list[float] = []
        """Of the steps taken in the epoch that is under way."""
        self.train_s = 0.0
        """Seconds that all steps took, reading included and validation not."""

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Make ready for the steps of an epoch."""

    @abstractmethod
    def load(self, epoch: int, step: int) -> Any:
        """This rank's part of a global batch."""

    @abstractmethod
    def learn(self, batch: Any, epoch: int, step: int) -> float:
        """Take one step; the loss of the global batch."""

    @abstractmethod
    def chips_of(self, step: int) -> str:
        """The global batch of a step of this epoch, for people."""

    @abstractmethod
    def validate(self) -> dict[str, Any]:
        """Figures of the moving average on the validation part, `score.name` among them."""

    def run(self, board: Any = None) -> str | None:
        """Train to the end, telling `board` how far. Returns where and how, if it diverged."""
        torch.set_num_threads(max(1, math.floor(self.training.worker_cpus)))
        checkpoint = self.link.last_checkpoint()
        if checkpoint is not None:
            self._restore(load_state(checkpoint))
        self._log = self._open_log(board) if board and self.ranks.rank == 0 else None
        try:
            self._run_epochs()
        except _Diverged as diverged:
            return str(diverged)
        finally:
            if self._log is not None:
                self._log.close()
        return None

    def _run_epochs(self) -> None:
        for epoch in range(self.epoch, self.training.epochs):
            self._run_epoch(epoch)
            if self._is_due():
                self._report()
                if self._has_stalled():
                    break

    def _open_log(self, board: Any) -> TrainLog:
        first, last = (epochs * self.num_steps for epochs in (self.epoch, self.training.epochs))
        first += len(self.losses)
        folder, curve = self._folder.parent / LOG_FOLDER, self._folder / CURVE_FILE
        return TrainLog(board, folder, curve, first, last, self.training.batch_size)

    def _run_epoch(self, epoch: int) -> None:
        """Every step that is left of an epoch. Raises _Diverged."""
        self.begin_epoch(epoch)
        for step in range(len(self.losses), self.num_steps):
            begun = time.monotonic()
            batch, loaded = self.load(epoch, step), time.monotonic()
            self.losses.append(self.learn(batch, epoch, step))
            learnt = time.monotonic()
            self.train_s += learnt - begun
            if self._log is not None:
                self._log.step(self.losses[-1], learnt - loaded)
            self._require_progress()
            if self._is_kept(step + 1):
                self._keep()
        self.epoch, self._mean = epoch + 1, sum(self.losses) / len(self.losses)
        self.losses = []

    def _require_progress(self) -> None:
        if not math.isfinite(self.losses[-1]):
            raise self._diverged("the loss is not finite")
        if self.learner.guard.in_a_row >= MAX_SKIPPED:
            raise self._diverged(f"{MAX_SKIPPED} gradients in a row are not finite, the last")

    def _diverged(self, what: str) -> "_Diverged":
        step, kept = len(self.losses), "no epoch was kept yet"
        if self.history:
            kept = f"the last good state is that after epoch {self.history[-1]['epoch']:.0f}"
        return _Diverged(
            f"{what} at epoch {self.epoch + 1}, step {step}, on {self.chips_of(step - 1)}; {kept}"
        )

    def _is_kept(self, steps: int) -> bool:
        every = self.training.checkpoint_steps
        return every is not None and steps % every == 0 and steps < self.num_steps

    def _is_due(self) -> bool:
        """True if this epoch is to be validated and kept."""
        every = self.training.checkpoint_epochs
        return self.epoch % every == 0 or self.epoch == self.training.epochs

    def _has_stalled(self) -> bool:
        """True if the last validations were no better than one before them; all ranks agree."""
        scores = [entry[self.score.name] for entry in self.history if self.score.name in entry]
        best = scores.index(max(scores) if self.score.highest else min(scores))
        patience = self.training.patience
        return patience is not None and len(scores) - 1 - best >= patience

    def _keep(self) -> None:
        """Hand over the state in the middle of an epoch; it is never the best one."""
        # Ray Train writes it as JSON, which knows no infinity.
        worst = sys.float_info.max
        self._hand_over({self.score.name: -worst if self.score.highest else worst})

    def _report(self) -> None:
        """Validate, and hand over metrics and state; all ranks call it together."""
        metrics = {"epoch": float(self.epoch), "loss": self._mean, "train_s": self.train_s}
        metrics |= self.validate() | {"resources": self._resources()}
        metrics["skipped"] = self.learner.guard.skipped
        self.history.append(metrics)
        if self._log is not None:
            self._log.epoch(metrics, ("epoch", "loss", self.score.name))
        self._hand_over(metrics)

    def _hand_over(self, metrics: dict[str, Any]) -> None:
        """Raises _Diverged rather than keep weights that are no numbers."""
        state = self._state()
        if (name := find_not_finite(state)) is not None:
            raise _Diverged(
                f"{name} is not finite after epoch {self.epoch}, step {len(self.losses)}; such a "
                "state is not kept"
            )
        if self._log is not None:
            self._log.save()
        self.link.report(metrics, state)

    def _resources(self) -> dict[str, Any]:
        """What each of how many workers holds; the hardware is rank 0's."""
        cpus, gpus = self.training.worker_cpus, gpus_held(self.training.worker_gpus)
        hardware = torch.cuda.get_device_name() if gpus else processor_name()
        return {
            "workers": self.ranks.world_size, "cpus": cpus, "gpus": gpus, "hardware": hardware,
        }  # fmt: skip

    def _state(self) -> dict[str, Any]:
        position = {name: getattr(self, name) for name in POSITION}
        return self.learner.state() | position

    def _restore(self, state: dict[str, Any]) -> None:
        for name in POSITION:
            setattr(self, name, state[name])
        self.learner.restore(state)

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        if self.ranks.world_size > 1:
            dist.all_reduce(value)
        return value
