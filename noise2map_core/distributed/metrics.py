"""Metrics of region inference, for Prometheus: Ray gathers them at every node's metrics endpoint.

Names there begin with `ray_`, and end in `_total`. The tag `region` is the output's last folder, in
ASCII: Ray refuses other tags, and a map matters more than its metrics. A run that finds nothing to
do starts no cluster, and so counts nothing.
"""

import os
import time
from functools import cache
from pathlib import Path
from urllib.parse import quote

from ray.util.metrics import Counter

from noise2map_core.mapping.ledger import TileRecord
from noise2map_core.mapping.throughput import STAGES

Tags = dict[str, str]

_PLAIN = "".join(one for one in map(chr, range(32, 127)) if one not in '%"\\')
"""Characters that stay."""


@cache
def _counter(name: str, description: str, *tags: str) -> Counter:
    """One of a name in a process: Ray warns of a second."""
    return Counter(f"noise2map_{name}", description, ("region", *tags))


def region_tag(output: Path) -> str:
    """The last folder of an output as a tag: "Z%C3%BCrich" for "Zürich", as in an address."""
    return quote(os.fsencode(output.name), safe=_PLAIN) or "output"


def _tiles() -> Counter:
    return _counter("tiles", "Tiles that ended, by status: done or failed.", "status")


def _pixels() -> Counter:
    return _counter("pixels", "Pixels of the tiles that were made.")


def _chips() -> Counter:
    return _counter("chips", "Chips that went through the network.")


def _work() -> Counter:
    return _counter("work_seconds", "Seconds of work, by stage of a tile: read to hash.", "stage")


def _wait() -> Counter:
    return _counter("wait_seconds", "Seconds that a stage waited for the one before it.", "stage")


def _hits() -> Counter:
    return _counter("ledger_hits", "Tiles that the ledger had, and were not made again.")


def count_tile(output: Path, record: TileRecord, tile_px: int) -> None:
    """Count a tile that has ended, in the driver."""
    region: Tags = {"region": region_tag(output)}
    _tiles().inc(1, region | {"status": record.status})
    if record.status == "done":
        _count(_pixels(), tile_px**2, region)
        _count(_chips(), record.chips, region)
        for stage, seconds in _seconds(record).items():
            _count(_work(), seconds, region | {"stage": stage})


def count_kept(output: Path, tiles: int) -> None:
    """Count the tiles that the ledger had."""
    _count(_hits(), tiles, {"region": region_tag(output)})


def _seconds(record: TileRecord) -> dict[str, float]:
    return {stage: getattr(record, f"{stage}_s") for stage in STAGES}


def _count(counter: Counter, amount: float, tags: Tags) -> None:
    """Ray refuses to count nothing."""
    if amount > 0:
        counter.inc(amount, tags)


class Idleness:
    """Counts how long a worker waits between calls."""

    def __init__(self, output: Path, stage: str) -> None:
        self._tags: Tags = {"region": region_tag(output), "stage": stage}
        self._since = time.perf_counter()

    def end(self) -> float:
        """Work has come, after so many seconds."""
        waited = time.perf_counter() - self._since
        _count(_wait(), waited, self._tags)
        return waited

    def begin(self) -> None:
        """Work is done."""
        self._since = time.perf_counter()
