"""Which looks are to be taken into which state: the longest one that all looks so far agree with.

A state is the fold of its looks in the order of their days. Imagery that came late, was replaced or
withdrawn, and other rules, make the state of the night before one that did not happen: the newest
snapshot that still holds is taken on in its place, or a state without looks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from noise2map_core.alerts.commit import SNAPSHOTS
from noise2map_core.alerts.looks import LookRecord
from noise2map_core.alerts.store import NAME, About, LookKey, StateRules, read_about
from noise2map_core.runtime.errors import OutputError

MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Slice:
    """A look, and where its pixels are."""

    record: LookRecord
    mosaic: Path | None
    """None: the slice was pruned."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be done."""

    base: Path | None
    """Folder of the state that is taken on; None: one without looks."""
    known: tuple[LookKey, ...]
    """Its looks."""
    todo: tuple[Slice, ...]
    """Looks to be taken in, in order; all have pixels."""
    looks: tuple[LookRecord, ...]
    """All looks of the new state."""
    anew: bool
    """True if the state that was there is not what is taken on."""
    was_as_of: date | None
    """Day of the latest look of the state that was there."""


def plan_replay(folder: Path, rules: StateRules, slices: Sequence[Slice]) -> Replay | None:
    """What makes the state of `slices`, all that there are by day; None: it is there.

    Slices that were pruned before there was a state are no looks. Raises OutputError for a state
    that is damaged, and where slices are lacking, which it names.
    """
    current = read_about(folder / NAME)
    wanted = _wanted(folder, current, slices)
    looks = tuple(one.record.look for one in wanted)
    base, known = next(_bases(folder, current, rules, looks), (None, ()))
    todo = wanted[len(known) :]
    if base == folder and not todo:
        return None
    if current is None and not wanted:
        return None
    if lacking := [one.record.day for one in todo if one.mosaic is None]:
        raise _lacking(folder, current, rules, lacking)
    records = tuple(one.record for one in wanted)
    anew = current is not None and base != folder
    return Replay(base, known, todo, records, anew, current.as_of if current else None)


def settled_through(folder: Path, pruned: set[date]) -> date | None:
    """Up to which day looks cannot change any more, as slices that a replay would need are pruned:
    to that of the first snapshot behind all of these. None: all looks may change."""
    about = read_about(folder / NAME)
    gone = [look.day for look in about.looks if look.day in pruned] if about else []
    if not about or not gone:
        return None
    return min((day for day in snapshot_days(folder) if day >= max(gone)), default=about.as_of)


def snapshot_days(folder: Path) -> list[date]:
    """Days of the snapshots, in order."""
    root = folder / SNAPSHOTS
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    return sorted(date.fromisoformat(name) for name in names if not name.startswith("."))


def _wanted(folder: Path, current: About | None, slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """Without those that were pruned before there was a state."""
    about, after = current, date.max
    if current is None and (days := snapshot_days(folder)):
        about, after = read_about(folder / SNAPSHOTS / str(days[-1]) / NAME), days[-1]
    known = {look.day for look in about.looks} if about else set()
    return tuple(
        one for one in sorted(slices, key=lambda one: one.record.day)
        if one.mosaic is not None or one.record.day in known or one.record.day > after
    )  # fmt: skip


def _bases(
    folder: Path, current: About | None, rules: StateRules, looks: tuple[LookKey, ...]
) -> Iterator[tuple[Path, tuple[LookKey, ...]]]:
    """States that can be taken on, the one with most looks first."""
    if current and _holds(current, rules, looks):
        yield folder, current.looks
    for day in reversed(snapshot_days(folder)):
        path = folder / SNAPSHOTS / str(day)
        about = read_about(path / NAME)
        if about and _holds(about, rules, looks):
            yield path, about.looks


def _holds(about: About, rules: StateRules, looks: tuple[LookKey, ...]) -> bool:
    return about.rules == rules and about.looks == looks[: len(about.looks)]


def _lacking(
    folder: Path, current: About | None, rules: StateRules, days: list[date]
) -> OutputError:
    more = f" and {len(days) - MAX_SHOWN} more" if len(days) > MAX_SHOWN else ""
    shown = f"{', '.join(map(str, days[:MAX_SHOWN]))}{more}"
    why = "earlier imagery has changed"
    if current and current.rules != rules:
        why = f"they were made with {_said(current.rules)}, and asked for is {_said(rules)}"
    return OutputError(
        f"alerts in {folder} have to be made anew, as {why}; the slices of {shown} are needed for "
        "that and are pruned. Restore them, or the settings; or delete all of the folder but "
        "verdicts.parquet to begin with the slices that are kept."
    )


def _said(rules: StateRules) -> str:
    return (
        f"k = {rules.k}, n = {rules.n}, m = {rules.m}, t_days = {rules.t}, "
        f"minimum_m2 = {rules.minimum_m2:g}"
    )
