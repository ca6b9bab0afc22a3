"""The state of a day from the state before and the look of that day: whole numbers alone.

A pixel's new state depends on its own old state and look, so that tiles, threads and batches make
no difference. No decision changes no byte.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.alerts.state import ARRAYS, MOST, NO_LOOK, Look, PixelState, Status, date_of
from noise2map_core.runtime.errors import OutputError

ALGORITHM_VERSION = 1
"""Raised when the same looks give another state; it is made anew then."""

Mask = NDArray[np.bool_]
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Rules:
    """When an alert is confirmed, taken back and ended; as `AlertsConfig` explains."""

    k: int
    n: int
    m: int
    t_days: int


def fold(state: PixelState, look: Look, rules: Rules) -> PixelState:
    """The state after a look. Raises OutputError if a decided pixel was seen on that day or later.

    "k of the next n looks" is counted as "k detections before n − k + 1 looks without", so that
    nobody has to remember which looks they were.
    """
    decided = look.found != NO_LOOK
    _require_later(state.seen, decided, look.day)
    seen = np.where(decided, np.uint16(look.day), state.seen)
    # What was nothing and is nothing still: most pixels, of which only the day changes.
    at = np.flatnonzero(decided & ((look.found == 1) | (state.status != Status.NONE)))
    if not len(at):
        return PixelState(**state.arrays() | {"seen": seen})
    before = {name: values.ravel()[at] for name, values in state.arrays().items()}
    changed, percent = look.found.ravel()[at] == 1, look.percent.ravel()[at]
    after = _advanced(before, changed, percent, look.day, rules)
    arrays = {name: _scattered(values, at, after[name]) for name, values in state.arrays().items()}
    return PixelState(**arrays | {"seen": seen})


def _require_later(seen: NDArray[np.uint16], decided: Mask, day: int) -> None:
    latest = int(np.where(decided, seen, 0).max(initial=0))
    if latest and latest >= day:
        raise OutputError(
            f"a look of {date_of(day)} at pixels that were seen on {date_of(latest)} already: "
            "looks are taken in the order of their days. Make the state again from an earlier one."
        )


def _scattered(values: NDArray[Any], at: Any, new: NDArray[Any]) -> NDArray[Any]:
    if np.array_equal(values.ravel()[at], new):
        return values
    changed = values.flatten()
    changed[at] = new
    return changed.reshape(values.shape)


def _advanced(
    old: Columns, changed: Mask, percent: NDArray[np.uint8], day: int, rules: Rules
) -> Columns:
    """Pixels [pixel] that are decided, and changed or of another status than NONE."""
    old = _expired(old, day, rules.t_days)
    status = old["status"]
    followed = (status == Status.PROVISIONAL) | (status == Status.CONFIRMED)
    opened, hit, miss = changed & ~followed, changed & followed, ~changed & followed
    new = _counted(old, hit, miss, percent, day)
    new = _judged(new, status, hit, miss, day, rules)
    return _opened(new, opened, percent, old["seen"], day, rules.k)


def _expired(old: Columns, day: int, t_days: int) -> Columns:
    """What was not confirmed within `t_days` is forgotten."""
    age = day - old["first"].astype(np.int32)
    return _cleared(old, (old["status"] == Status.PROVISIONAL) & (age > t_days))


def _cleared(old: Columns, where: Mask) -> Columns:
    """All zero but the day of the latest look."""
    return {name: values if name == "seen" else np.where(where, values.dtype.type(0), values)
            for name, values in old.items()}  # fmt: skip


def _counted(old: Columns, hit: Mask, miss: Mask, percent: NDArray[np.uint8], day: int) -> Columns:
    """Detections and looks without one, added up; a byte that is full stays so."""
    counts = hit & (old["hits"] < MOST)
    looked = (hit | miss) & (old["looks"] < MOST)
    fell = miss & (old["quiet"] < MOST)
    return old | {
        "looks": old["looks"] + looked.astype(np.uint8),
        "hits": old["hits"] + counts.astype(np.uint8),
        "quiet": np.where(hit, np.uint8(0), old["quiet"] + fell.astype(np.uint8)),
        "p_sum": old["p_sum"] + np.where(counts, percent, np.uint8(0)).astype(np.uint16),
        "p_max": np.where(hit, np.maximum(old["p_max"], percent), old["p_max"]),
        "last": np.where(hit, np.uint16(day), old["last"]),
    }


def _judged(
    new: Columns, status: NDArray[np.uint8], hit: Mask, miss: Mask, day: int, rules: Rules
) -> Columns:
    """What is followed is confirmed, ended or taken back; `status` is what it was."""
    provisional, certain = status == Status.PROVISIONAL, status == Status.CONFIRMED
    hits, looks = new["hits"].astype(np.int16), new["looks"].astype(np.int16)
    confirmed = provisional & hit & (hits - 1 >= rules.k)
    ended = certain & miss & (new["quiet"] >= rules.m) if rules.m else np.zeros_like(certain)
    status = np.where(confirmed, np.uint8(Status.CONFIRMED), status)
    judged = new | {
        "status": np.where(ended, np.uint8(Status.ENDED), status),
        "confirmed": np.where(confirmed, np.uint16(day), new["confirmed"]),
    }
    return _cleared(judged, provisional & miss & (looks - hits > rules.n - rules.k))


def _opened(
    new: Columns, opened: Mask, percent: NDArray[np.uint8], seen: NDArray[np.uint16], day: int,
    k: int,
) -> Columns:  # fmt: skip
    """A new episode: nothing is left of an earlier one."""
    at_once = k == 0
    begun = {
        "status": Status.CONFIRMED if at_once else Status.PROVISIONAL, "looks": 1, "hits": 1,
        "quiet": 0, "p_max": percent, "p_sum": percent, "prior": seen, "first": day, "last": day,
        "confirmed": day if at_once else 0, "seen": day,
    }  # fmt: skip
    return {name: np.where(opened, np.asarray(begun[name]).astype(kind), new[name])
            for name, kind in ARRAYS.items()}  # fmt: skip
