"""What became of the tiles that a run predicts, in sums that do not grow with the region."""

from dataclasses import dataclass, field

from noise2map_core.inference.throughput import Throughput
from noise2map_core.mapping.ledger import TileRecord

MAX_SHOWN = 5
"""Tiles that a line for people names; the ledger has them all."""


@dataclass
class StrangeTiles:
    """Tiles with numbers that the model does not expect: how many, and the worst of them."""

    tiles: int = 0
    px: int = 0
    worst: list[TileRecord] = field(default_factory=list)
    """At most `MAX_SHOWN`: the driver's memory must not grow with the region."""

    def add(self, record: TileRecord) -> None:
        """Count a tile."""
        if record.strange_px:
            self.tiles, self.px = self.tiles + 1, self.px + record.strange_px
            ranked = sorted([*self.worst, record], key=lambda r: (-r.strange_px, r.row, r.col))
            self.worst = ranked[:MAX_SHOWN]

    def lines(self, value_range: tuple[float, float]) -> tuple[str, ...]:
        """Warnings for people, the worst tiles by name; none if there is nothing to say."""
        if not self.tiles:
            return ()
        low, high = value_range
        return (
            f"warning: {self.px:,} pixels in {self.tiles} tiles lie outside the numbers that the "
            f"checkpoint expects ({low:g} to {high:g}); is the product level or scaling another?",
            *(f"  {record.tile}: {record.strange_px:,} pixels" for record in self.worst),
        )


@dataclass
class TileWork:
    """What became of the tiles of a run; the driver's memory does not grow with them."""

    strange: StrangeTiles = field(default_factory=StrangeTiles)
    throughput: Throughput = field(default_factory=Throughput)
    failed: list[TileRecord] = field(default_factory=list)

    def add(self, record: TileRecord, at_s: float) -> None:
        """Count a tile that was there `at_s` seconds after the start of the work."""
        if record.status == "failed":
            self.failed.append(record)
        else:
            self.throughput.add(record, at_s)
            self.strange.add(record)
