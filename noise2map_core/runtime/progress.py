"""How far long work has come: a bar in a terminal, a sparse line in a log; always on stderr."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

LOG_INTERVAL_S = 10.0
"""Least time between two lines of a log."""


class Progress:
    """Counts work done. A context manager; use `progress()`.

    `clock` is there for tests: seconds, monotonic.
    """

    def __init__(
        self,
        total: int | None,
        label: str,
        unit: str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.label = label
        self.unit = unit
        self.done = 0
        self._stream = stream or sys.stderr
        self._clock = clock
        self._figures: dict[str, Any] = {}
        self._bar = _bar(total, label, unit, self._stream) if self._stream.isatty() else None

    def __enter__(self) -> Self:
        self._started = self._said = self._clock()
        return self

    def update(self, n: int = 1, **figures: object) -> None:
        """Count `n` more as done; `figures` (loss=0.31) are shown beside the count."""
        self.done += n
        self._figures |= figures
        if self._bar is not None:
            self._bar.set_postfix(self._shown_figures(), refresh=False)
            self._bar.update(n)
        elif self._clock() - self._said >= LOG_INTERVAL_S:
            self._say()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._say()

    def _say(self) -> None:
        self._said = self._clock()
        seconds = self._said - self._started
        of_total = "" if self.total is None else f"/{self.total}"
        figures = "".join(f", {name} {value}" for name, value in self._shown_figures().items())
        line = f"{self.label}: {self.done}{of_total} {self.unit}, {seconds:.0f} s{figures}"
        print(line, file=self._stream, flush=True)

    def _shown_figures(self) -> dict[str, str]:
        return {
            name: f"{value:.4g}" if isinstance(value, float) else str(value)
            for name, value in self._figures.items()
        }


def progress(total: int | None, label: str, unit: str) -> Progress:
    """Progress of `total` units of work (None: not known), to be used in a `with` statement."""
    return Progress(total, label, unit)


def _bar(total: int | None, label: str, unit: str, stream: TextIO) -> Any:
    from tqdm import tqdm  # a bar is for terminals; logs do not need it

    return tqdm(total=total, desc=label, unit=f" {unit}", file=stream, dynamic_ncols=True)
