"""Change by comparing what a checkpoint sees at each date: a `CheckpointSpec`'s counterpart."""

from dataclasses import dataclass, field
from functools import cached_property

from noise2map_core.detectors.transitions import transitions_of
from noise2map_core.models.spec import CheckpointSpec, ClassSpec, Normalisation, TaskSpec
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.inference import Compare
from noise2map_core.settings.network import Task

ALGORITHM_VERSION = 1
"""Raised when the same probabilities give other maps."""
DECIDED_FROM = 0.5
"""Probability from which a pixel is changed: there are no labels to choose a better one by."""


@dataclass(frozen=True)
class ComparedTask:
    """Change between the maps of two dates."""

    of: TaskSpec
    """What makes the map of each date."""
    threshold: dict[str, float] = field(default_factory=dict)
    num_dates: int = 2
    decided_from: float = DECIDED_FROM

    @cached_property
    def classes(self) -> tuple[ClassSpec, ...]:
        """Unchanged, and every kind of change."""
        return transitions_of(self.of.classes)

    @property
    def sought(self) -> tuple[ClassSpec, ...]:
        """Every kind of change."""
        return self.classes[1:]

    @property
    def normalisation(self) -> Normalisation:
        """That of the single date, for each of both."""
        one = self.of.normalisation
        return Normalisation(of=one.of, mean=one.mean * 2, std=one.std * 2)


@dataclass(frozen=True)
class ComparedSpec:
    """A checkpoint that segments, asked for change."""

    network: CheckpointSpec

    @property
    def bands(self) -> tuple[str, ...]:
        """Those of the checkpoint."""
        return self.network.bands

    @property
    def chip_px(self) -> int:
        """That of the checkpoint."""
        return self.network.chip_px

    @property
    def value_range(self) -> tuple[float, float]:
        """Raw numbers that the checkpoint expects."""
        return self.network.value_range

    @property
    def preset(self) -> str:
        """That of the checkpoint."""
        return self.network.preset

    @property
    def digest(self) -> str:
        """That of the checkpoint; keys say besides that its maps are compared."""
        return self.network.digest

    @cached_property
    def tasks(self) -> dict[Task, ComparedTask]:
        """The one that it does here."""
        return {"change": ComparedTask(self.network.tasks["segment"])}

    def task(self, name: Task | None = None) -> ComparedTask:
        """Change."""
        return self.tasks[self.task_name(name)]

    def task_name(self, name: Task | None = None) -> Task:
        """Change. Raises CheckpointError for another task."""
        if name not in (None, "change"):
            raise CheckpointError(f"maps are compared for change, not for task {name!r}.")
        return "change"


def comparing(
    spec: CheckpointSpec, task: Task | None, compare: Compare
) -> CheckpointSpec | ComparedSpec:
    """The checkpoint as `inference.compare` asks for: as it is, or its maps of two dates compared.

    Raises ConfigError where it does not segment, or where one date is to be mapped.
    """
    if compare == "auto":
        own = task != "change" or "change" in spec.tasks or "segment" not in spec.tasks
        return spec if own else ComparedSpec(spec)
    if compare == "images":
        return spec
    if task == "segment":
        raise ConfigError(
            "inference.compare maps is for change between two dates. Leave it out, or set task "
            "change."
        )
    if "segment" not in spec.tasks:
        raise ConfigError(
            "inference.compare maps needs a checkpoint that segments; this one does: "
            f"{', '.join(spec.tasks)}. Leave it out, or name another checkpoint."
        )
    return ComparedSpec(spec)
