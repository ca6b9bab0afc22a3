"""The report of a finished run, from what the run left."""

import json
from dataclasses import dataclass
from pathlib import Path

from noise2map_core.chips.store import open_store
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.report.charts import Points
from noise2map_core.runtime.storage import read_bytes
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


def write_report(paths: ReportPaths, losses: Points, device: str = "cpu") -> None:
    """Write the report of a finished run; `losses` are (step, loss)."""
    model, store = load_checkpoint(paths.checkpoint).to(device), open_store(paths.chips)
    note = json.loads(read_bytes(paths.note))
    batch_size = int(note["config"]["training"]["batch_size"])
    evidence = {name: gather_evidence(model, store, name, batch_size) for name in model.spec.tasks}
    write_page(paths.report, training_page(note, model.spec, store, evidence, losses))
