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

    def doubts(self, value_range: tuple[float, float]) -> list[str]:
        """What to say to people, the worst tiles by name; none if there is nothing to say."""
        if not self.tiles:
            return []
        low, high = value_range
        worst = ", ".join(f"{record.tile}: {record.strange_px:,}" for record in self.worst)
        return [
            f"{self.px:,} pixels in {self.tiles} tiles lie outside the numbers that the checkpoint "
            f"expects ({low:g} to {high:g}), most in {worst}. See whether the product level or the "
            "scaling of the imagery is another than that of the checkpoint."
        ]


@dataclass
class TileWork:
    """What became of the tiles of a run; the driver's memory does not grow with them."""

    throughput: Throughput = field(default_factory=Throughput)
    failed: list[TileRecord] = field(default_factory=list)

    def add(self, record: TileRecord, at_s: float) -> None:
        """Count a tile that was there `at_s` seconds after the start of the work."""
        if record.status == "failed":
            self.failed.append(record)
        else:
            self.throughput.add(record, at_s)
