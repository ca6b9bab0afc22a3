"""One rank of a training run: epochs of steps, the states between them, and what is shown."""

import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from noise2map_core.distributed.fitting.ahead import read_ahead
from noise2map_core.distributed.fitting.fit import LOG_FOLDER, Score, TrainLink, load_state
from noise2map_core.distributed.fitting.log import TrainLog
from noise2map_core.inference.numeric_path import processor_name
from noise2map_core.learning.steps import Ranks, SkippedSteps, StepOutcome
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.learning import OptimisationConfig
from noise2map_core.settings.resources import gpus_held
from noise2map_core.training.curve import CURVE_FILE

MAX_SKIPPED = 10
"""Steps in a row without a finite gradient after which training ends: one or two may be a chip's
fault, so many are the settings'."""

FETCHED_STEPS = 8
"""Steps after which losses come from the device, which nobody waits for in between. All ranks
stop at the same step: it is a number of steps, not of seconds."""

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

    All randomness follows from (seed, epoch, chip), so that the position is all that a
    state needs besides weights and optimiser: a run that goes on in the middle of an epoch, with
    as many workers or fewer, sees the chips and the noise that it would have seen.
    """

    learner: Any
    """Has `state` and `restore`."""
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
        self.skips = SkippedSteps()
        self._taken: list[tuple[list[int], StepOutcome]] = []
        """Steps whose outcome is still on the device, with this rank's chips."""
        self._loading: int | None = None
        """The epoch that is read."""
        self._begun = self._waited = 0.0
        """When the first of these steps began, and seconds that they waited for chips."""
        self.train_s = 0.0
        """Seconds that all steps took, reading included and validation not."""

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Make ready for the steps of an epoch."""

    @abstractmethod
    def load(self, step: int) -> Any:
        """This rank's part of a global batch of the epoch that was begun; in a thread, ahead."""

    @abstractmethod
    def learn(self, batch: Any, epoch: int, step: int) -> StepOutcome:
        """Take one step."""

    @abstractmethod
    def chips_in(self, batch: Any) -> list[int]:
        """Numbers of the chips of a batch."""

    @abstractmethod
    def named(self, chips: list[int]) -> str:
        """Chips of these numbers, for people."""

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
        with closing(read_ahead(self._load, self._places())) as batches:
            for epoch in range(self.epoch, self.training.epochs):
                self._run_epoch(epoch, batches)
                if self._is_due():
                    self._report()
                    if self._has_stalled():
                        break

    def _places(self) -> Iterator[tuple[int, int]]:
        """Epoch and step of all steps that are left."""
        first = len(self.losses)
        for epoch in range(self.epoch, self.training.epochs):
            yield from ((epoch, step) for step in range(first, self.num_steps))
            first = 0

    def _load(self, place: tuple[int, int]) -> Any:
        epoch, step = place
        if epoch != self._loading:
            self._loading = epoch
            self.begin_epoch(epoch)
        return self.load(step)

    def _open_log(self, board: Any) -> TrainLog:
        first, last = (epochs * self.num_steps for epochs in (self.epoch, self.training.epochs))
        first += len(self.losses)
        folder, curve = self._folder.parent / LOG_FOLDER, self._folder / CURVE_FILE
        return TrainLog(board, folder, curve, first, last, self.training.batch)

    def _run_epoch(self, epoch: int, batches: Iterator[Any]) -> None:
        """Every step that is left of an epoch. Raises _Diverged."""
        for step in range(len(self.losses), self.num_steps):
            self._take_step(batches, epoch, step)
            if (kept := self._is_kept(step + 1)) or step + 1 == self.num_steps:
                self._fetch()
            if kept:
                self._keep()
        self.epoch, self._mean = epoch + 1, sum(self.losses) / len(self.losses)
        self.losses = []

    def _take_step(self, batches: Iterator[Any], epoch: int, step: int) -> None:
        begun = time.monotonic()
        self._begun = self._begun if self._taken else begun
        batch = next(batches)
        self._waited += time.monotonic() - begun
        self._taken.append((self.chips_in(batch), self._learnt(batch, epoch, step)))
        if len(self._taken) == FETCHED_STEPS:
            self._fetch()

    def _learnt(self, batch: Any, epoch: int, step: int) -> StepOutcome:
        try:
            return self.learn(batch, epoch, step)
        except torch.OutOfMemoryError as error:
            size = self.training.batch // self.ranks.world_size // self.training.accumulation
            raise ConfigError(
                f"{size} chips at once do not fit into the memory of the GPU. Raise "
                f"training.accumulation ({self.training.accumulation}), lower training.batch "
                f"({self.training.batch}), or set training.gradient_checkpointing."
            ) from error

    def _fetch(self) -> None:
        """See what came of the steps since the last time; all ranks do it at the same step.

        Raises _Diverged.
        """
        if not (taken := self._taken):
            return
        self._taken = []
        figures = torch.stack([torch.stack([one.loss, one.norm]) for _, one in taken]).tolist()
        seconds, waited, self._waited = time.monotonic() - self._begun, self._waited, 0.0
        self.train_s += seconds
        for (chips, _), (loss, norm) in zip(taken, figures, strict=True):
            self.losses.append(loss)
            if self._log is not None:
                self._log.step(loss, (seconds - waited) / len(taken))
            self._require_progress(norm, chips)
        if self._log is not None:
            self._log.tell()

    def _require_progress(self, norm: float, chips: list[int]) -> None:
        if not math.isfinite(self.losses[-1]):
            raise self._diverged("the loss is not finite", chips)
        self.skips.count(norm)
        if self.skips.in_a_row >= MAX_SKIPPED:
            raise self._diverged(
                f"{MAX_SKIPPED} gradients in a row are not finite, the last", chips
            )

    def _diverged(self, what: str, chips: list[int]) -> "_Diverged":
        kept = "no epoch was kept yet"
        if self.history:
            kept = f"the last good state is that after epoch {self.history[-1]['epoch']:.0f}"
        named = self.named(self._of_all_ranks(chips))
        return _Diverged(
            f"{what} at epoch {self.epoch + 1}, step {len(self.losses)}, on {named}; {kept}"
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
        metrics["skipped"] = self.skips.skipped
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
        return self.learner.state() | position | {"guard": asdict(self.skips)}

    def _restore(self, state: dict[str, Any]) -> None:
        for name in POSITION:
            setattr(self, name, state[name])
        counted = state.get("guard", {})  # states of earlier versions lack it, or know more
        self.skips = SkippedSteps(counted.get("skipped", 0), counted.get("in_a_row", 0))
        self.learner.restore(state)

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        if self.ranks.world_size > 1:
            dist.all_reduce(value)
        return value

    def _of_all_ranks(self, chips: list[int]) -> list[int]:
        every: list[list[int]] = [chips] * self.ranks.world_size
        if self.ranks.world_size > 1:
            dist.all_gather_object(every, chips)
        return sorted({*chain.from_iterable(every)})
