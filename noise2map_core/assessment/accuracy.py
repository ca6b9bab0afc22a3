"""Accuracy and area of a map from a stratified sample, with 95 % intervals.

Olofsson et al. (2014), Good practices for estimating area and assessing accuracy of land change,
Remote Sensing of Environment 148, 42–57; equations by their numbers there. Its standard errors are
given; intervals are those of `intervals`, which hold at small samples, too.
"""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.assessment.intervals import (
    Floats,
    Limits,
    effective_limits,
    part_limits,
    share_limits,
    sum_limits,
    wider,
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated number; NaN where the sample says nothing about it."""

    value: float
    standard_error: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""


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
    strata = _Strata(sample, n_i, mapped_area / mapped_area.sum())
    users, producers, area = strata.users(), strata.producers(), strata.area(mapped_area.sum())
    classes = tuple(map(ClassAccuracy, users, producers, area))
    return AccuracyReport(strata.overall(), classes, strata.proportions)


@dataclass(frozen=True)
class _Strata:
    """The sample by stratum i (row) and class j (column), in the paper's terms."""

    count: NDArray[np.integer]
    """n_ij."""
    units: NDArray[np.integer]
    """n_i."""
    weight: Floats
    """W_i, part of the mapped area."""

    @property
    def _share(self) -> Floats:
        """n_ij / n_i."""
        return np.asarray(self.count / np.maximum(self.units, 1)[:, None])

    @property
    def _limits(self) -> Limits:
        """Of each share [i, j]."""
        return share_limits(self.count, self.units[:, None])

    @property
    def proportions(self) -> Floats:
        """p_ij, eq. 4."""
        return self.weight[:, None] * self._share

    @property
    def _variance(self) -> Floats:
        """Variance of each share [i, j], estimated without bias."""
        return np.asarray(self._simple * (self.units / np.maximum(self.units - 1, 1))[:, None])

    @property
    def _simple(self) -> Floats:
        """Variance of each share [i, j] were it the truth: what effective sizes are reckoned by."""
        return np.asarray(self._share * (1 - self._share) / np.maximum(self.units, 1)[:, None])

    def overall(self) -> Estimate:
        """Eqs. 1 and 5."""
        share, low, high, variance, simple = (
            np.diag(one)[None] for one in (self._share, *self._limits, self._variance, self._simple)
        )
        return self._summed(share, (low, high), variance, simple)[0]

    def users(self) -> list[Estimate]:
        """Eqs. 2 and 6."""
        error = np.sqrt(np.diag(self._variance))
        found = np.stack([np.diag(self._share), error, *map(np.diag, self._limits)])
        return _estimates(np.where(self.units > 0, found, np.nan))

    def producers(self) -> list[Estimate]:
        """Eqs. 3 and 7, with W in place of N: only ratios count."""
        found = self.proportions.sum(axis=0)  # p_.j, eq. 9
        found = np.where(found > 0, found, np.nan)
        p = np.diag(self.proportions) / found
        error = np.sqrt(self._ratio_variance(p, found, self._variance))
        simple = np.nan_to_num(self._ratio_variance(p, found, self._simple))
        whole = effective_limits(np.nan_to_num(p), simple, self.count.sum(axis=0))
        return _estimates(np.stack([p, error, *wider(whole, self._part_limits())]))

    def _ratio_variance(self, p: Floats, found: Floats, variance: Floats) -> Floats:
        """Eq. 7, of the variances of shares [i, j]."""
        spread = self.weight[:, None] ** 2 * variance
        own = np.diag(spread)
        others = spread.sum(axis=0) - own
        return np.asarray(((1 - p) ** 2 * own + p**2 * others) / found**2)

    def area(self, total: float) -> list[Estimate]:
        """Eqs. 9, 10 and 11."""
        low, high = self._limits
        parts = self._summed(self._share.T, (low.T, high.T), self._variance.T, self._simple.T)
        return [Estimate(*(total * number for number in astuple(one))) for one in parts]

    def _summed(
        self, share: Floats, limits: Limits, variance: Floats, simple: Floats
    ) -> list[Estimate]:
        """Of sums over the strata of shares [sum, i]."""
        value, squared = share @ self.weight, self.weight**2
        whole = effective_limits(value, simple @ squared, self.units.sum())
        low, high = wider(whole, sum_limits(share, limits, self.weight))
        found = [value, np.sqrt(variance @ squared), np.clip(low, 0, 1), np.clip(high, 0, 1)]
        return _estimates(np.stack(found))

    def _part_limits(self) -> Limits:
        """Of what lies in a class's own stratum, among all that is of it."""
        own, (low, high) = self.proportions, (self.weight[:, None] * end for end in self._limits)
        others = np.where(np.eye(len(self.units), dtype=bool), 0.0, self.weight[:, None]).T
        rest = others * self._share.T
        of_rest = sum_limits(self._share.T, (self._limits[0].T, self._limits[1].T), others)
        return part_limits(np.diag(own), (np.diag(low), np.diag(high)), rest.sum(axis=1), of_rest)


def _estimates(found: Floats) -> list[Estimate]:
    """Estimates of values, standard errors and limits [4, K]."""
    return [Estimate(*map(float, one)) for one in found.T]
