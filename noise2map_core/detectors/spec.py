"""What a map by a detector is made by: a `CheckpointSpec`'s counterpart without a network."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noise2map_core.detectors.compared import ComparedSpec, ComparedTask
from noise2map_core.detectors.detector import Detector, default_kind
from noise2map_core.detectors.null import NullModel, Posterior
from noise2map_core.detectors.parts import Part
from noise2map_core.models.spec import CheckpointSpec, ClassSpec, TaskSpec
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.detector import Kind
from noise2map_core.settings.network import Task

KINDS: tuple[Kind, ...] = ("mad", "irmad", "cva")
CLASSES = (
    ClassSpec(value=0, name="unchanged", color="#d9d9d9"),
    ClassSpec(value=1, name="changed", color="#e31a1c"),
)
CHIP_PX, STRIDE_PX = 16, 8
"""Chips are what the halo of a tile is reckoned in: a stride, which is more than detectors look."""
ANY_NUMBER = (-1e12, 1e12)
FORMAT_VERSION = 1
ALGORITHM_VERSION = 1
"""Raised when the same samples give other numbers."""


@dataclass(frozen=True)
class DetectorTask:
    """Change, decided at a probability."""

    threshold: dict[str, float]
    """Class name to the probability from which a pixel gets it."""
    classes: tuple[ClassSpec, ...] = CLASSES
    num_dates: int = 2

    @property
    def sought(self) -> tuple[ClassSpec, ...]:
        """Of two classes the second."""
        return self.classes[1:]

    @property
    def decided_from(self) -> float:
        """Probability from which a pixel is changed."""
        return self.threshold["changed"]


@dataclass(frozen=True)
class DetectorSpec:
    """A detector that is asked for, and what it was fitted to."""

    kind: Kind
    bands: tuple[str, ...]
    false_alarms: float
    fitted: Detector | None = None
    """None: not yet."""
    key: str = ""
    """Digest of all that it was fitted to."""

    chip_px = CHIP_PX
    stride_px = STRIDE_PX
    value_range = ANY_NUMBER

    @property
    def preset(self) -> str:
        """What it is called."""
        return f"detector {self.kind}"

    @property
    def tasks(self) -> dict[Task, DetectorTask]:
        """The one that it does."""
        threshold = self.fitted.threshold(self.false_alarms) if self.fitted else 0.5
        return {"change": DetectorTask({"changed": threshold})}

    @property
    def digest(self) -> str:
        """SHA-256 of all that its maps depend on."""
        return digest_of({"detector": self.kind, "alarms": self.false_alarms, "fitted": self.key})

    def task(self, name: Task | None = None) -> DetectorTask:
        """Change. Raises CheckpointError for another task."""
        return self.tasks[self.task_name(name)]

    def task_name(self, name: Task | None = None) -> Task:
        """Change. Raises CheckpointError for another task."""
        if name not in (None, "change"):
            raise CheckpointError(
                f"the detector {self.kind} finds change between two dates, and cannot {name}. Name "
                "a checkpoint that does."
            )
        return "change"

    def facts(self) -> dict[str, str]:
        """What report and item say of it."""
        assert self.fitted is not None
        parts = len(self.fitted.parts) - 1
        apart = f"; {parts} pairs of overpasses apart" if parts > 0 else ""
        return {
            "detector": self.kind,
            "digest": self.digest,
            "bands": ", ".join(self.bands),
            "fitted to": f"{self.fitted.pixels:,} pixels of these scenes, without labels{apart}",
            "false alarms asked for": f"{self.false_alarms:.2%} of unchanged pixels",
        }


MapSpec = CheckpointSpec | ComparedSpec | DetectorSpec
"""What a region's map is made by."""
MapTask = TaskSpec | ComparedTask | DetectorTask


def network_of(spec: MapSpec) -> CheckpointSpec | None:
    """The checkpoint behind a map; None for a detector."""
    if isinstance(spec, ComparedSpec):
        return spec.network
    return spec if isinstance(spec, CheckpointSpec) else None


def is_cut(task: MapTask) -> bool:
    """True for a map whose classes follow from one probability and a threshold."""
    return len(task.classes) == 2 or isinstance(task, ComparedTask)


def detector_asked(checkpoint: Path | None, bands: tuple[str, ...], alarms: float) -> DetectorSpec:
    """The detector that is named in place of a checkpoint, or the one that suits the bands.

    Raises ConfigError if no bands are named: there is no checkpoint that would know them.
    """
    if not bands:
        raise ConfigError(
            "a detector needs to know the bands. Set search.bands, for example to blue green red "
            "nir: keys of the items' assets, or common names."
        )
    kind = default_kind(len(bands)) if checkpoint is None else KINDS[KINDS.index(str(checkpoint))]
    return DetectorSpec(kind, bands, alarms)


def is_detector(checkpoint: Path | None) -> bool:
    """True if no checkpoint is named, or a detector; a directory of that name goes before."""
    return checkpoint is None or (str(checkpoint) in KINDS and not checkpoint.is_dir())


def dump_detector(spec: DetectorSpec) -> str:
    """A fitted detector as JSON."""
    assert spec.fitted is not None
    return json.dumps({"format_version": FORMAT_VERSION, "key": spec.key, **asdict(spec.fitted)})


def load_detector(text: str, key: str) -> Detector | None:
    """The detector in JSON; None if it was not fitted to what `key` says, or is damaged."""
    try:
        found: dict[str, Any] = json.loads(text)
        if (found.pop("format_version"), found.pop("key")) != (FORMAT_VERSION, key):
            return None
        for name in ("matrix", "mean", "std"):
            found[name] = tuple(map(tuple, found[name]))
        curve = {name: tuple(values) for name, values in found.pop("posterior").items()}
        found |= {"offset": tuple(found["offset"]), "null": NullModel(**found["null"])}
        parts = tuple(map(_part, found.pop("parts", ())))
        return Detector(**found, posterior=Posterior(**curve), parts=parts)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _part(found: dict[str, Any]) -> Part:
    matrix, offset = tuple(map(tuple, found.pop("matrix"))), tuple(found.pop("offset"))
    null = NullModel(**found.pop("null"))
    return Part(matrix=matrix, offset=offset, null=null, **found)
