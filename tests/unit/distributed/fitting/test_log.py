import json
import time
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.distributed.board import Board
from noise2map_core.distributed.fitting.log import TrainLog
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import location
from noise2map_core.training.curve import CURVE_FILE, LOSS, read_losses
from tests.memory_bucket import keep_in_memory


class Actor:
    """Stands for Ray's handle of an actor."""

    def __init__(self, board: Board) -> None:
        self.put = self
        self._board = board

    def remote(self, *args: Any) -> None:
        self._board.put(*args)


def log_of(board: Board, folder: Path, first: int, last: int) -> TrainLog:
    curve = folder / "state" / CURVE_FILE
    return TrainLog(Actor(board), folder / "tensorboard", curve, first, last, batch_size=8)


def losses_in(folder: Path) -> list[tuple[int, float]]:
    return read_losses(folder / "state" / CURVE_FILE)


def test_losses_are_read_as_they_were_drawn_and_told(tmp_path: Path) -> None:
    board = Board()
    log = log_of(board, tmp_path, 0, 3)
    for loss in (0.5, 0.25, 0.125):
        log.step(loss, 0.0)
    log.epoch({"epoch": 1.0, "val_f1": 0.75, "tasks": {}}, ("epoch",))
    log.close()
    assert losses_in(tmp_path) == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*.000000000"))
    figures, points = board.take()
    assert [point[:3] for point in points] == [
        (LOSS, 0.5, 1), (LOSS, 0.25, 2), (LOSS, 0.125, 3),
        ("epoch/epoch", 1.0, 3), ("epoch/val_f1", 0.75, 3),
    ]  # fmt: skip
    assert figures["epoch"] == 1.0
    assert board.take() == ({}, [])


def test_steps_that_are_fetched_together_are_told_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, now = Board(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log = log_of(board, tmp_path, 0, 16)
    for _ in range(2):
        now[0] += 10
        for _ in range(8):
            log.step(0.5, 1.0)
        log.tell()
        figures, _ = board.take()
        assert (figures["samples/s"], figures["busy"]) == (8 * 8 / 10, "80 %")
    log.close()


def test_a_step_that_was_taken_twice_counts_as_it_was_taken_last(tmp_path: Path) -> None:
    board = Board()
    killed = log_of(board, tmp_path, 0, 4)
    for loss in (0.5, 0.25, 9.0):
        killed.step(loss, 0.0)
    killed.close()
    (file,) = (tmp_path / "state").iterdir()
    file.write_bytes(file.read_bytes()[:-5])  # it was writing when it was killed
    assert losses_in(tmp_path) == [(1, 0.5), (2, 0.25)]
    again = log_of(board, tmp_path, 2, 4)
    for loss in (0.125, 0.0625):
        again.step(loss, 0.0)
    again.close()
    assert losses_in(tmp_path) == [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.0625)]


def test_a_folder_without_curves_has_no_losses(tmp_path: Path) -> None:
    assert losses_in(tmp_path / "nothing") == []


def test_a_line_of_a_curve_is_json_whatever_the_loss(tmp_path: Path) -> None:
    log = log_of(Board(), tmp_path, 0, 2)
    log.step(0.5, 0.0)
    log.step(float("nan"), 0.0)
    log.epoch({"epoch": 1.0, "val_f1": 0.75, "tasks": {}}, ("epoch",))
    log.close()
    lines = (tmp_path / "state" / CURVE_FILE).read_text().splitlines()
    found = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [{name: value for name, value in line.items() if name != "time"} for line in found] == [
        {"step": 1, LOSS: 0.5}, {"step": 2}, {"step": 2, "epoch/epoch": 1.0, "epoch/val_f1": 0.75},
    ]  # fmt: skip


def test_curves_on_object_storage_are_put_at_every_state_and_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_in_memory(monkeypatch)
    folder = location("s3://bucket/run")
    before = log_of(Board(), folder, 0, 4)
    before.step(0.5, 0.0)
    before.save()
    before.step(9.0, 0.0)
    assert losses_in(folder) == [(1, 0.5)]
    before.close()
    assert losses_in(folder) == [(1, 0.5), (2, 9.0)]
    again = log_of(Board(), folder, 1, 4)
    again.step(0.25, 0.0)
    again.close()
    assert losses_in(folder) == [(1, 0.5), (2, 0.25)]


def test_a_curve_that_cannot_be_written_ends_a_run_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(OutputError, match=r"^cannot write .*curve\.jsonl: "):
        log_of(Board(), tmp_path, 0, 1)
