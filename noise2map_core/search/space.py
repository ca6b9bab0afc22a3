"""Spaces of settings to search: which settings of finetune-maps vary, and between what.

A point of a space is a value for each of its parameters: the label of a choice, or a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from noise2map_core.diffusion.timesteps import spread_timesteps
from noise2map_core.models.presets import network_of
from noise2map_core.models.start import require_start
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.learning import TaskTrainingConfig
from noise2map_core.settings.numbers import FiniteFloat, PositiveFloat, PositiveInt
from noise2map_core.settings.reading import Settings, build_config, read_settings
from noise2map_core.workflows.configs import SUFFIXES, shipped_spaces
from noise2map_core.workflows.finetune_maps import TrialSettings

Point = dict[str, Any]
"""Value of each parameter that applies, by name; of choices the label."""

SHARE, COUNT = "timestep_share", "timestep_count"
"""Parameters of a task that are no settings: they become its inference timesteps."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Parameter(_Section):
    """What one setting may be: one of `choices`, or a number in a range."""

    choices: dict[str, Any] | None = Field(default=None, min_length=1)
    """Values by label; a list stands for values that are their own labels. The value of a section
    holds settings of it, such as {kind: sigmoid}."""

    uniform: tuple[FiniteFloat, FiniteFloat] | None = None
    """Lowest and highest value."""

    log_uniform: tuple[PositiveFloat, PositiveFloat] | None = None
    """Lowest and highest value; orders of magnitude count alike."""

    integers: tuple[int, int] | None = None
    """Lowest and highest whole number."""

    when: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Labels of parameters above, with which this one applies; empty: always."""

    @field_validator("choices", mode="before")
    @classmethod
    def _labelled(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return {str(label): value for label, value in given.items()}
        if not isinstance(given, list):
            return given
        if any(isinstance(value, dict | list) for value in given):
            raise ValueError("a list holds plain values; give others a label (label: value)")
        return {str(value): value for value in given}

    @field_validator("when", mode="before")
    @classmethod
    def _as_texts(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            name: [str(one) for one in (labels if isinstance(labels, list) else [labels])]
            for name, labels in given.items()
        }

    @model_validator(mode="after")
    def _one_kind(self) -> Parameter:
        given = [one for one in (self.choices, self.limits) if one is not None]
        ranges = [one for one in (self.uniform, self.log_uniform, self.integers) if one is not None]
        if len(given) != 1 or len(ranges) > 1:
            raise ValueError("give one of choices, uniform, log_uniform and integers")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise ValueError(f"the range {list(self.limits)} does not rise")
        return self

    @property
    def limits(self) -> tuple[float, float] | None:
        """Lowest and highest number; None: choices."""
        return self.uniform or self.log_uniform or self.integers

    @property
    def examples(self) -> list[Any]:
        """All labels, or both ends of the range."""
        return list(self.choices) if self.choices is not None else list(self.limits or ())

    def applies(self, point: Point) -> bool:
        """True if what is chosen already asks for it."""
        return all(point.get(name) in labels for name, labels in self.when.items())

    def suggest(self, trial: Any, name: str) -> Any:
        """A value as a trial of Optuna suggests it."""
        if self.choices is not None:
            return trial.suggest_categorical(name, list(self.choices))
        if self.integers is not None:
            return trial.suggest_int(name, *self.integers)
        low, high = self.limits or (0.0, 1.0)
        return trial.suggest_float(name, low, high, log=self.log_uniform is not None)

    def setting(self, value: Any) -> Any:
        """What a label stands for; a number stands for itself."""
        return value if self.choices is None else self.choices[value]


class SearchSpace(_Section):
    """What a sweep tries."""

    sampler: Literal["tpe", "grid"] = "tpe"
    """tpe: Optuna's tree-structured Parzen estimator learns from the trials before; grid: every
    combination, once."""

    trials: PositiveInt | None = None
    """Trials. None: 20, of a grid all."""

    epochs: PositiveInt = 40
    """Full budget of a trial."""

    prune: bool = True
    """Stop trials that fall behind (ASHA, Li et al. 2020): at a ninth and at a third of the
    epochs two of three end."""

    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]
    """What varies, by the setting's path in finetune-maps (`change.diffusion.schedule`), applied in
    this order. Two are no settings: TASK.timestep_share, the timestep at inference as a part of
    T − 1, and TASK.timestep_count, so many inference timesteps, spread evenly over those at which
    the dates can be told apart."""

    @model_validator(mode="after")
    def _consistent(self) -> SearchSpace:
        above: dict[str, Parameter] = {}
        for name, parameter in self.parameters.items():
            for other, labels in parameter.when.items():
                known = above[other].choices if other in above else None
                wrong = [one for one in labels if known is None or one not in known]
                if wrong:
                    raise ValueError(f"{name}.when: {other} is no choice above with {wrong[0]!r}")
            if self.sampler == "grid" and parameter.choices is None:
                raise ValueError(f"{name}: a grid needs choices, not a range")
            above[name] = parameter
        return self

    def grid(self) -> list[Point]:
        """Every combination that differs, in order."""
        points: list[Point] = [{}]
        for name, parameter in self.parameters.items():
            points = [
                {**point, name: label} if label is not None else point
                for point in points
                for label in (parameter.choices or () if parameter.applies(point) else (None,))
            ]
        return points

    @property
    def num_trials(self) -> int:
        """Trials of a whole sweep."""
        most = len(self.grid()) if self.sampler == "grid" else self.trials or 20
        return min(most, self.trials or most)

    def settings(self, base: TrialSettings, point: Point) -> TrialSettings:
        """The settings of a trial. Raises ConfigError naming what finetune-maps does not take."""
        overrides: Settings = {}
        for name, value in point.items():
            if not _is_virtual(name):
                _put(overrides, name.split("."), self.parameters[name].setting(value))
        settings = build_config(TrialSettings, base.model_dump(mode="json"), overrides)
        for name, value in point.items():
            if _is_virtual(name):
                settings = _with_timesteps(settings, name, self.parameters[name].setting(value))
        return settings

    def suggest(self, trial: Any) -> None:
        """Ask a trial of Optuna for each parameter that applies, one after the other."""
        point: Point = {}
        for name, parameter in self.parameters.items():
            if parameter.applies(point):
                point[name] = parameter.suggest(trial, name)

    def examples(self) -> Iterator[tuple[str, Point]]:
        """Of each parameter its name and points with each label or end of its range."""
        for name, parameter in self.parameters.items():
            wanted = self._asked_for(name)
            for value in parameter.examples:
                yield name, self._point({**wanted, name: value})

    def _asked_for(self, name: str) -> Point:
        """What must be chosen above for a parameter to apply."""
        wanted: Point = {}
        for other, labels in self.parameters[name].when.items():
            wanted |= {**self._asked_for(other), other: labels[0]}
        return wanted

    def _point(self, wanted: Point) -> Point:
        point: Point = {}
        for name, parameter in self.parameters.items():
            if parameter.applies(point):
                point[name] = wanted.get(name, parameter.examples[0])
        return point


def read_space(space: str) -> SearchSpace:
    """A space by the path of its YAML file, or by the name of one that ships.

    Raises ConfigError naming the file and the key.
    """
    path = Path(space)
    if path.suffix not in SUFFIXES:
        known = shipped_spaces()
        if space not in known:
            raise ConfigError(
                f"no space {space!r}; known: {', '.join(known)}, or the path of a YAML file."
            )
        path = known[space]
    settings = read_settings(path)
    try:
        return build_config(SearchSpace, settings, {})
    except ConfigError as error:
        raise ConfigError(f"space {path}: {error}") from None


def require_valid(space: SearchSpace, base: TrialSettings, name: str) -> None:
    """Raise ConfigError unless finetune-maps takes what each parameter may be."""
    for parameter, point in space.examples():
        task = parameter.partition(".")[0]
        if task in ("change", "segment") and task not in base.task:
            raise ConfigError(
                f"space {name}: {parameter} is of a task that is not learnt. Add {task} to "
                "finetune.task, or leave the parameter out."
            )
        try:
            space.settings(base, point)
        except ConfigError as error:
            shown = space.parameters[parameter].setting(point[parameter])
            raise ConfigError(f"space {name}: {parameter} = {shown}: {error}") from None


def require_starts(space: SearchSpace, base: TrialSettings, chip_px: int) -> None:
    """Raise CheckpointError or ConfigError unless every network of a trial can start from the
    weights of its backbone."""
    tried = [space.settings(base, point).model for _, point in space.examples()]
    for model in dict.fromkeys(tried):
        if model.backbone is not None:
            told = model.tell_timestep
            network = network_of(model.preset, chip_px, tell_timestep=told)
            require_start(network, model.backbone)


def _is_virtual(name: str) -> bool:
    task, _, rest = name.partition(".")
    return task in ("change", "segment") and rest in (SHARE, COUNT)


def _put(settings: Settings, path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        under = settings.get(name)
        settings[name] = dict(under) if isinstance(under, dict) else {}
        settings = settings[name]
    settings[path[-1]] = value


def _with_timesteps(settings: TrialSettings, name: str, value: Any) -> TrialSettings:
    """Inference timesteps for a share of T − 1, or for a number of timesteps."""
    task_name, _, kind = name.partition(".")
    task: TaskTrainingConfig = getattr(settings, task_name)
    if kind == SHARE:
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigError("a part of T − 1 is a number from 0 to 1.")
        timesteps: tuple[int, ...] = (round(value * (task.diffusion.schedule.num_timesteps - 1)),)
    else:
        if not isinstance(value, int) or value < 1:
            raise ConfigError("a number of timesteps is a whole number from 1.")
        try:
            timesteps = spread_timesteps(task.diffusion, value)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}.") from error
    diffusion = task.diffusion.model_copy(update={"inference_timesteps": timesteps})
    changed = task.model_copy(update={"diffusion": diffusion})
    return settings.model_copy(update={task_name: changed})
