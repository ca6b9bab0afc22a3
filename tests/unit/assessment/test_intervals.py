"""Intervals at small samples: how often they hold, counted over every sample that there may be."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from noise2map_core.assessment.accuracy import estimate_accuracy
from noise2map_core.assessment.intervals import difference_limits, share_limits, sum_limits

ERRORS = (0.004, 0.02, 0.07, 0.2, 0.45)
"""Parts of a stratum where the map is wrong."""
NAMES = ("overall", "area", "producers", "users")


@pytest.mark.parametrize(("hits", "units"), [(0, 5), (5, 5), (1, 2), (3, 17), (120, 125)])
def test_limits_of_a_share_are_those_of_clopper_and_pearson(hits: int, units: int) -> None:
    exact = binomtest(hits, units).proportion_ci(method="exact")
    found = [float(end) for end in share_limits(np.array(hits), np.array(units))]
    assert found == pytest.approx([exact.low, exact.high], abs=1e-12)


def intervals_of_all_samples(units: int, weight: np.ndarray) -> dict[str, np.ndarray]:
    """[errors in 0, errors in 1, low and high] of a map of two classes."""
    found = {name: np.zeros((units + 1, units + 1, 2)) for name in NAMES}
    for first in range(units + 1):
        for second in range(units + 1):
            counts = np.array([[units - first, first], [second, units - second]])
            report = estimate_accuracy(counts, weight)
            one = report.classes[1]
            for name, part in zip(
                NAMES, (report.overall, one.area, one.producers, one.users), strict=True
            ):
                found[name][first, second] = part.low, part.high
    return found


@pytest.mark.parametrize("weight", [(0.99, 0.01), (0.5, 0.5)], ids=str)
def test_intervals_hold_in_95_of_100_samples_whatever_the_truth(
    weight: tuple[float, float],
) -> None:
    units = 12
    found, (w0, w1) = intervals_of_all_samples(units, np.array(weight)), weight
    for e0 in ERRORS:
        for e1 in ERRORS:
            chance = np.outer(
                binom.pmf(np.arange(units + 1), units, e0),
                binom.pmf(np.arange(units + 1), units, e1),
            )
            area = w0 * e0 + w1 * (1 - e1)
            truths = (1 - w0 * e0 - w1 * e1, area, w1 * (1 - e1) / area, 1 - e1)
            for name, truth in zip(NAMES, truths, strict=True):
                low, high = np.moveaxis(found[name], 2, 0)
                told = ~np.isnan(low)
                holds = (low <= truth + 1e-9) & (truth <= high + 1e-9)
                assert chance[told & holds].sum() >= 0.95 * chance[told].sum(), (name, e0, e1)


def test_differences_of_paired_units_hold_in_95_of_100_samples() -> None:
    """Of one stratum, over every sample of ten units."""
    units = 10
    gained, lost = np.meshgrid(np.arange(units + 1), np.arange(units + 1), indexing="ij")
    possible = gained + lost <= units
    gained, lost = gained[possible], lost[possible]
    low, high = difference_limits(gained, lost, np.full(len(gained), units))
    for up in (0.01, 0.1, 0.3, 0.6):
        for down in (0.0, 0.02, 0.2, 0.39):
            same = 1 - up - down
            chance = binom.pmf(gained, units, up) * binom.pmf(
                lost, units - gained, down / (down + same)
            )
            assert chance.sum() == pytest.approx(1)
            holds = (low <= up - down + 1e-9) & (up - down <= high + 1e-9)
            assert chance[holds].sum() >= 0.95, (up, down)


def test_a_sum_of_one_part_has_its_limits() -> None:
    limits = share_limits(np.array([[3]]), np.array([[9]]))
    low, high = sum_limits(np.array([[3 / 9]]), limits, np.array([2.0]))
    assert (low[0], high[0]) == pytest.approx((2 * limits[0][0, 0], 2 * limits[1][0, 0]))
