"""A sweep: trials of a search space, what each came to, and which of them count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import yaml

from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.learning.skill import warning
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.documents import parse_json, read_text
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from noise2map_core.runtime.storage import absolute
from noise2map_core.search.space import Point, SearchSpace, read_space, require_valid
from noise2map_core.settings.places import anywhere, placed
from noise2map_core.training.finetuning import TrainingJob, plan_job
from noise2map_core.training.run import learnt_settings
from noise2map_core.workflows.finetune_maps import TrialSettings
from noise2map_core.workflows.search_schedules import SearchSchedulesConfig

SWEEP_FILE = "sweep.json"
WINNER_FILE = "winner.yaml"
TRIALS_FOLDER = "trials"
"""Where Ray Tune keeps states, by trial."""
MIN_TRIALS = 4
"""Fewer full trials say nothing about the importance of parameters."""
REDUCTION = 3
"""Of so many trials at a rung ASHA lets one go on."""

Status = Literal["full", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One trial that ended."""

    number: int
    """From 1, in the order in which they were begun."""
    status: Status
    """full: trained to the end of the budget."""
    point: Point
    """Its place in the space."""
    epochs: int
    """Epochs trained."""
    f1: float | None
    """Validation F1 as finetune-maps reports it; of a pruned trial the best so far; None: none was
    reached."""
    f1_error: float | None
    """Standard error of the last validation."""
    train_s: float
    """Seconds of its steps."""
    ms_per_chip: float | None = None
    """Milliseconds that one chip takes at inference, measured alone; of full trials."""
    reason: str = ""
    """Why it failed."""
    doubts: str = ""
    """Why its model is no better than chance; empty: it is better."""

    @property
    def rank(self) -> tuple[bool, float]:
        """What trials are compared by: F1, below all others what is no better than chance."""
        return not self.doubts, self.f1 or 0.0


@dataclass(frozen=True)
class Sweep:
    """The folder of a sweep: `sweep.json` says what it is of, and in the end what came out."""

    folder: Path
    name: str
    """Of the space."""
    space: SearchSpace
    base: TrialSettings
    """What all trials share."""
    chips: str
    """Chip store, absolute."""
    seed: int
    digest: str
    """Of all that the trials depend on."""

    @classmethod
    def of(cls, config: SearchSchedulesConfig, store: ChipStore) -> Sweep:
        """What a config searches: trials depend on the space, on what they share and on every byte
        of the chips.

        Raises ConfigError for a space that cannot be read, or that finetune-maps does not take.
        """
        own = {"trials": config.trials, "epochs": config.epochs}
        given = {name: value for name, value in own.items() if value is not None}
        space = read_space(config.space).model_copy(update=given)
        require_valid(space, config.finetune, config.space)
        parts = {
            "space": space.model_dump(mode="json"), "base": learnt_settings(config.finetune),
            "seed": config.seed, "chips": store.objects,
        }  # fmt: skip
        name, chips = Path(config.space).stem, str(absolute(config.chips))
        base, digest = config.finetune, digest_of(parts)
        return cls(config.output, name, space, base, chips, config.seed, digest)

    @property
    def file(self) -> Path:
        """Its note."""
        return self.folder / SWEEP_FILE

    @property
    def trials_folder(self) -> Path:
        """Of what a sweep goes on from, and of the lease on that."""
        return self.folder / TRIALS_FOLDER

    @property
    def winner_file(self) -> Path:
        """The winner's settings, for finetune-maps."""
        return self.folder / WINNER_FILE

    @property
    def rung_epochs(self) -> int:
        """Epochs between validations, and to the first rung."""
        return max(1, self.space.epochs // REDUCTION**2)

    def settings(self, point: Point) -> TrialSettings:
        """A trial's settings: budget and validations are the sweep's, so that all compare."""
        settings = self.space.settings(self.base, point)
        own = {
            "epochs": self.space.epochs, "checkpoint_epochs": self.rung_epochs,
            "patience": None, "checkpoint_steps": None, "num_workers": 1, "min_workers": None,
            "loader": "sharded",
        }  # fmt: skip
        return settings.model_copy(update={"training": settings.training.model_copy(update=own)})

    def job(self, point: Point) -> TrainingJob:
        """What a trial trains. Raises ConfigError or ChipStoreError where settings do not fit."""
        unused = self.folder / "unused"  # Ray Tune keeps a trial's states
        return plan_job(self.settings(point), open_store(self.chips), unused, self.seed)

    def earlier(self) -> list[Trial] | None:
        """The trials, if the sweep was finished before; None: it was not, or never begun.

        Raises OutputMismatchError if the folder holds another sweep.
        """
        if not self.file.exists():
            return None
        note = _read_note(self.folder)
        if note["digest"] != self.digest:
            raise OutputMismatchError(
                f"{self.folder} holds a sweep of space {note['name']} with other settings, chips "
                "or trials; nothing was touched. Set another output, or remove that directory."
            )
        return [Trial(**trial) for trial in note["trials"]] if note["finished"] else None

    def save(self, trials: Sequence[Trial] = (), *, finished: bool) -> None:
        """Write the note."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = {
            "digest": self.digest, "name": self.name, "chips": self.chips, "seed": self.seed,
            "space": self.space.model_dump(mode="json"), "base": self.base.model_dump(mode="json"),
            "finished": finished, "trials": [asdict(trial) for trial in trials],
        }  # fmt: skip
        write_atomically(self.file, json.dumps(note, indent=2) + "\n")


def open_sweep(folder: Path) -> tuple[Sweep, list[Trial]]:
    """A finished sweep. Raises ConfigError if there is none."""
    if not (folder / SWEEP_FILE).exists():
        raise ConfigError(f"{folder} holds no sweep: give the output of search-schedules.")
    note = _read_note(folder)
    if not note["finished"]:
        raise ConfigError(
            f"the sweep in {folder} is not finished: run the search-schedules command again."
        )
    sweep = Sweep(
        folder, note["name"], SearchSpace(**note["space"]),
        TrialSettings.model_validate(note["base"], by_alias=True, by_name=True),
        note["chips"], note["seed"], note["digest"],
    )  # fmt: skip
    return sweep, [Trial(**trial) for trial in note["trials"]]


def _read_note(folder: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = parse_json(read_text(folder / SWEEP_FILE))
        missing = {"digest", "name", "chips", "seed", "space", "base", "finished", "trials"} - {
            *note
        }
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{folder / SWEEP_FILE} cannot be read: {error}. Set another output."
        ) from None
    return note


def require_optuna() -> None:
    """Raise ConfigError where the extra is not installed; keep Optuna from talking otherwise."""
    if find_spec("optuna") is None:
        raise ConfigError("the search needs Optuna: pip install 'noise2map[tune]'.")
    # An extra, for searches alone.
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def full_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Those that had the whole budget: only they can be compared."""
    return [trial for trial in trials if trial.status == "full" and trial.f1 is not None]


def winner_of(trials: Sequence[Trial]) -> Trial | None:
    """The full trial of the highest F1, of equal ones the first.

    One that is no better than chance wins over none that is, whatever its F1.
    """
    return max(full_trials(trials), key=lambda trial: trial.rank, default=None)


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """The full trials that none beats in F1 and time at once, fastest first.

    One beats another if it is no worse in both and better in one. What is no better than chance
    stands there only if all are.
    """
    timed = [trial for trial in full_trials(trials) if trial.ms_per_chip is not None]
    timed = [trial for trial in timed if not trial.doubts] or timed
    ordered = sorted(timed, key=lambda trial: (trial.ms_per_chip, -(trial.f1 or 0.0)))
    front: list[Trial] = []
    for trial in ordered:
        best = front[-1] if front else None
        same = best is not None and (best.f1, best.ms_per_chip) == (trial.f1, trial.ms_per_chip)
        if best is None or same or (trial.f1 or 0.0) > (best.f1 or 0.0):
            front.append(trial)
    return front


def settings_of(sweep: Sweep, trial: Trial) -> TrialSettings:
    """What finetune-maps has to be told to do as a trial did."""
    settings = sweep.space.settings(sweep.base, trial.point)
    training = settings.training.model_copy(update={"epochs": sweep.space.epochs})
    return settings.model_copy(update={"training": training})


def write_winner(sweep: Sweep, trial: Trial) -> Path:
    """The settings of a trial as a config of finetune-maps, whole and atomically."""
    settings = settings_of(sweep, trial).model_dump(mode="json", exclude_none=True)
    unused = {"change", "segment"} - set(sweep.base.task)
    config = {
        "chips": sweep.chips,
        "output": "winner",  # beside this file
        "seed": sweep.seed,
        **{name: value for name, value in settings.items() if name not in unused},
    }
    head = (
        f"# Trial {trial.number} of {sweep.name}: validation F1 {trial.f1:.4f} after "
        f"{trial.epochs} epochs.\n"
    )
    if trial.doubts:
        head += f"# {warning('its model', ' '.join(trial.doubts.split()))}\n"
    config |= placed(TrialSettings, config, anywhere)
    write_atomically(sweep.winner_file, head + yaml.safe_dump(config, sort_keys=False))
    return sweep.winner_file


def importance_of(space: SearchSpace, trials: list[Trial]) -> dict[str, float]:
    """Part of each parameter in the variance of F1 over full trials, as Optuna has it."""
    # An extra, for searches alone.
    import optuna

    full = full_trials(trials)
    if len(full) < MIN_TRIALS or len({trial.f1 for trial in full}) == 1:
        return {}
    study = optuna.create_study(direction="maximize")
    for trial in full:
        fixed = optuna.trial.FixedTrial(trial.point)
        for name in trial.point:
            space.parameters[name].suggest(fixed, name)
        study.add_trial(
            optuna.trial.create_trial(
                params=fixed.params, distributions=fixed.distributions, value=trial.f1
            )
        )
    return dict(optuna.importance.get_param_importances(study))
