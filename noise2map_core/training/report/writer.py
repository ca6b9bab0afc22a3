"""The report of a finished run, from what the run left."""

import json
from dataclasses import dataclass
from pathlib import Path

from noise2map_core.chips.places import dealt
from noise2map_core.chips.store import open_store
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.runtime.storage import read_bytes
from noise2map_core.settings.labels import PlacesConfig
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.training.curve import read_losses
from noise2map_core.training.report.evidence import gather_evidence
from noise2map_core.training.report.facts import training_page
from noise2map_core.training.report.page import write_page


@dataclass(frozen=True)
class ReportPaths:
    """Where a report goes, and what it is made of."""

    report: Path
    checkpoint: Path
    note: Path
    """A run's settings and history, JSON."""
    chips: Path
    curve: Path
    """Losses; see `training.curve`."""


def write_report(paths: ReportPaths, device: str = "cpu") -> None:
    """Write the report of a finished run."""
    model, note = load_checkpoint(paths.checkpoint).to(device), json.loads(read_bytes(paths.note))
    places = PlacesConfig.model_validate(note["config"]["places"])
    store = dealt(open_store(paths.chips), places)
    given = note["config"]["training"]
    batch = TrainingConfig.model_validate(given, by_alias=True, by_name=True).batch
    evidence = {name: gather_evidence(model, store, name, batch) for name in model.spec.tasks}
    losses = read_losses(paths.curve)
    write_page(paths.report, training_page(note, model.spec, store, evidence, losses))
