"""The table of how far models carry, for people and tools."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from noise2map_core import __version__
from noise2map_core.evaluation.transfer import Fold, PlaceScores, TransferScores
from noise2map_core.report.notebook import Shown
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.settings.network import Task


@dataclass(frozen=True)
class TransferResult(Shown):
    """Methods side by side on places that they never saw."""

    task: Task
    chips: str
    folds: tuple[Fold, ...]
    rows: tuple[TransferScores, ...]
    """Models first."""
    output: Path | None = None

    def files(self) -> Mapping[str, Path]:
        """What was written."""
        return {"scores": self.output} if self.output else {}

    def summary(self) -> list[str]:
        """A table for people: all places together, then each."""
        first = self.rows[0]
        head = (
            f"{self.task}, protocol transfer: {len(first.places)} places in {len(self.folds)} "
            f"folds, {first.pooled.pixels:,} labelled pixels, {first.pooled.positives:,} sought"
        )
        written = [f"scores  {self.output}"] if self.output else []
        return [head, *self._table(), "", *self._by_place(), *written]

    def _table(self) -> Iterator[str]:
        yield (
            f"{'':18} {'F1':>6} {'95 % over places':>17} {'best':>6} {'prec.':>6} {'recall':>6} "
            f"{'AUC':>6} {'AP':>6} {'ECE':>6} {'mean F1':>8}"
        )
        for row in self.rows:
            one = row.pooled
            yield (
                f"{row.name:18} {one.f1:6.3f} {row.f1_low:8.3f} – {row.f1_high:.3f} "
                f"{one.best_f1:7.3f} {one.precision:6.3f} {one.recall:6.3f} {_or(one.roc_auc)} "
                f"{_or(one.average_precision)} {_or(one.ece)} {row.mean_f1:8.3f}"
            )

    def _by_place(self) -> Iterator[str]:
        """F1 and AUC of the models at each place."""
        yield f"{'F1 / AUC':18} " + " ".join(f"{row.name:>13.13}" for row in self.rows)
        for place, first in self.rows[0].places.items():
            cells = (_cell(row.places[place]) for row in self.rows)
            note = "" if first.positives else "  (nothing to be found)"
            yield f"{place:18.18} {' '.join(cells)}{note}"


def _cell(one: PlaceScores) -> str:
    return f"{one.f1:6.3f}/{_or(one.roc_auc).strip():>6}"


def _or(value: float | None) -> str:
    return "     –" if value is None else f"{value:6.3f}"


def write_transfer(result: TransferResult, path: Path) -> None:
    """Write the scores as JSON, with what they are of."""
    document = {
        "protocol": "transfer",
        "task": result.task,
        "chips": result.chips,
        "folds": [{"scored": fold.scored, "learnt": fold.learnt} for fold in result.folds],
        "rows": [asdict(row) for row in result.rows],
        "noise2map": __version__,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(document, indent=2) + "\n")


def table_rows(rows: Sequence[TransferScores]) -> list[str]:
    """The rows of a model card."""
    return [
        f"| {row.name} | {row.pooled.f1:.3f} | {row.f1_low:.3f} – {row.f1_high:.3f} | "
        f"{_or(row.pooled.roc_auc).strip()} | {_or(row.pooled.average_precision).strip()} | "
        f"{_or(row.pooled.ece).strip()} |"
        for row in rows
    ]
