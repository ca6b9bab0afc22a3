"""How often 95 % intervals of `assess` and `compare` hold, by simulation.

python tests/benchmarks/assessment_coverage.py [--draws 100]

Of maps of two, three and four classes with strata from rare to equal, 5 to 100 units a stratum: for
each, 20 truths are drawn, whose errors are from 0.3 to 40 % of a stratum, and samples of each.
Beside them are intervals of ± 1.96 standard errors. Two classes are counted over every sample that
there may be in tests/unit/assessment/test_intervals.py.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from noise2map_core.assessment.accuracy import Estimate, estimate_accuracy
from noise2map_core.assessment.intervals import difference_limits, sum_limits

WEIGHTS = ((0.99, 0.01), (0.9, 0.1), (0.5, 0.5), (0.96, 0.02, 0.02), (0.25, 0.25, 0.25, 0.25))
UNITS = (5, 12, 30, 100)
TRUTHS = 20


def main() -> None:
    """Prints, by units a stratum, the share of intervals that hold: of all, and the least."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    draws = parser.parse_args().draws
    held: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
    for weights in WEIGHTS:
        for units in UNITS:
            generator = np.random.default_rng([units, len(weights)])
            found: dict[str, list[list[bool]]] = defaultdict(list)
            for _ in range(TRUTHS):
                for name, exact, wald in _drawn(np.array(weights), units, draws, generator):
                    found[name].append([exact, wald])
            for name, rows in found.items():
                held[name, units].append(np.mean(rows, axis=0).tolist())
    print(f"{'':12} {'units':>6} {'holds':>7} {'least':>7} {'± 1.96 se':>10} {'least':>7}")
    for (name, units), shares in sorted(held.items()):
        mean, least = np.mean(shares, axis=0), np.min(shares, axis=0)
        print(f"{name:12} {units:6} {mean[0]:7.1%} {least[0]:7.1%} {mean[1]:10.1%} {least[1]:7.1%}")


def _drawn(
    weight: NDArray[np.float64], units: int, draws: int, generator: np.random.Generator
) -> Iterator[tuple[str, bool, bool]]:
    """By name, whether intervals hold, and whether those of standard errors do, of one truth."""
    truth = _truth(len(weight), generator)
    for _ in range(draws):
        counts = np.stack([generator.multinomial(units, row) for row in truth])
        report, area = estimate_accuracy(counts, weight), weight @ truth
        yield _holds("overall", report.overall, float(weight @ np.diag(truth)))
        for number, one in enumerate(report.classes):
            producers = float(weight[number] * truth[number, number] / area[number])
            yield _holds("user's", one.users, float(truth[number, number]))
            yield _holds("area", one.area, float(area[number]))
            if not np.isnan(one.producers.value):
                yield _holds("producer's", one.producers, producers)
        yield _paired(weight, units, 1 - np.diag(truth), generator)


def _truth(classes: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """[mapped, true] shares of each stratum."""
    errors = np.exp(generator.uniform(np.log(0.003), np.log(0.4), classes))
    others = generator.dirichlet(np.ones(classes - 1), classes) * errors[:, None]
    return np.stack([np.insert(row, n, 1 - row.sum()) for n, row in enumerate(others)])


def _holds(name: str, one: Estimate, truth: float) -> tuple[str, bool, bool]:
    wald = abs(one.value - truth) <= 1.96 * one.standard_error
    return name, one.low - 1e-9 <= truth <= one.high + 1e-9, wald


def _paired(
    weight: NDArray[np.float64],
    units: int,
    gained: NDArray[np.float64],
    generator: np.random.Generator,
) -> tuple[str, bool, bool]:
    """Of two maps of which one gains `gained` of each stratum and loses half as much."""
    up, down, _ = np.stack(
        [generator.multinomial(units, (one, one / 2, 1 - 1.5 * one)) for one in gained]
    ).T
    share, sizes = (up - down) / units, np.full(len(weight), units)
    low, high = sum_limits(share, difference_limits(up, down, sizes), weight)
    variance = ((up + down) / units - share**2) / (units - 1)
    estimate = Estimate(
        float(weight @ share), float(np.sqrt(weight**2 @ variance)), float(low), float(high)
    )
    return _holds("difference", estimate, float(weight @ gained / 2))


if __name__ == "__main__":
    main()
