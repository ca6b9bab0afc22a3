"""Progress: a bar in a terminal, sparse lines in a log."""

import io

from noise2map_core.runtime.progress import Progress, progress


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


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
    assert log.getvalue().splitlines() == [
        "predict: 40/100 tile, 10 s, loss 0.5",
        "predict: 80/100 tile, 20 s, loss 0.5",
        "predict: 100/100 tile, 25 s, loss 0.5",
    ]


def test_work_of_unknown_length_is_counted() -> None:
    log = io.StringIO()
    with Progress(None, "read", "chip", stream=log, clock=Clock()) as bar:
        bar.update(3)
    assert log.getvalue() == "read: 3 chip, 0 s\n"


def test_work_that_fails_still_says_how_far_it_came() -> None:
    log = io.StringIO()
    try:
        with Progress(5, "read", "chip", stream=log, clock=Clock()) as bar:
            bar.update(2)
            raise RuntimeError
    except RuntimeError:
        pass
    assert log.getvalue() == "read: 2/5 chip, 0 s\n"


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
    assert err == "read: 1/1 chip, 0 s\n"
