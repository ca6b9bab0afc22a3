"""How fast a run was, and what held it up."""

from dataclasses import dataclass
from typing import Any

from noise2map_core.mapping.ledger import TileRecord

BUSY = 0.8
"""Predictors that work for this part of the time are what the run waits for."""


@dataclass
class Throughput:
    """Sums over the tiles that a run predicts; small, whatever the region."""

    tiles: int = 0
    chips: int = 0
    pixel_bytes: int = 0
    read_s: float = 0.0
    predict_s: float = 0.0
    write_s: float = 0.0
    start_s: float = 0.0
    """Seconds until the first tile was begun: workers start, and load their libraries."""

    def add(self, record: TileRecord, at_s: float) -> None:
        """Count a tile that was there `at_s` seconds after the start of the work."""
        if not self.tiles:
            self.start_s = max(0.0, at_s - record.read_s - record.predict_s - record.write_s)
        self.tiles += 1
        self.chips += record.chips
        self.pixel_bytes += record.pixel_bytes
        self.read_s += record.read_s
        self.predict_s += record.predict_s
        self.write_s += record.write_s

    def facts(
        self, tile_px: int, resolution: float, wall_s: float, predictors: int | None
    ) -> dict[str, Any]:
        """What the manifest says, of `wall_s` seconds from the start of the work to its end.

        Seconds of work are summed over workers; predictors wait when they neither compute nor
        write, their own start included. Without `predictors`, each worker reads and maps.
        """
        pixels, hours = self.tiles * tile_px**2, wall_s / 3600
        return {
            "mpx_per_s": _rounded(pixels / 1e6, wall_s),
            "km2_per_h": _rounded(pixels * resolution**2 / 1e6, hours),
            "chips": self.chips,
            "bytes_read": self.pixel_bytes,
            "start_s": round(self.start_s, 1),
            "work_s": {
                "read": round(self.read_s, 1),
                "predict": round(self.predict_s, 1),
                "write": round(self.write_s, 1),
            },
            **(self._of_readers() if predictors is None else self._waited(predictors * wall_s)),
        }

    def _of_readers(self) -> dict[str, Any]:
        """What takes most, where nobody waits for another."""
        work = {"reading": self.read_s, "mapping": self.predict_s, "writing": self.write_s}
        total = sum(work.values())
        if not total:
            return {"bottleneck": "nothing was predicted"}
        most = max(work, key=work.__getitem__)
        return {"bottleneck": f"{most}: {work[most] / total:.0%} of the work. More CPUs help"}

    def _waited(self, held: float) -> dict[str, Any]:
        """Of predictors that were there for `held` seconds together."""
        waiting = max(0.0, held - self.predict_s - self.write_s)
        return {
            "predictors_wait_s": round(waiting, 1),
            "bottleneck": self._bottleneck(held, waiting),
        }

    def _bottleneck(self, held: float, waiting: float) -> str:
        if not self.tiles or not held:
            return "nothing was predicted"
        share = f"predictors waited for {100 * waiting / held:.0f} % of their time"
        if waiting < (1 - BUSY) * held:
            slower = "the network" if self.predict_s >= self.write_s else "writing"
            return f"{slower}: {share}. More predictors, or a GPU, make this faster"
        if self.read_s > self.predict_s + self.write_s:
            return f"reading: {share}. More readers (resources.reader_cpus), or imagery nearer by"
        return f"starting workers: {share}, and neither reading nor the network filled it"


def _rounded(amount: float, time: float) -> float | None:
    """Four significant digits."""
    return float(f"{amount / time:.4g}") if time > 0 else None
