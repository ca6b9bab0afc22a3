"""Learn change without labels: from what a detector is sure of, kept where that beats the detector.

Two students learn from the black and from the white blocks of a chessboard, and each maps the
other's. Their map and the teacher's are scored against the store's labels; without labels, against
later pairs of the same places. Where the students are better, one more learns from all blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noise2map_core.chips.order import Int64
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.distributed.cluster.gpus import trained_on_gpus
from noise2map_core.distributed.cluster.needs import require_feasible, training_needs
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.evaluation.card_scores import add_to_card
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.runtime.storage import read_bytes
from noise2map_core.settings.diffusion import DiffusionConfig, FixedTimestep, NoCorruption
from noise2map_core.settings.inference import CardConfig
from noise2map_core.settings.learning import TaskTrainingConfig
from noise2map_core.training.cross_fitting import (
    TEACHER,
    Mapper,
    MapQuality,
    cross_mapper,
    score_maps,
)
from noise2map_core.training.run import learnt_settings
from noise2map_core.training.teaching import Lesson, School, fit_teacher
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.tools.bootstrap import BootstrapConfig

NOTE = "bootstrap.json"
FORMAT_VERSION = 1
COLOURS = {"black": 0, "white": 1}
STUDENT = "student"
LIMITS = (
    "Its labels are what a detector of change was sure of, and nobody looked at them: whatever is "
    "statistically unlike the rest, seasons included, is change to it."
)
NOISES: dict[str, DiffusionConfig] = {
    "paper": DiffusionConfig(),
    "none": DiffusionConfig(corruption=NoCorruption(), training_timesteps=FixedTimestep()),
}
"""With the paper's, the pair is mixed with its swap."""


@dataclass(frozen=True)
class BootstrapResult:
    """What came of it."""

    output: Path
    note: dict[str, Any]
    """The content of bootstrap.json."""

    def summary(self) -> list[str]:
        """Lines for people."""
        checkpoint = self.note["checkpoint"]
        return [
            *self._table(),
            self.verdict,
            *([f"checkpoint  {self.output / checkpoint}"] if checkpoint else []),
            f"results     {self.output / NOTE}",
        ]

    @property
    def verdict(self) -> str:
        """Whether a student was kept, and why."""
        note = self.note
        if note["judged_by"] is None:
            return (
                "NOT KEPT: nothing tells whether a student is better than its teacher: the store "
                "has neither labels of both kinds nor later pairs of the same places"
            )
        teacher = f"its teacher, the detector {note['teacher']}"
        if note["kept"] is None:
            return f"NOT KEPT: no student is better than {teacher}: map with that"
        return f"kept: the student with noise {note['kept']} is better than {teacher}"

    def _table(self) -> Iterator[str]:
        if not self.note["scores"]:
            return
        against, pixels = self.note["judged_by"], self.note["scores"][TEACHER]["num_pixels"]
        yield f"against {against}, {pixels:,} pixels, each by who did not learn there:"
        yield f"{'':14} {'F1':>6} {'best F1':>8} {'ROC AUC':>8} {'prec.':>6} {'recall':>6}"
        for name, one in self.note["scores"].items():
            yield (
                f"{name if name == TEACHER else f'noise {name}':14} {one['f1']:6.3f} "
                f"{one['best_f1']:8.3f} {one['roc_auc']:8.3f} {one['precision']:6.3f} "
                f"{one['recall']:6.3f}"
            )


def run(config: BootstrapConfig) -> BootstrapResult:
    """Teach, map crosswise, score, and keep what is better. A run that was killed goes on."""
    store = open_store(config.chips)
    key = digest_of([learnt_settings(config, {"chips", "output", "resources"}), store.objects])
    if (note := _earlier(config.output, key)) is None:
        require_feasible(config.training, config.resources)
        found = _bootstrapped(trained_on_gpus(config), store, key)
        note = {"format_version": FORMAT_VERSION, "key": key, **found}
        write_atomically(config.output / NOTE, json.dumps(note, indent=2) + "\n")
    return BootstrapResult(config.output, note)


def _earlier(output: Path, key: str) -> dict[str, Any] | None:
    """What an earlier run found. Raises OutputMismatchError if it was another."""
    try:
        note: dict[str, Any] = json.loads(read_bytes(output / NOTE))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if note["key"] != key:
        raise OutputMismatchError(
            f"{output} holds a bootstrap with other settings, another teacher or other chips; "
            "nothing was touched. Set another --output, or remove that directory."
        )
    return note if "scores" in note else None


def _bootstrapped(config: BootstrapConfig, store: ChipStore, key: str) -> dict[str, Any]:
    school = _school(config, store)
    sure = school.sure_pixels()
    for colour in COLOURS.values():
        school.roles(sure, colour)  # what cannot be learnt is refused before anything is written
    config.output.mkdir(parents=True, exist_ok=True)
    write_atomically(config.output / NOTE, json.dumps({"key": key}) + "\n")
    for name, colour in COLOURS.items():
        school.write(sure, colour, config.output / f"{name}.zarr")
    with ray_session(config.resources, training_needs(config.training, config.resources)):
        scores = _scored(config, school)
        kept = better_than_teacher(scores)
        checkpoint = None if kept is None else _keep(config, school, sure, kept, scores)
    return {
        "teacher": school.teacher.kind,
        "judged_by": school.judged_by if scores else None,
        "scores": {name: asdict(one) for name, one in scores.items()},
        "kept": kept,
        "checkpoint": checkpoint,
    }


def _school(config: BootstrapConfig, store: ChipStore) -> School:
    block_px = config.block_px or 2 * int(store.attributes["chip_px"])
    lesson = Lesson(config.confidence, config.margin_px, block_px)
    return School.of(store, fit_teacher(store, config.teacher), lesson)


def _scored(config: BootstrapConfig, school: School) -> dict[str, MapQuality]:
    """Scores of teacher and students, by name; none if there is no truth."""
    students = dict[str, Mapper]()
    for noise in config.noise:
        each = [_train(config, noise, name, f"{noise}-{name}") for name in COLOURS]
        models = [load_checkpoint(path) for path in each]
        students[noise] = cross_mapper(models, school)
    return score_maps(school, config.detector.false_alarms, students)


def better_than_teacher(scores: Mapping[str, MapQuality]) -> str | None:
    """The best student by F1, if it is better than its teacher."""
    if not scores:
        return None
    best = max(scores, key=lambda name: (scores[name].f1, name == TEACHER))
    return None if best == TEACHER else best


def _train(config: BootstrapConfig, noise: str, chips: str, output: str) -> Path:
    """Fine-tune on a store of lessons, from where an earlier run ended; its checkpoint."""
    settings = FinetuneMapsConfig(
        chips=config.output / f"{chips}.zarr",
        output=config.output / output,
        model=config.model,
        normalisation=config.normalisation,
        change=TaskTrainingConfig(diffusion=NOISES[noise]),
        training=config.training,
        seed=config.seed,
        resources=config.resources,
        card=CardConfig(limits=LIMITS),
    )
    print(f"finetune-maps: {chips} blocks, noise {noise}", flush=True)
    result = finetune(settings)
    for line in result.summary():
        print(f"  {line}", flush=True)
    return result.checkpoint


def _keep(
    config: BootstrapConfig, school: School, sure: Int64, kept: str, scores: dict[str, MapQuality]
) -> str:
    """One more student, of all blocks; its checkpoint in the output. The card says the scores."""
    school.write(sure, None, config.output / "all.zarr")
    checkpoint = _train(config, kept, "all", STUDENT)
    methods = {kept: "two like this, mapping each other's blocks", TEACHER: school.teacher.kind}
    data = f"{config.chips.stem}, against {school.judged_by}"
    rows = [scores[name].row(data, method) for name, method in methods.items()]
    add_to_card(checkpoint, rows)
    return checkpoint.relative_to(config.output).as_posix()
