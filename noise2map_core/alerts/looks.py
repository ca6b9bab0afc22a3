"""What is remembered of a look when its slice is gone: its key, where it decided, from which
items."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from noise2map_core.alerts.store import LookKey
from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.grid import Tile
from noise2map_core.mapping.ledger import Ledger
from noise2map_core.runtime.digest import digest_of


@dataclass(frozen=True, slots=True)
class ItemPlace:
    """An item of a slice, and where it lies."""

    id: str
    footprint: str
    """Hexadecimal WKB in EPSG:4326."""

    @classmethod
    def of(cls, scenes: Iterable[Scene]) -> tuple["ItemPlace", ...]:
        """Those of scenes, in their order."""
        return tuple(cls(scene.id, scene.footprint_wkb.hex()) for scene in scenes)


@dataclass(frozen=True, slots=True)
class LookRecord:
    """One look of an area."""

    day: date
    key: str
    """Digest of all pixels that it decided."""
    decided: tuple[tuple[int, int, int], ...]
    """Row and column of each tile with a decision, and how many pixels have one."""
    before: tuple[ItemPlace, ...]
    after: tuple[ItemPlace, ...]

    @property
    def tiles(self) -> list[Tile]:
        """The tiles that it says something of."""
        return [Tile(row, col) for row, col, _ in self.decided]

    @property
    def look(self) -> LookKey:
        """As a state notes it."""
        return LookKey(self.day, self.key)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"day": str(self.day)}

    @classmethod
    def parsed(cls, document: dict[str, Any]) -> "LookRecord":
        """From JSON. Raises KeyError, TypeError, ValueError."""
        items = {name: tuple(ItemPlace(**one) for one in document[name])
                 for name in ("before", "after")}  # fmt: skip
        decided = tuple((int(row), int(col), int(px)) for row, col, px in document["decided"])
        return cls(date.fromisoformat(document["day"]), document["key"], decided, **items)


def look_at(
    output: Path, day: date, threshold: float | None, before: Iterable[Scene],
    after: Iterable[Scene],
) -> LookRecord:  # fmt: skip
    """The look that a finished slice is; `threshold` as of its products."""
    done = [one for one in Ledger(output).view().newest() if one.status == "done"]
    decided = tuple((one.row, one.col, one.decided_px) for one in done if one.decided_px)
    pixels = [[one.row, one.col, one.digest] for one in done if one.decided_px]
    key = digest_of([pixels, threshold])[:32]
    return LookRecord(day, key, decided, ItemPlace.of(before), ItemPlace.of(after))
