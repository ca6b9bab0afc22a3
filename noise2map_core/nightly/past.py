"""What is known of the slices of an area with alerts: of each, the items, the rule, and its look.

A record is written when its slice is done, and stays when that is pruned: days that were mapped are
told from days that came late.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from noise2map_core.alerts.looks import LookRecord
from noise2map_core.alerts.replay import Slice, settled_through
from noise2map_core.nightly.areas import Area, day_of
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import listed

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """One finished slice."""

    rule: str
    """By which its items were chosen."""
    items: dict[str, str]
    """Items behind it, both dates: id and fingerprint."""
    look: LookRecord


@dataclass(frozen=True, slots=True)
class Past:
    """The slices of an area."""

    records: Mapping[date, SliceRecord]
    slices: frozenset[date]
    """Days with a slice on disk, whole or not."""
    settled: date | None
    """No slice up to this day is made again: what alerts would need for that is pruned."""

    @property
    def pruned(self) -> set[date]:
        """Days whose slice was made and is gone."""
        return set(self.records) - self.slices

    def looks(self, area: Area) -> list[Slice]:
        """The looks of all days, by day."""
        return [
            Slice(one.look, area.slice_path(day) / "mosaic.zarr" if day in self.slices else None)
            for day, one in sorted(self.records.items())
        ]


def read_past(area: Area, until: date | None = None) -> Past:
    """The records and slices of an area to the day `until`. Raises OutputError for a record that is
    damaged."""
    last = until or date.max
    paths = listed(area.output / "looks", ".json")
    records = {day: _read(path) for path in paths if (day := day_of(path.stem)) and day <= last}
    folder = area.output / "slices"
    found = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    slices = frozenset(day for path in found if (day := day_of(path.name)) and day <= last)
    settled = settled_through(area.alerts_path, set(records) - slices)
    return Past(records, slices, settled)


def write_record(area: Area, day: date, record: SliceRecord) -> None:
    """Say that a slice is done, and what it is."""
    (area.output / "looks").mkdir(exist_ok=True)
    body = {"format_version": FORMAT_VERSION, "rule": record.rule, "items": record.items,
            "look": record.look.document()}  # fmt: skip
    write_atomically(area.look_path(day), json.dumps(body) + "\n")


def forget_record(area: Area, day: date) -> None:
    """From here on a slice is not done, until it is made again."""
    area.look_path(day).unlink(missing_ok=True)


def _read(path: Path) -> SliceRecord:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format_version is {body['format_version']!r}")
        return SliceRecord(body["rule"], dict(body["items"]), LookRecord.parsed(body["look"]))
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path} is damaged: {' '.join(str(error).split())}. Delete it: the slice of its day "
            "is looked at again, and finished tiles are kept."
        ) from error
