"""Whether a night is plausible: by what its map holds, and by the nights before it."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from noise2map_core.nightly.scores import NightScore
from noise2map_core.settings.alerts import AlarmConfig

LEAST_NIGHTS = 3
"""Before a night, or there is nothing that it could be unlike."""
EDGES = np.array([1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95])
"""Percents at which bins begin, behind the first: narrow where most of the pixels are."""
FLOOR = 1e-3
"""Share that an empty bin is taken to have: a few pixels where there were none are no drift."""

Shares = NDArray[np.float64]


def alarms_of(score: NightScore, earlier: Sequence[NightScore], config: AlarmConfig) -> list[str]:
    """What does not look right of a night, a sentence each; none if all is well. `earlier`: the
    last nights before it."""
    return [*_hidden(score, config), *_changed(score, config), *_drifted(score, earlier, config)]


def _hidden(score: NightScore, config: AlarmConfig) -> Iterator[str]:
    seen = score.hidden + score.decided
    if seen and score.hidden / seen > config.hidden_share:
        yield (
            f"{score.hidden / seen:.0%} of what was recorded is hidden (alarm.hidden_share "
            f"{config.hidden_share:.0%}): the night says next to nothing. If it was clear, see to "
            "the masks."
        )


def _changed(score: NightScore, config: AlarmConfig) -> Iterator[str]:
    if score.decided < config.least_pixels:
        return
    share = score.changed / score.decided
    if share > config.changed_share:
        yield (
            f"{share:.0%} of the decided pixels are changed (alarm.changed_share "
            f"{config.changed_share:.0%}), which hardly any area is. See the images before you act "
            "on it: haze, a shift or other radiometry looks so."
        )


def _drifted(
    score: NightScore, earlier: Sequence[NightScore], config: AlarmConfig
) -> Iterator[str]:
    enough = [one for one in earlier if one.decided >= config.least_pixels]
    if score.decided < config.least_pixels or len(enough) < LEAST_NIGHTS:
        return
    found = stability_index(shares_of([score]), shares_of(enough))
    limit = max(config.drift, config.drift_times * usual_index(enough))
    if found > limit:
        yield (
            f"the probabilities of change are spread unlike those of the last {len(enough)} nights "
            f"(population stability index {found:.2f}, limit {limit:.2f}). See whether sensor, "
            "processing or season changed before you act on it."
        )


def usual_index(nights: Sequence[NightScore]) -> float:
    """The median of how far each of some nights is from the others together."""
    apart = [
        stability_index(shares_of([night]), shares_of([*nights[:at], *nights[at + 1 :]]))
        for at, night in enumerate(nights)
    ]
    return float(np.median(apart))


def shares_of(nights: Sequence[NightScore]) -> Shares:
    """Share of the pixels in each bin, the mean over nights; none is less than FLOOR."""
    starts = np.concatenate([[0], EDGES])
    counts = np.array([np.add.reduceat(night.histogram, starts) for night in nights], np.float64)
    shares = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0)
    floored = np.maximum(shares, FLOOR)
    return np.asarray(floored / floored.sum())


def stability_index(now: Shares, before: Shares) -> float:
    """Population stability index: Σ (p − q) ln(p / q), the symmetric divergence of Jeffreys."""
    return float(((now - before) * np.log(now / before)).sum())
