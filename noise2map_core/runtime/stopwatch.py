"""Seconds per stage."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from noise2map_core.runtime.progress import waiting

Item = TypeVar("Item")


class Stopwatch:
    """Adds up, by stage, wall-clock seconds and the CPU seconds of this process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.own_cpu_s: dict[str, float] = {}
        """Of the driver alone: work that no further worker takes off it."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the body's time to stage `name`; people are told of one that takes long."""
        start, cpu = time.perf_counter(), time.process_time()
        try:
            with waiting(name):
                yield
        finally:
            spent, used = time.perf_counter() - start, time.process_time() - cpu
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)
            self.own_cpu_s[name] = round(self.own_cpu_s.get(name, 0.0) + used, 3)

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time that they take to come is counted to stage `name`."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item
