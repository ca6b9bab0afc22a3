"""Fine-tuning on Ray Train: every worker trains on its part of every batch.

All randomness is drawn chip by chip from (seed, epoch, chip), the learning rate follows from the
step, and weights, optimiser and moving average are in the checkpoints: a run that was
killed and started again ends with the weights of one that was not, to the bit (on CPUs, and with
chips that workers read themselves; see `streams`).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from ray.data import Dataset

from noise2map_core.chips.store import LABEL_ARRAYS
from noise2map_core.distributed.fitting.fit import (
    Log,
    Score,
    TrainLink,
    fit,
    load_state,
)
from noise2map_core.distributed.fitting.loaders import ChipLoader, ShardedLoader
from noise2map_core.distributed.fitting.streams import ChipStream, StreamLoader, stream_chips
from noise2map_core.distributed.fitting.worker import TrainWorker
from noise2map_core.evaluation.batches import ChipBatch, ChipReader
from noise2map_core.evaluation.counting import SplitPixels
from noise2map_core.geo.grid import Tile
from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.steps import Ranks, StepOutcome
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.settings.learning import SelectionConfig
from noise2map_core.settings.network import Task
from noise2map_core.training.finetuning import TrainedWeights, TrainingJob
from noise2map_core.training.validation import (
    TaskValidation,
    cross_entropy_of,
    cross_entropy_sums,
    validate,
    validation_of,
)

SCORE = Score("val_score", highest=True)
"""Validation F1, in which a task counts 0 whose model is no better than chance: with one class
everywhere F1 may well be the highest."""
CROSS_ENTROPY = Score("val_cross_entropy", highest=False)
"""Weighted cross-entropy on the validation part, the sum over the tasks with their weights."""
SCORES = {"f1": SCORE, "cross_entropy": CROSS_ENTROPY, "last": Score("epoch", highest=True)}
"""By what chooses the epoch."""


def train_model(job: TrainingJob, log: Log | None = None) -> TrainedWeights:
    """Train to the end, from the last checkpoint in `job.state` if there is one.

    `log` is handed the points of curves meanwhile; see `fit`. Needs a connection to a cluster.
    Raises Noise2MapError if training diverges.
    """
    score = SCORES[job.selection.by]
    result = fit(_train_worker, job, job.training, job.state, score, log, _streams(job))
    if result.return_value:
        raise Noise2MapError(
            f"training diverged: {result.return_value}. Lower training.learning_rate, check the "
            "chips for absurd values, and use another output."
        )
    return _chosen(result, job.training.epochs, job.selection)


def _streams(job: TrainingJob) -> dict[str, Dataset]:
    """The chips of every task, where Ray Data is to read them."""
    if job.training.loader == "sharded":
        return {}
    store, streams = job.open_store(), dict[str, Dataset]()
    for name in job.tasks:
        columns = ("image", "valid", LABEL_ARRAYS[name])
        chips = job.chosen[name].train
        streams[name] = stream_chips(store, columns, chips, job.seed, job.resources)
    return streams


def _chosen(result: Any, epochs: int, selection: SelectionConfig) -> TrainedWeights:
    """The last epoch, unless another is chosen. By F1 one is if validation says with more than one
    standard error that it was better.

    The last has the lowest learning rate and the longest average; an easy validation part cannot
    tell epochs apart, and its highest score is then chance. A run that was stopped before has no
    such epoch: the best is taken.
    """
    last = load_state(result.checkpoint)
    checkpoint, metrics = result.checkpoint, last["history"][-1]
    if (found := _better(result.best_checkpoints, metrics, epochs, selection)) is not None:
        checkpoint, metrics = found
    return TrainedWeights(
        weights=load_state(checkpoint)["average"],
        epoch=int(metrics["epoch"]),
        tasks={name: TaskValidation(**task) for name, task in metrics["tasks"].items()},
        val_f1=float(metrics["val_f1"]),
        history=last["history"],
    )


def _better(
    kept: list[Any], last: dict[str, Any], epochs: int, selection: SelectionConfig
) -> Any | None:
    """Checkpoint and metrics of the epoch that is taken in place of the last; None: none is."""
    if selection.by == "last":
        return None
    if selection.by == "cross_entropy":
        best = min(kept, key=lambda one: float(one[1][CROSS_ENTROPY.name]))
        return best if best[1][CROSS_ENTROPY.name] < last[CROSS_ENTROPY.name] else None
    best = max(kept, key=lambda one: score_of(one[1]))
    return best if excels(best[1], last, epochs) else None


def train_in_process(job: TrainingJob, link: TrainLink) -> str | None:
    """Train in this very process, which `link` ties to whoever keeps its states.

    Returns where and how, if training diverged.
    """
    return _Worker(job, link).run()


def excels(best: dict[str, Any], last: dict[str, Any], epochs: int) -> bool:
    """True if the best epoch's entry is to be taken, not the last's, in a run of `epochs`."""
    margin = best["val_error"] if last["epoch"] == epochs else 0.0
    return bool(score_of(last) < score_of(best) - margin)


def score_of(entry: dict[str, Any]) -> float:
    """What an epoch is chosen by; its F1, if its state is of a version that had no other."""
    # A state in the middle of an epoch has nothing but its score.
    return float(entry[SCORE.name] if SCORE.name in entry else entry["val_f1"])


def _train_worker(config: dict[str, Any]) -> str | None:
    """What each worker runs. Returns where and how, if training diverged."""
    job = config["job"]
    return _Worker(job, TrainLink(job.state)).run(config["board"])


class _Worker(TrainWorker):
    """One rank: its learner, its part of the chips."""

    def __init__(self, job: TrainingJob, link: TrainLink) -> None:
        super().__init__(job.training, job.state, link)
        self.job, self.score = job, SCORES[job.selection.by]
        model = new_model(job.spec, job.seed, link.device(), job.backbone)
        self.learner = Learner(
            model, job.training, job.tasks, job.class_weights, job.seed, wrap=link.wrap
        )
        self.data = {name: _TaskData(job, name, link, self.ranks) for name in job.tasks}
        self.num_steps = max(data.loader.num_steps for data in self.data.values())

    def begin_epoch(self, epoch: int) -> None:
        for data in self.data.values():
            data.loader.begin_epoch(epoch)

    def load(self, step: int) -> dict[Task, ChipBatch]:
        """A task with fewer chips starts again while the longest goes on."""
        read = {name: data.loader.read(step) for name, data in self.data.items()}
        if self.learner.model.device.type == "cpu":
            return read
        return {name: batch.pinned() for name, batch in read.items()}

    def learn(self, batch: dict[Task, ChipBatch], epoch: int, step: int) -> StepOutcome:
        prepared = {name: self._prepare(name, one) for name, one in batch.items()}
        return self.learner.step(prepared, epoch, step, self.num_steps, self.ranks)

    def chips_in(self, batch: dict[Task, ChipBatch]) -> list[int]:
        return [number for one in batch.values() for number in one.chip.tolist()]

    def named(self, chips: list[int]) -> str:
        store = self.job.open_store()
        rows, cols = (store.read(name)[chips].tolist() for name in ("tile_row", "tile_col"))
        tiles = [str(Tile(*place)) for place in sorted(set(zip(rows, cols, strict=True)))]
        numbers = ", ".join(map(str, chips))
        return f"chips {numbers} (of tiles {', '.join(tiles)}) of {self.job.chips}"

    def validate(self) -> dict[str, Any]:
        tasks = self._validate()
        return {
            "val_f1": sum(task.f1 for task in tasks.values()) / len(tasks),
            SCORE.name: sum(task.score for task in tasks.values()) / len(tasks),
            "val_error": math.hypot(*(task.error for task in tasks.values())) / len(tasks),
            "tasks": {name: asdict(task) for name, task in tasks.items()},
            **self._chosen_by(tasks),
        }

    def _chosen_by(self, tasks: Mapping[Task, TaskValidation]) -> dict[str, float]:
        """The figure that chooses, where validation's F1 does not."""
        each = {name: task.cross_entropy for name, task in tasks.items()}
        weights = {name: task.weight for name, task in self.job.tasks.items()}
        if None in each.values():
            return {}
        return {
            CROSS_ENTROPY.name: sum(weights[name] * float(one or 0) for name, one in each.items())
        }

    def _prepare(self, task: Task, batch: ChipBatch) -> TrainingBatch:
        model, device = self.learner.model, self.learner.model.device
        image, valid = batch.inputs(task, device)
        label = torch.from_numpy(batch.labels_of(task))
        light, alteration = (of(task, device) for of in (batch.light_of, batch.alteration_of))
        return TrainingBatch(
            image=model.normalise(image, valid, task, light),
            label=label.to(device, non_blocking=True).long(),
            valid=valid.all(dim=1),
            draws_of=batch.draws_of(task),
            alteration=model.alteration_of(alteration, len(image), task, light),
        )

    def _validate(self) -> dict[Task, TaskValidation]:
        """Scores of the moving average on the validation part, at inference's timesteps."""
        found = {}
        for name, data in self.data.items():
            counts = validate(self.learner.averaged, data.validation)
            total = self.ranks.sum_over(torch.from_numpy(counts).to(self.learner.model.device))
            judged = validation_of(total.cpu().numpy(), self.job.spec.tasks[name])
            found[name] = replace(judged, cross_entropy=self._cross_entropy(name, data.validation))
        return found

    def _cross_entropy(self, task: Task, pixels: SplitPixels) -> float | None:
        selection = self.job.selection
        if selection.by != "cross_entropy":
            return None
        inference = self.job.spec.tasks[task].inference_timesteps
        steps = inference if selection.timestep is None else (selection.timestep,)
        weights, model = self.job.class_weights[task], self.learner.averaged
        sums = cross_entropy_sums(model, pixels, steps, weights)
        return cross_entropy_of(self.ranks.sum_over(sums.to(model.device)).cpu())


class _TaskData:
    """The chips of one task: those to learn from, and this rank's part of those to judge by."""

    def __init__(self, job: TrainingJob, task: Task, link: TrainLink, ranks: Ranks) -> None:
        store, training = job.open_store(), job.training
        chosen = job.chosen[task]
        if training.loader == "ray_data":
            size = training.batch
            stream = ChipStream(link.stream(task), size, job.seed, ranks)
            self.loader: ChipLoader = StreamLoader(stream, store, task, len(chosen.train), size)
        else:
            reader = ChipReader(store, (task,))
            self.loader = ShardedLoader(reader, chosen, training, job.seed, ranks)
        pixels = SplitPixels.of(store, "val", task, training.batch)
        self.validation = pixels.part(ranks.rank, ranks.world_size)
