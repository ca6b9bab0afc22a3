"""Progress: a bar in a terminal, sparse lines in a log."""

import io
import re
import threading
from datetime import UTC, datetime

import pytest

from noise2map_core.runtime.progress import Progress, progress, settled


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Said(io.StringIO):
    """A log that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.first = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        self.first.set()
        return written


def said(log: io.StringIO) -> list[str]:
    """Lines of a log without their times."""
    return [line.partition(" ")[2] for line in log.getvalue().splitlines()]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end() -> None:
    clock, log = Clock(), io.StringIO()
    with Progress(100, "predict", "tile", stream=log, clock=clock) as bar:
        for _ in range(100):
            clock.now += 0.25
            bar.update(loss=0.5)
    assert said(log) == [
        "predict: 20/100 tile, 5 s, 20 s left, loss 0.5",
        "predict: 60/100 tile, 15 s, 10 s left, loss 0.5",
        "predict: 100/100 tile, 25 s, loss 0.5",
    ]


def test_a_line_of_a_log_says_when_it_was_written() -> None:
    log, before = io.StringIO(), datetime.now(UTC).replace(microsecond=0)
    with Progress(1, "read", "chip", stream=log, clock=Clock()) as bar:
        bar.update()
    stamp, _, told = log.getvalue().partition(" ")
    assert before <= datetime.fromisoformat(stamp) <= datetime.now(UTC)
    assert told == "read: 1/1 chip, 0 s\n"


def test_work_in_which_nothing_is_counted_is_told_of_while_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("noise2map_core.runtime.progress.FIRST_S", 0.0)
    monkeypatch.setattr("noise2map_core.runtime.progress.BEAT_S", 0.01)
    log, around = Said(), Said()
    with (
        Progress(None, "whole", "", stream=around, brief=True),
        Progress(None, "search", "", stream=log, brief=True),
    ):
        assert log.first.wait(20)
    assert all(re.fullmatch(r"search: \d+ s", line) for line in said(log))
    assert not around.getvalue(), "both spoke"


def test_what_is_settled_is_told_of_no_more() -> None:
    clock, log = Clock(), io.StringIO()
    with Progress(None, "view", "", log, clock, brief=True) as one:
        clock.now += 7
        one.beat()
        assert said(log) == ["view: 7 s"]
        settled()
        clock.now += 60
        one.beat()
    assert said(log) == ["view: 7 s"]


def test_the_same_line_does_not_come_twice_at_the_end() -> None:
    clock, log = Clock(), io.StringIO()
    with Progress(None, "start Ray", "", log, clock, brief=True) as one:
        clock.now += 7
        one.beat()
        clock.now += 0.4
    assert said(log) == ["start Ray: 7 s"]


def test_brief_work_is_not_told_of() -> None:
    clock, log = Clock(), io.StringIO()
    with Progress(4, "score", "chip", stream=log, clock=clock, brief=True) as bar:
        clock.now += 4.9
        bar.update(4)
    assert log.getvalue() == ""


def test_work_of_unknown_length_is_counted() -> None:
    log = io.StringIO()
    with Progress(None, "read", "chip", stream=log, clock=Clock()) as bar:
        bar.update(3)
    assert said(log) == ["read: 3 chip, 0 s"]


def test_work_that_fails_still_says_how_far_it_came() -> None:
    log = io.StringIO()
    try:
        with Progress(5, "read", "chip", stream=log, clock=Clock()) as bar:
            bar.update(2)
            raise RuntimeError
    except RuntimeError:
        pass
    assert said(log) == ["read: 2/5 chip, 0 s, 0 s left"]


def test_a_terminal_gets_a_bar() -> None:
    terminal = Terminal()
    with Progress(4, "predict", "tile", stream=terminal) as bar:
        bar.update(4, loss=0.123456)
    shown = terminal.getvalue()
    assert "predict: 100%" in shown
    assert "loss=0.1235" in shown
    assert "\r" in shown


def test_progress_goes_to_stderr(capsys) -> None:  # type: ignore[no-untyped-def]
    with progress(1, "read", "chip") as bar:
        bar.update()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.partition(" ")[2] == "read: 1/1 chip, 0 s\n"
