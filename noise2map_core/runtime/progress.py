"""How far long work has come: a bar in a terminal, a sparse line in a log; always on stderr.

What takes long is told of even while nothing is counted: one thread looks after all that is open.
What is counted speaks before what is only waited for, and the innermost before what is around it.
"""

import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TextIO

FIRST_S = 5.0
"""After so long a log gets its first line; shorter work, if it is brief, is not told of."""
LOG_INTERVAL_S = 10.0
"""Least time between two lines of a log."""
BEAT_S = 1.0


def tell(line: str, stream: TextIO | None = None) -> None:
    """Say a line on stderr at once; in a log the time, UTC, stands before it."""
    stream = stream or sys.stderr
    stamp = "" if stream.isatty() else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} "
    print(f"{stamp}{line}", file=stream, flush=True)


class Progress:
    """Counts work done. A context manager; use `progress()` or `waiting()`.

    `clock` is there for tests: seconds, monotonic.
    """

    def __init__(
        self,
        total: int | None,
        label: str,
        unit: str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        brief: bool = False,
    ) -> None:
        self.total = total
        self.label = label
        self.unit = unit
        self.done = 0
        self.brief = brief
        """Nothing is said, not even at the end, of what takes less than `FIRST_S`."""
        self._stream = stream or sys.stderr
        self._clock = clock
        self._figures: dict[str, Any] = {}
        self._bar: Any = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._started = self._clock()
        self._due = self._started + FIRST_S
        self._said_at: float | None = None
        self._closed = False
        if self._stream.isatty() and not self.brief:
            self._bar = _bar(self)
        _open(self)
        return self

    def update(self, n: int = 1, **figures: object) -> None:
        """Count `n` more as done; `figures` (loss=0.31) are shown beside the count."""
        with self._lock:
            self.done += n
            self._figures |= figures
            if self._bar is not None:
                self._bar.set_postfix(self._shown_figures(), refresh=False)
                self._bar.update(n)
        self.beat()

    def beat(self) -> None:
        """Say how far it is, if that is due."""
        with self._lock:
            if self._closed:
                return
            if self._bar is not None:
                self._bar.refresh()
            elif self._clock() >= self._due:
                self._begin_bar() if self._stream.isatty() else self._say()

    def step_aside(self) -> None:
        """Another one speaks: a bar of what is only waited for goes, and comes again later."""
        with self._lock:
            self._due = max(self._due, self._clock() + FIRST_S)
            if self.brief and self._bar is not None:
                self._bar.close()
                self._bar = None

    def settle(self) -> None:
        """Say no more: what was waited for is there."""
        with self._lock:
            self._closed = True
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _close(self)
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._bar is not None:
                self._bar.close()
            elif self._said_at is None:
                if not self.brief:
                    self._say()
            elif self._clock() > self._said_at + (
                0 if self.unit else 1
            ):  # else the same line again
                self._say()

    def _begin_bar(self) -> None:
        self._bar = _bar(self)

    def _say(self) -> None:
        self._said_at = now = self._clock()
        self._due = now + LOG_INTERVAL_S
        seconds = now - self._started
        counted = [self._counted()] if self.unit else []
        tells = 0 < self.done < (self.total or 0) and "left" not in self._figures
        left = [f"{self._left(seconds):.0f} s left"] if tells else []
        figures = [f"{name} {value}" for name, value in self._shown_figures().items()]
        parts = [*counted, f"{seconds:.0f} s", *left, *figures]
        tell(f"{self.label}: {', '.join(parts)}", self._stream)

    def _counted(self) -> str:
        return f"{self.done}{'' if self.total is None else f'/{self.total}'} {self.unit}"

    def _left(self, seconds: float) -> float:
        """At the speed so far."""
        return seconds / self.done * ((self.total or 0) - self.done)

    def _shown_figures(self) -> dict[str, str]:
        return {
            name: f"{value:.4g}" if isinstance(value, float) else str(value)
            for name, value in self._figures.items()
        }


def progress(total: int | None, label: str, unit: str, *, brief: bool = False) -> Progress:
    """Progress of `total` units of work (None: not known), to be used in a `with` statement."""
    return Progress(total, label, unit, brief=brief)


def waiting(label: str) -> Progress:
    """Work of which nothing is counted: told of if it takes long, to be used in a `with`."""
    return Progress(None, label, "", brief=True)


def settled() -> None:
    """Nothing is waited for any more: what goes on from here, as a server does, has no end."""
    with _change:
        waits = [one for one in _opened if not one.unit]
    for one in waits:
        one.settle()


_opened: list[Progress] = []
_change = threading.Lock()
_watch: list[threading.Thread] = []


def _open(one: Progress) -> None:
    with _change:
        _opened.append(one)
        if not _watch or not _watch[0].is_alive():  # of a forked process it is not
            _watch[:] = [threading.Thread(target=_keep_telling, daemon=True)]
            _watch[0].start()


def _close(one: Progress) -> None:
    with _change:
        _opened.remove(one)


def _keep_telling() -> None:
    before: Progress | None = None
    while True:
        time.sleep(BEAT_S)
        with _change:
            counted = [one for one in _opened if one.unit]
            speaking = next(reversed(counted or _opened), None)
            others = [one for one in _opened if one is not speaking]
        if speaking is not None:
            for one in others:
                one.step_aside()
            if speaking is before:
                speaking.beat()
        before = speaking


def _bar(of: Progress) -> Any:
    from tqdm import tqdm  # a bar is for terminals; logs do not need it

    return tqdm(
        total=of.total, desc=of.label, unit=f" {of.unit}", file=of._stream, dynamic_ncols=True,
        leave=not of.brief, bar_format=None if of.unit else "{desc}: {elapsed}",
    )  # fmt: skip
