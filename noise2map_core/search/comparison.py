"""How the trials of a sweep compare: ranks, Pareto front, importance of parameters, winner."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.search.space import SearchSpace
from noise2map_core.search.sweep import (
    Sweep,
    Trial,
    full_trials,
    importance_of,
    pareto_front,
    winner_of,
)


@dataclass(frozen=True)
class CompareTrialsResult:
    """What was compared, and where it lies."""

    trials: list[Trial]
    """Best first; full ones before others."""
    front: list[Trial]
    """Full trials that none beats in F1 and time at once."""
    importance: dict[str, float]
    """Part of each parameter in how F1 varies among full trials (PED-ANOVA); empty: too few."""
    winner: Trial
    config: Path
    """The winner's settings, for finetune-maps."""
    folder: Path
    """trials.csv, comparison.json, heat_map.png, pareto.png."""

    @classmethod
    def of(cls, sweep: Sweep, trials: list[Trial]) -> CompareTrialsResult:
        """How the trials of a sweep compare. Raises ConfigError if none had the full budget."""
        winner = winner_of(trials)
        if winner is None:
            raise ConfigError(
                f"the sweep in {sweep.folder} has no trial of full budget to compare."
            )
        ranked, folder = sorted(trials, key=_rank), sweep.folder / "comparison"
        importance = importance_of(sweep.space, ranked)
        return cls(ranked, pareto_front(ranked), importance, winner, sweep.winner_file, folder)

    def summary(self) -> list[str]:
        """The table and what follows from it."""
        full = len(full_trials(self.trials))
        importance = [f"  {share:6.1%}  {name}" for name, share in self.importance.items()]
        if not importance:
            importance = [f"  {full} full trials are too few to tell, or all have one F1"]
        return [
            "trial  status  epochs      F1    error  ms/chip  settings (* Pareto front)",
            *(self._row(trial) for trial in self.trials),
            "",
            f"importance of parameters over {full} full trials",
            *importance,
            "",
            f"pictures  {self.folder}",
            f"{self._won}  trial {self.winner.number}; noise2map finetune-maps {self.config}",
        ]

    @property
    def _won(self) -> str:
        return "no better than chance, the least bad:" if self.winner.doubts else "winner  "

    def _row(self, trial: Trial) -> str:
        figures = (
            "     –" if trial.f1 is None else f"{trial.f1:6.4f}",
            "      –" if trial.f1_error is None else f"{trial.f1_error:7.4f}",
            "      –" if trial.ms_per_chip is None else f"{trial.ms_per_chip:7.2f}",
        )
        mark = "*" if trial in self.front else " "
        point = ", ".join(f"{name} {_shown(value)}" for name, value in trial.point.items())
        chance = f"no better than chance: {trial.doubts}" if trial.doubts else ""
        told = ": ".join(filter(None, (point, trial.reason, chance)))
        head = f"{trial.number:5}{mark} {trial.status:7} {trial.epochs:6}  "
        return f"{head}{'  '.join(figures)}  {told}"


def write_tables(result: CompareTrialsResult, space: SearchSpace) -> None:
    """Write the trials, ranked, as comparison.json and trials.csv."""
    rows = [asdict(trial) | {"pareto": trial in result.front} for trial in result.trials]
    comparison = {"trials": rows, "importance": result.importance}
    write_atomically(result.folder / "comparison.json", json.dumps(comparison, indent=2) + "\n")
    text = io.StringIO()
    names = [name for name in rows[0] if name != "point"] + list(space.parameters)
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, **row["point"]} for row in rows)
    write_atomically(result.folder / "trials.csv", text.getvalue())


def _rank(trial: Trial) -> tuple[bool, bool, float, int]:
    better, f1 = trial.rank
    return trial.status != "full", not better, -f1, trial.number


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
