"""The ledger: what each tile of an output was made from.

Records are immutable JSON files beside the mosaic, written after the pixels that they speak of. A
tile is done if its newest record says so under the key that is wanted now.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from noise2map_core.atomic import write_atomically
from noise2map_core.digest import digest_of
from noise2map_core.geo.grid import Tile

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class TileRecord:
    """What became of one tile."""

    row: int
    col: int
    key: str
    status: Literal["done", "failed"]
    reason: str = ""
    """Why it failed, in words."""
    chips: int = 0
    """Chips that went through the network."""
    decided_px: int = 0
    """Pixels with a decision."""
    strange_px: int = 0
    """Of these, pixels with a number that the model does not expect."""
    unlike_px: int = 0
    """Of these, pixels with another class if the dates are reversed, where that was tried."""
    pixel_bytes: int = 0
    """Bytes of the pixels that it was made from, decoded, halo included."""
    read_s: float = 0.0
    """Seconds that reading them took."""
    predict_s: float = 0.0
    """Seconds of its forward passes and decisions."""
    write_s: float = 0.0
    """Seconds that writing its pixels took."""
    digest: str = ""
    """Of what was written, `Mosaic.digest`; empty in records of earlier versions."""

    @property
    def tile(self) -> Tile:
        """The tile that this speaks of."""
        return Tile(self.row, self.col)


class Ledger:
    """The records of one output, in `<output>/ledger/records/`."""

    def __init__(self, output: Path) -> None:
        self._folder = output / "ledger" / "records"

    def append(self, records: Iterable[TileRecord], fence: int) -> None:
        """Record a batch of tiles under the run's fencing number. Safe to repeat."""
        rows = [asdict(record) for record in records]
        body = {"format_version": FORMAT_VERSION, "fence": fence, "tiles": rows}
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{fence:08d}-{digest_of(body)[:16]}.json"
        write_atomically(self._folder / name, json.dumps(body))

    def newest(self) -> dict[Tile, TileRecord]:
        """The newest record of each tile; a later run's wins, and within a run a done one."""
        newest: dict[Tile, tuple[tuple[int, bool], TileRecord]] = {}
        for fence, record in self._records():
            rank = (fence, record.status == "done")
            if record.tile not in newest or rank > newest[record.tile][0]:
                newest[record.tile] = (rank, record)
        return {tile: record for tile, (_, record) in newest.items()}

    def done_keys(self) -> dict[Tile, str]:
        """The key under which each finished tile was made."""
        return {
            tile: record.key for tile, record in self.newest().items() if record.status == "done"
        }

    def _records(self) -> Iterator[tuple[int, TileRecord]]:
        for path in sorted(self._folder.glob("*.json")):
            body = json.loads(path.read_text(encoding="utf-8"))
            for row in body["tiles"]:
                yield body["fence"], TileRecord(**row)
