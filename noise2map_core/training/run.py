"""The note of a training run beside its results: which settings and data they belong to."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from noise2map_core.models.spec import RUN_FILE
from noise2map_core.models.start import start_digest
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.runtime.storage import location, read_bytes

REPORT_FILE = "report.html"
STATE_FOLDER = "state"
"""Of an output: what a run goes on from."""

PLACEMENT = {
    "checkpoint_steps", "num_workers", "min_workers", "worker_cpus", "worker_gpus", "compile",
}  # fmt: skip
"""Training settings that say how a run takes place, not what is learnt: it may continue with
others. Some of them change how numbers are rounded."""


def learnt_settings(config: BaseModel, exclude: Collection[str] = ()) -> dict[str, Any]:
    """The settings that weights depend on, as a plain value: without `exclude` and placement.

    Under their earlier names (aliases), so that digests stay what they were. In place of the
    backbone's path stands the digest of its weights. Raises CheckpointError if they cannot be read.
    """
    settings = config.model_dump(mode="json", by_alias=True, exclude=set(exclude))
    settings["training"] = {k: v for k, v in settings["training"].items() if k not in PLACEMENT}
    if (backbone := settings["model"]["backbone"]) is not None:
        settings["model"]["backbone"] = start_digest(location(backbone))
    return settings


@dataclass(frozen=True)
class TrainingRun:
    """A run that writes to `output`."""

    output: Path
    config: BaseModel
    digest: str
    """Of all that the weights depend on."""

    @property
    def checkpoint(self) -> Path:
        """Where its checkpoint goes."""
        return self.output / "checkpoint"

    @property
    def report(self) -> Path:
        """Where its report for people goes."""
        return self.output / REPORT_FILE

    @property
    def state(self) -> Path:
        """Where its states go, and the lease on them."""
        return self.output / STATE_FOLDER

    @property
    def note(self) -> Path:
        """The file with settings and results."""
        return self.output / RUN_FILE

    def earlier(self) -> dict[str, Any] | None:
        """What an earlier run noted that was finished with the same settings.

        Raises OutputMismatchError if the output is of other settings or data.
        """
        try:
            note = self.results()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if note["digest"] != self.digest:
            raise OutputMismatchError(
                f"{self.output} holds a training with other settings or other chips; nothing was "
                "touched. Set another output, or remove that directory."
            )
        return note if "history" in note and self.checkpoint.exists() else None

    def results(self) -> dict[str, Any]:
        """What the note says by now."""
        note: dict[str, Any] = json.loads(read_bytes(self.note))
        return note

    def claim(self) -> None:
        """Note which settings the output belongs to, before its first state is written."""
        self.output.mkdir(parents=True, exist_ok=True)
        self._write({})

    def finish(self, **results: Any) -> None:
        """Note that the run is finished; `results` have a `history`."""
        self._write(results)

    def _write(self, results: dict[str, Any]) -> None:
        note = {"digest": self.digest, "config": self.config.model_dump(mode="json"), **results}
        write_atomically(self.note, json.dumps(note, indent=2) + "\n")
