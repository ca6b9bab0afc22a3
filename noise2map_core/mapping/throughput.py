"""How fast a run was, and what held it up."""

from dataclasses import dataclass
from typing import Any

from noise2map_core.mapping.ledger import TileRecord

BUSY = 0.8
"""Predictors that work for this part of the time are what the run waits for."""
STAGES = ("read", "predict", "write", "hash")
"""What a tile goes through; its record has the seconds of each."""


@dataclass
class Throughput:
    """Sums over the tiles that a run predicts; small, whatever the region."""

    tiles: int = 0
    chips: int = 0
    pixel_bytes: int = 0
    read_s: float = 0.0
    predict_s: float = 0.0
    wait_s: float = 0.0
    write_s: float = 0.0
    hash_s: float = 0.0
    start_s: float = 0.0
    """Seconds until the first tile was begun: workers start, and load their libraries."""

    def add(self, record: TileRecord, at_s: float) -> None:
        """Count a tile that was there `at_s` seconds after the start of the work."""
        if not self.tiles:
            took = sum(getattr(record, f"{stage}_s") for stage in STAGES)
            self.start_s = max(0.0, at_s - took)
        self.tiles += 1
        self.chips += record.chips
        self.pixel_bytes += record.pixel_bytes
        for stage in (*STAGES, "wait"):
            name = f"{stage}_s"
            setattr(self, name, getattr(self, name) + getattr(record, name))

    def facts(
        self, tile_px: int, resolution: float, wall_s: float, predictors: int | None
    ) -> dict[str, Any]:
        """What the manifest says, of `wall_s` seconds from the start of the work to its end.

        `work_s` are seconds of each stage, summed over workers and tiles: read (and masked,
        composed), predict (sent to the device, network, blended, decided), write (encoded and
        stored), hash. `predictors_busy_share` is what predicting is of the time that predictors
        spent between their first tile and their last one; `predictors_wait_s` is what they did not
        compute of the whole, their own start included. Without `predictors`, each worker reads,
        maps and writes.
        """
        pixels, hours = self.tiles * tile_px**2, wall_s / 3600
        return {
            "mpx_per_s": _rounded(pixels / 1e6, wall_s),
            "km2_per_h": _rounded(pixels * resolution**2 / 1e6, hours),
            "chips": self.chips,
            "bytes_read": self.pixel_bytes,
            "start_s": round(self.start_s, 1),
            "work_s": {stage: round(getattr(self, f"{stage}_s"), 1) for stage in STAGES},
            **(self._of_readers() if predictors is None else self._waited(predictors * wall_s)),
        }

    def _of_readers(self) -> dict[str, Any]:
        """What takes most, where nobody waits for another."""
        work = {
            "reading": self.read_s,
            "mapping": self.predict_s,
            "writing": self.write_s + self.hash_s,
        }
        total = sum(work.values())
        if not total:
            return {"bottleneck": "nothing was predicted"}
        most = max(work, key=work.__getitem__)
        return {"bottleneck": f"{most}: {work[most] / total:.0%} of the work. More CPUs help"}

    def _waited(self, held: float) -> dict[str, Any]:
        """Of predictors that were there for `held` seconds together."""
        waiting = max(0.0, held - self.predict_s)
        return {
            "predictors_busy_share": _rounded(self.predict_s, self.predict_s + self.wait_s),
            "predictors_wait_s": round(waiting, 1),
            "bottleneck": self._bottleneck(held, waiting),
        }

    def _bottleneck(self, held: float, waiting: float) -> str:
        if not self.tiles or not held:
            return "nothing was predicted"
        share = f"predictors waited for {100 * waiting / held:.0f} % of their time"
        if waiting < (1 - BUSY) * held:
            return f"the network: {share}. More predictors, or a GPU, make this faster"
        if self.write_s + self.hash_s > max(self.read_s, self.predict_s):
            return f"writing: {share}. More CPUs, or storage nearer by"
        if self.read_s > self.predict_s:
            return f"reading: {share}. More readers (resources.reader_cpus), or imagery nearer by"
        return f"starting workers: {share}, and neither reading nor the network filled it"


def _rounded(amount: float, time: float) -> float | None:
    """Four significant digits."""
    return float(f"{amount / time:.4g}") if time > 0 else None
