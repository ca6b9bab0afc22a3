"""What a filled sample says of its map: a table for people, and a document."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.assessment.accuracy import AccuracyReport, Estimate, estimate_accuracy
from noise2map_core.assessment.sample_files import SampleDesign
from noise2map_core.runtime.errors import ConfigError

SQUARE_METRES_PER_HECTARE = 10_000


@dataclass(frozen=True)
class Assessment:
    """A map's accuracy, and the sample behind it."""

    design: SampleDesign
    matrix: NDArray[np.int64]
    """Sample units [K, K] by class of the map (row) and reference (column)."""
    report: AccuracyReport

    def summary(self) -> list[str]:
        """The table that agencies report; ± is half of the 95 % interval."""
        return [
            f"{self.design.map}: {int(self.matrix.sum()):,} sample units",
            f"overall accuracy {_shown(self.report.overall)}",
            f"{'class':20} {'mapped ha':>14}  {'area ha':>28}  {'user’s':>13}  {'producer’s':>13}",
            *(
                f"{f'{entry.value} {entry.name}':20.20} {_hectares(entry.area_m2):>14}  "
                f"{_hectares(one.area.value) + ' ± ' + _hectares(one.area.margin):>28}  "
                f"{_shown(one.users):>13}  {_shown(one.producers):>13}"
                for entry, one in zip(self.design.classes, self.report.classes, strict=True)
            ),
        ]

    def document(self) -> dict[str, Any]:
        """The result as plain values; null where the sample says nothing."""
        return {
            "map": self.design.map,
            "map_sha256": self.design.map_sha256,
            "method": "Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015, stratified estimator",
            "overall_accuracy": _plain(self.report.overall),
            "classes": [
                {
                    **entry.model_dump(),
                    "users_accuracy": _plain(one.users),
                    "producers_accuracy": _plain(one.producers),
                    "estimated_area_m2": _plain(one.area),
                }
                for entry, one in zip(self.design.classes, self.report.classes, strict=True)
            ],
            "sample_matrix": self.matrix.tolist(),
            "area_proportions": self.report.proportions.tolist(),
        }


def assess(design: SampleDesign, reference: NDArray[np.int64]) -> Assessment:
    """Estimates from the reference class of each unit, int64 [unit].

    Raises ConfigError for a stratum with fewer than two units.
    """
    values = [entry.value for entry in design.classes]
    matrix = np.zeros((len(values), len(values)), np.int64)
    mapped = np.array([stratum for _, _, stratum in design.units])
    np.add.at(matrix, (np.searchsorted(values, mapped), np.searchsorted(values, reference)), 1)
    for entry, units in zip(design.classes, matrix.sum(axis=1), strict=True):
        if entry.pixels and units < 2:
            raise ConfigError(
                f"stratum {entry.value} ({entry.name}) has {units} sample unit(s); an interval "
                "needs two. Draw a sample with a larger --minimum."
            )
    area = np.array([entry.area_m2 for entry in design.classes])
    return Assessment(design, matrix, estimate_accuracy(matrix, area))


def _plain(estimate: Estimate) -> dict[str, float | None]:
    values = {
        "value": estimate.value,
        "standard_error": estimate.standard_error,
        "margin_95": estimate.margin,
    }
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _shown(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.3f} ± {estimate.margin:.3f}"


def _hectares(square_metres: float) -> str:
    return f"{square_metres / SQUARE_METRES_PER_HECTARE:,.1f}"
