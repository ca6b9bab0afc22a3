"""Accuracy and area of a map from a stratified sample, with 95 % intervals.

Olofsson et al. (2014), Good practices for estimating area and assessing accuracy of land change,
Remote Sensing of Environment 148, 42–57; equations by their numbers there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.96
"""Standard errors on either side of an estimate in a 95 % interval, as printed in the paper."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated number; NaN where the sample says nothing about it."""

    value: float
    standard_error: float

    @property
    def margin(self) -> float:
        """Half of the 95 % interval: value ± margin."""
        return Z_95 * self.standard_error


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """What the sample says about one class."""

    users: Estimate
    """User's accuracy: part of the area mapped as this class that truly is of it."""
    producers: Estimate
    """Producer's accuracy: part of the area of this class that is mapped as it."""
    area: Estimate
    """Area of this class, in the unit of the mapped areas."""


@dataclass(frozen=True, slots=True)
class AccuracyReport:
    """Accuracy of a map, and the areas behind it."""

    overall: Estimate
    classes: tuple[ClassAccuracy, ...]
    proportions: Floats
    """float64 [K, K]: estimated part of the area by mapped (row) and true (column) class, eq. 4."""


def estimate_accuracy(sample: NDArray[np.integer], mapped_area: Floats) -> AccuracyReport:
    """Stratified estimators of overall, user's and producer's accuracy and of areas.

    `sample` [K, K] counts sample units by mapped class (row: its stratum) and true class (column);
    `mapped_area` [K] is the area of each stratum, in any unit. A class that the map lacks has area
    0 and an empty row; every other stratum needs two sample units.
    """
    n_i = sample.sum(axis=1)
    strata = _Strata(
        share=sample / np.maximum(n_i, 1)[:, None],
        freedom=np.maximum(n_i - 1, 1).astype(np.float64),
        weight=mapped_area / mapped_area.sum(),
        sampled=n_i > 0,
    )
    users, producers, area = strata.users(), strata.producers(), strata.area(mapped_area.sum())
    classes = tuple(map(ClassAccuracy, users, producers, area))
    return AccuracyReport(strata.overall(), classes, strata.proportions)


@dataclass(frozen=True)
class _Strata:
    """The sample by stratum i (row) and class j (column), in the paper's terms."""

    share: Floats
    """n_ij / n_i."""
    freedom: Floats
    """n_i - 1."""
    weight: Floats
    """W_i, part of the mapped area."""
    sampled: NDArray[np.bool_]

    @property
    def proportions(self) -> Floats:
        """p_ij, eq. 4."""
        return self.weight[:, None] * self.share

    @property
    def _u(self) -> Floats:
        """U_i, eq. 2."""
        return np.diag(self.share)

    @property
    def _variance(self) -> Floats:
        """Variance of each share [i, j]."""
        return self.share * (1 - self.share) / self.freedom[:, None]

    def overall(self) -> Estimate:
        """Eqs. 1 and 5."""
        variance = (self.weight**2 * np.diag(self._variance)).sum()
        return Estimate(float(np.trace(self.proportions)), float(np.sqrt(variance)))

    def users(self) -> list[Estimate]:
        """Eqs. 2 and 6."""
        error = np.sqrt(np.diag(self._variance))
        return _estimates(np.where(self.sampled, [self._u, error], np.nan))

    def producers(self) -> list[Estimate]:
        """Eqs. 3 and 7, with W in place of N: only ratios count."""
        found = self.proportions.sum(axis=0)  # p_.j, eq. 9
        found = np.where(found > 0, found, np.nan)
        p = np.diag(self.proportions) / found
        spread = self.weight[:, None] ** 2 * self._variance
        own = np.diag(spread)
        variance = ((1 - p) ** 2 * own + p**2 * (spread.sum(axis=0) - own)) / found**2
        return _estimates(np.stack([p, np.sqrt(variance)]))

    def area(self, total: float) -> list[Estimate]:
        """Eqs. 9, 10 and 11."""
        variance = (self.weight[:, None] ** 2 * self._variance).sum(axis=0)
        return _estimates(total * np.stack([self.proportions.sum(axis=0), np.sqrt(variance)]))


def _estimates(pairs: Floats) -> list[Estimate]:
    """Estimates of values and standard errors [2, K]."""
    return [Estimate(float(value), float(error)) for value, error in pairs.T]
