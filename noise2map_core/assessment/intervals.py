"""95 % intervals of shares that hold at small samples, and of what is made of shares.

Of one share: Clopper & Pearson (1934), The use of confidence or fiducial limits, Biometrika 26,
404–413, whose coverage is at least 95 %. Of what is made of several, the wider of two at each end,
for each alone covers less than 95 % somewhere, and both together nowhere that was looked
(`tests/benchmarks/assessment_coverage.py`): limits of the parts put together, Zou & Donner (2008),
Construction of confidence limits about effect measures, Statistics in Medicine 27, 1693–1702, which
err where errors are as rare in each of several strata; and Clopper and Pearson's at the effective
sample size, Korn & Graubard (1998), Confidence intervals for proportions with small expected number
of positive counts, Survey Methodology 24, 193–201, which err where one stratum is nearly all.
An estimate ± 1.96 standard errors is of no width where a sample shows no error.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

ALPHA = 0.05
"""How often an interval may miss."""
TINY = 1e-9
"""Parameters of a beta distribution are above 0."""
STEPS = 60
"""Halvings of [0, 1]: to the last bit of a double, nearly."""

Floats = NDArray[np.float64]
Limits = tuple[Floats, Floats]
"""Lower and upper ends."""


def share_limits(hits: NDArray[np.integer], units: NDArray[np.integer]) -> Limits:
    """Of the share behind `hits` among `units` [...]; without units, all is possible."""
    low = beta.ppf(ALPHA / 2, np.maximum(hits, 1), units - hits + 1)
    high = beta.ppf(1 - ALPHA / 2, hits + 1, np.maximum(units - hits, 1))
    return np.where(hits > 0, low, 0.0), np.where(hits < units, high, 1.0)


def effective_limits(value: Floats, variance: Floats, units: Floats) -> Limits:
    """Of a share that is estimated with a variance, as if of a simple sample that has the same; at
    most of `units` units, of which none says how it varies where the variance is 0."""
    known = variance > 0
    simple = np.where(known, value * (1 - value) / np.where(known, variance, 1), units)
    size = np.clip(simple, np.finfo(float).tiny, np.maximum(units, 1))
    hits = size * value
    inner_low, inner_high = np.maximum(hits, TINY), np.maximum(size - hits, TINY)
    low = beta.ppf(ALPHA / 2, inner_low, size - hits + 1)
    high = beta.ppf(1 - ALPHA / 2, hits + 1, inner_high)
    return np.where(value > 0, low, 0.0), np.where(value < 1, high, 1.0)


def wider(one: Limits, other: Limits) -> Limits:
    """The lower of the lower ends, the upper of the upper ones."""
    return np.minimum(one[0], other[0]), np.maximum(one[1], other[1])


def sum_limits(values: Floats, limits: Limits, weights: Floats) -> Limits:
    """Of weighted sums over the last axis of independent `values` with their limits [..., part]."""
    low, high = limits
    total = (weights * values).sum(axis=-1)
    down = np.sqrt(((weights * (values - low)) ** 2).sum(axis=-1))
    up = np.sqrt(((weights * (high - values)) ** 2).sum(axis=-1))
    return total - down, total + up


def part_limits(part: Floats, of_part: Limits, rest: Floats, of_rest: Limits) -> Limits:
    """Of part / (part + rest), both independent and with limits; NaN where both are 0.

    A value p is within if (1 - p) part - p rest may be 0 by its own limits.
    """
    low = _crossing(part, part - of_part[0], rest, of_rest[1] - rest)
    high = 1 - _crossing(rest, rest - of_rest[0], part, of_part[1] - part)
    known = part + rest > 0
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _crossing(part: Floats, down: Floats, rest: Floats, up: Floats) -> Floats:
    """The p from which the lower limit of (1 - p) part - p rest is no more above 0."""
    low, high = np.zeros_like(part), np.ones_like(part)
    for _ in range(STEPS):
        p = (low + high) / 2
        above = (1 - p) * part - p * rest > np.hypot((1 - p) * down, p * up)
        low, high = np.where(above, p, low), np.where(above, high, p)
    return low


def difference_limits(
    gained: NDArray[np.integer], lost: NDArray[np.integer], units: NDArray[np.integer]
) -> Limits:
    """Of the share gained less the share lost among the same `units` [...], of which none is both.

    The two shares move against each other, which the recovery takes into account.
    """
    up, down = gained / np.maximum(units, 1), lost / np.maximum(units, 1)
    (up_low, up_high), (down_low, down_high) = (
        share_limits(gained, units),
        share_limits(lost, units),
    )
    odds = up * down / np.where((up < 1) & (down < 1), (1 - up) * (1 - down), 1)
    against = np.minimum(np.sqrt(odds), 1.0)
    low = _joint(up - up_low, down_high - down, against)
    high = _joint(up_high - up, down - down_low, against)
    return up - down - low, up - down + high


def _joint(one: Floats, other: Floats, against: Floats) -> Floats:
    """Distance of a limit of a difference; `against` is minus the correlation of its parts."""
    return np.asarray(np.sqrt(one**2 + other**2 + 2 * against * one * other))
