"""What a filled sample says of its map: a table for people, and a document."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.assessment.accuracy import AccuracyReport, Estimate, estimate_accuracy
from noise2map_core.assessment.sample_files import MISSING, UNSURE, SampleDesign
from noise2map_core.report.notebook import Shown
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import ConfigError

SQUARE_METRES_PER_HECTARE = 10_000
METHOD = (
    "Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015, stratified estimator; intervals after "
    "Clopper & Pearson 1934, of sums and ratios the wider of Zou & Donner 2008 and Korn & Graubard "
    "1998"
)


@dataclass(frozen=True)
class Unanswered:
    """Sample units that count for nothing: nobody said what is there."""

    unsure: int
    missing: int
    if_wrong: float
    """Overall accuracy if the map were wrong at all of them …"""
    if_right: float
    """… and if it were right."""

    @property
    def line(self) -> str:
        """For people; empty: all were answered."""
        if not self.unsure + self.missing:
            return ""
        return (
            f"not counted: {self.unsure} unsure, {self.missing} without an answer; were the map "
            f"wrong at all of these, overall accuracy would be {self.if_wrong:.3f}, were it right "
            f"{self.if_right:.3f}"
        )


@dataclass(frozen=True)
class Assessment(Shown):
    """A map's accuracy, and the sample behind it."""

    design: SampleDesign
    matrix: NDArray[np.int64]
    """Sample units [K, K] by class of the map (row) and reference (column)."""
    report: AccuracyReport
    unanswered: Unanswered
    output: Path | None = None
    """JSON file of the result."""

    def files(self) -> Mapping[str, Path]:
        """What was written."""
        return {"result": self.output} if self.output else {}

    def summary(self) -> list[str]:
        """The table that agencies report, with 95 % intervals."""
        return [
            f"{self.design.map}: {int(self.matrix.sum()):,} sample units; 95 % intervals",
            *filter(None, [self.unanswered.line]),
            f"overall accuracy {_shown(self.report.overall)}",
            f"{'class':20} {'mapped ha':>14}  {'area ha':>36}  {'user’s':>21}  {'producer’s':>21}",
            *(
                f"{f'{entry.value} {entry.name}':20.20} {_hectares(entry.area_m2):>14}  "
                f"{_area(one.area):>36}  {_shown(one.users):>21}  {_shown(one.producers):>21}"
                for entry, one in zip(self.design.classes, self.report.classes, strict=True)
            ),
        ]

    def document(self) -> dict[str, Any]:
        """The result as plain values; null where the sample says nothing."""
        return {
            "map": self.design.map,
            "map_sha256": self.design.map_sha256,
            "method": METHOD,
            "unanswered": {"unsure": self.unanswered.unsure, "missing": self.unanswered.missing},
            "overall_accuracy": plain(self.report.overall)
            | {"if_unanswered": [self.unanswered.if_wrong, self.unanswered.if_right]},
            "classes": [
                {
                    **entry.model_dump(),
                    "users_accuracy": plain(one.users),
                    "producers_accuracy": plain(one.producers),
                    "estimated_area_m2": plain(one.area),
                }
                for entry, one in zip(self.design.classes, self.report.classes, strict=True)
            ],
            "sample_matrix": self.matrix.tolist(),
            "area_proportions": self.report.proportions.tolist(),
        }


def assess(
    design: SampleDesign, reference: NDArray[np.int64], output: Path | None = None
) -> Assessment:
    """Estimates from the reference class of each unit, int64 [unit], `UNSURE` or `MISSING` where
    nobody knows: such units are taken to be like the others of their stratum.

    Raises ConfigError for a stratum with fewer than two answers.
    """
    values = [entry.value for entry in design.classes]
    mapped = np.searchsorted(values, [stratum for _, _, stratum in design.units])
    known = reference >= 0
    matrix = np.zeros((len(values), len(values)), np.int64)
    np.add.at(matrix, (mapped[known], np.searchsorted(values, reference[known])), 1)
    require_two_answers(design, matrix.sum(axis=1))
    area = np.array([entry.area_m2 for entry in design.classes])
    lost = np.bincount(mapped[~known], minlength=len(values))
    wrong, right = bounds(np.diag(matrix), matrix.sum(axis=1), lost, area)
    unsure, missing = (int((reference == code).sum()) for code in (UNSURE, MISSING))
    unanswered = Unanswered(unsure, missing, wrong, right)
    return Assessment(design, matrix, estimate_accuracy(matrix, area), unanswered, output)


def bounds(
    right: NDArray[np.int64],
    answered: NDArray[np.int64],
    lost: NDArray[np.int64],
    area: NDArray[np.float64],
) -> tuple[float, float]:
    """Overall accuracy by stratum [K] if all that is `lost` were wrong, and if it were right."""
    units, weight = np.maximum(answered + lost, 1), area / area.sum()
    return float(weight @ (right / units)), float(weight @ ((right + lost) / units))


def require_two_answers(design: SampleDesign, answered: NDArray[np.int64]) -> None:
    """Raise ConfigError for a stratum that too little is known of."""
    for entry, units in zip(design.classes, answered, strict=True):
        if entry.pixels and units < 2:
            raise ConfigError(
                f"stratum {entry.value} ({entry.name}) has {units} sample unit(s) with an answer; "
                "an estimate needs two. Fill in more, or draw a sample with a larger --minimum."
            )


def write_result(path: Path, document: Mapping[str, Any]) -> None:
    """Write a result as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def plain(estimate: Estimate) -> dict[str, Any]:
    """An estimate as plain values."""
    return {
        "value": number(estimate.value),
        "standard_error": number(estimate.standard_error),
        "interval_95": [number(estimate.low), number(estimate.high)],
    }


def number(value: float) -> float | None:
    """What JSON has: null for NaN."""
    return None if math.isnan(value) else value


def _shown(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"


def _area(estimate: Estimate) -> str:
    low, high = _hectares(estimate.low), _hectares(estimate.high)
    return f"{_hectares(estimate.value)} ({low}–{high})"


def _hectares(square_metres: float) -> str:
    return f"{square_metres / SQUARE_METRES_PER_HECTARE:,.1f}"
