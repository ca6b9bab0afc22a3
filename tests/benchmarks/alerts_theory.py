"""Alerts over looks of known quality: precision, recall and delay, beside what theory expects.

    python tests/benchmarks/alerts_theory.py [--size-px 512] [--nights 60] [--seeds 3]

The change of an invented landscape happens in the middle of the nights. Each look says "changed"
of 1 % of the unchanged pixels and 80 % of the changed ones, and sees 60 % of all, independently.
They go through the fold that run-nightly uses. Theory: for single alerts, sums of binomials; else
a Markov chain over (status, hits, misses) that shares nothing with the fold.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.random import Generator
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.alerts.fold import Rules, fold
from noise2map_core.alerts.state import NO_LOOK, Look, PixelState, Status, nothing_known
from noise2map_core.testing.landscape import build_landscape

FALSE, TRUE, CLOUD = 0.01, 0.80, 0.40
FIRST_DAY = 20_000
TO_DECIDE = 20
CHOICES = (Rules(2, 4, 3, 180), Rules(1, 3, 3, 180))
NONE, PROVISIONAL, CONFIRMED, ENDED = "none", "provisional", "confirmed", "ended"

Mask = NDArray[np.bool_]
Chain = Mapping[tuple[str, int, int], float]
"""Probability by status, hits and misses; of what is confirmed, misses since the latest hit."""


@dataclass
class Counts:
    """What was counted, of unchanged and of changed pixels, in that order."""

    opened: NDArray[np.int64]
    confirmed: NDArray[np.int64]
    """Of these. Alerts of the last `TO_DECIDE` nights may be open still, and count in neither."""
    alerted: NDArray[np.int64]
    """Pixels that are provisional or confirmed after the last night."""
    sure: NDArray[np.int64]
    """Pixels that are confirmed."""
    pixels: NDArray[np.int64]
    first_delay: float
    """Looks from the change on to the first detection, that one included; the mean."""
    sure_delay: float
    """… and to confirmation."""


def main(size_px: int = 512, nights: int = 60, seeds: int = 3) -> None:
    """Print a table for each choice of k and n."""
    for rules in CHOICES:
        found = [_simulate(np.random.default_rng(seed), size_px, nights, rules)
                 for seed in range(seeds)]  # fmt: skip
        _print(rules, found, nights)


def _simulate(rng: Generator, size_px: int, nights: int, rules: Rules) -> Counts:
    change = build_landscape(rng, size_px).change
    state, looks = nothing_known(change.shape), np.zeros(change.shape, np.int64)
    waits = {name: np.zeros(change.shape, np.int64) for name in ("first", "sure")}
    opened, confirmed = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for night in range(nights):
        changed = change & (night >= nights // 2)
        look = _look(rng, changed, FIRST_DAY + night)
        after = fold(state, look, rules)
        if night >= nights // 2:
            looks += look.found != NO_LOOK
            _wait(waits["first"], changed & (look.found == 1), looks)
            _wait(waits["sure"], changed & (after.status == Status.CONFIRMED), looks)
        begun = after.first <= FIRST_DAY + nights - TO_DECIDE
        of_change = change & (after.first >= FIRST_DAY + nights // 2)
        for number, pixels in enumerate((begun & ~change, begun & of_change)):
            new, sure = _transitions(state, after, pixels)
            opened[number] += new
            confirmed[number] += sure
        state = after
    return _counted(state, change, opened, confirmed, waits)


def _look(rng: Generator, changed: Mask, day: int) -> Look:
    """A look of one night: detections by chance, and cloud."""
    hit = rng.uniform(size=changed.shape) < np.where(changed, TRUE, FALSE)
    found = np.where(rng.uniform(size=changed.shape) < CLOUD, NO_LOOK, hit).astype(np.uint8)
    return Look(day, found, np.full(changed.shape, 80, np.uint8))


def _wait(waits: NDArray[np.int64], reached: Mask, looks: NDArray[np.int64]) -> None:
    """Note the look at which pixels come to something for the first time."""
    np.copyto(waits, looks, where=reached & (waits == 0))


def _transitions(before: PixelState, after: PixelState, pixels: Mask) -> tuple[int, int]:
    """Alerts of some pixels that a look opens, and that it confirms."""
    new = (after.status == Status.PROVISIONAL) & (after.first != before.first)
    sure = (before.status == Status.PROVISIONAL) & (after.status == Status.CONFIRMED)
    return int((pixels & new).sum()), int((pixels & sure).sum())


def _counted(
    state: PixelState, change: Mask, opened: Any, confirmed: Any, waits: Mapping[str, Any]
) -> Counts:
    sure = state.status == Status.CONFIRMED
    alerted = sure | (state.status == Status.PROVISIONAL)

    def both(mask: Mask) -> NDArray[np.int64]:
        return np.array([(mask & ~change).sum(), (mask & change).sum()])

    delays = {name: float(wait[wait > 0].mean()) for name, wait in waits.items()}
    return Counts(
        opened, confirmed, both(alerted), both(sure), both(np.ones_like(change)),
        delays["first"], delays["sure"],
    )  # fmt: skip


def _print(rules: Rules, found: list[Counts], nights: int) -> None:
    opened, confirmed, alerted, sure, pixels = (
        sum(getattr(one, name) for one in found)
        for name in ("opened", "confirmed", "alerted", "sure", "pixels")
    )
    false, true = (_statuses(rules, nights, changed) for changed in (False, True))
    rows = [
        ("a false alert is confirmed", confirmed[0] / opened[0], _confirms(rules, FALSE)),
        ("a true alert is confirmed", confirmed[1] / opened[1], _confirms(rules, TRUE)),
        ("precision, provisional and confirmed", alerted[1] / alerted.sum(),
         _precision(pixels, false, true, (PROVISIONAL, CONFIRMED))),
        ("recall, provisional and confirmed", alerted[1] / pixels[1],
         true[PROVISIONAL] + true[CONFIRMED]),
        ("precision, confirmed", sure[1] / sure.sum(),
         _precision(pixels, false, true, (CONFIRMED,))),
        ("recall, confirmed", sure[1] / pixels[1], true[CONFIRMED]),
        ("looks to the first detection", np.mean([one.first_delay for one in found]), 1 / TRUE),
        ("looks to confirmation", np.mean([one.sure_delay for one in found]),
         _looks_to_confirmation(rules, nights)),
    ]  # fmt: skip
    print(f"k = {rules.k}, n = {rules.n}, m = {rules.m}: {pixels.sum():,} pixels, of which "
          f"{pixels[1] / pixels.sum():.1%} change; {nights} nights, {CLOUD:.0%} cloud; "
          f"{opened[0]:,} false alerts")  # fmt: skip
    print(f"  {'':40}{'measured':>10}{'theory':>10}")
    for name, measured, theory in rows:
        print(f"  {name:40}{measured:10.4f}{theory:10.4f}")


def _confirms(rules: Rules, p: float) -> float:
    """Probability of k detections or more among the n looks after the first."""
    return sum(
        comb(rules.n, hits) * p**hits * (1 - p) ** (rules.n - hits)
        for hits in range(rules.k, rules.n + 1)
    )


def _precision(
    pixels: Any, false: Mapping[str, float], true: Mapping[str, float], statuses: tuple[str, ...]
) -> float:
    wrong, right = (
        number * sum(one[status] for status in statuses)
        for number, one in zip(pixels, (false, true), strict=True)
    )
    return float(right / (right + wrong))


def _statuses(rules: Rules, nights: int, changed: bool) -> dict[str, float]:
    """Probability of each status after the last night, by the chain."""
    chain: Chain = {(NONE, 0, 0): 1.0}
    for night in range(nights):
        p = TRUE if changed and night >= nights // 2 else FALSE
        chain = _cloudy(chain, _looked(chain, p, rules))
    found: dict[str, float] = defaultdict(float)
    for (status, _, _), share in chain.items():
        found[status] += share
    return found


def _looks_to_confirmation(rules: Rules, nights: int) -> float:
    """Mean number of looks from the change on, of pixels that come to be confirmed before the
    last; from a chain of unchanged looks to begin with."""
    chain: Chain = {(NONE, 0, 0): 1.0}
    for _ in range(nights // 2):
        chain = _cloudy(chain, _looked(chain, FALSE, rules))
    reached = [sum(share for (status, *_), share in chain.items() if status == CONFIRMED)]
    open_: Chain = {at: share for at, share in chain.items() if at[0] != CONFIRMED}
    mean = total = 0.0
    for looks in range(1, nights // 2 + 1):
        after = _looked(open_, TRUE, rules)
        now = sum(share for (status, *_), share in after.items() if status == CONFIRMED)
        open_ = {at: share for at, share in after.items() if at[0] != CONFIRMED}
        mean, total = mean + looks * now, total + now
    return (mean + reached[0]) / (total + reached[0])


def _cloudy(before: Chain, after: Chain) -> Chain:
    """A night that sees a pixel or not."""
    return {at: CLOUD * before.get(at, 0.0) + (1 - CLOUD) * after.get(at, 0.0)
            for at in {*before, *after}}  # fmt: skip


def _looked(chain: Chain, p: float, rules: Rules) -> Chain:
    """One look more."""
    found: dict[tuple[str, int, int], float] = defaultdict(float)
    for at, share in chain.items():
        found[_hit(at, rules)] += p * share
        found[_miss(at, rules)] += (1 - p) * share
    return found


def _hit(at: tuple[str, int, int], rules: Rules) -> tuple[str, int, int]:
    status, hits, misses = at
    if status in (NONE, ENDED):
        return (PROVISIONAL, 1, 0)
    if status == CONFIRMED or hits >= rules.k:
        return (CONFIRMED, 0, 0)
    return (PROVISIONAL, hits + 1, misses)


def _miss(at: tuple[str, int, int], rules: Rules) -> tuple[str, int, int]:
    status, hits, misses = at
    if status == PROVISIONAL:
        fails = misses + 1 > rules.n - rules.k
        return (NONE, 0, 0) if fails else (PROVISIONAL, hits, misses + 1)
    if status == CONFIRMED:
        return (ENDED, 0, 0) if misses + 1 >= rules.m else (CONFIRMED, 0, misses + 1)
    return at


if __name__ == "__main__":
    tyro.cli(main)
