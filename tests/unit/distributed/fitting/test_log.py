from pathlib import Path
from typing import Any

from noise2map_core.distributed.board import Board
from noise2map_core.distributed.fitting.log import LOSS, TrainLog, read_losses


class Actor:
    """Stands for Ray's handle of an actor."""

    def __init__(self, board: Board) -> None:
        self.put = self
        self._board = board

    def remote(self, *args: Any) -> None:
        self._board.put(*args)


def log_of(board: Board, folder: Path, first: int, last: int) -> TrainLog:
    return TrainLog(Actor(board), folder, first, last, batch_size=8)


def test_losses_are_read_as_they_were_drawn_and_told(tmp_path: Path) -> None:
    board = Board()
    log = log_of(board, tmp_path, 0, 3)
    for loss in (0.5, 0.25, 0.125):
        log.step(loss, 0.0)
    log.epoch({"epoch": 1.0, "val_f1": 0.75, "tasks": {}}, ("epoch",))
    log.close()
    assert read_losses(tmp_path) == [(1, 0.5), (2, 0.25), (3, 0.125)]
    figures, points = board.take()
    assert [point[:3] for point in points] == [
        (LOSS, 0.5, 1), (LOSS, 0.25, 2), (LOSS, 0.125, 3),
        ("epoch/epoch", 1.0, 3), ("epoch/val_f1", 0.75, 3),
    ]  # fmt: skip
    assert figures["epoch"] == 1.0
    assert board.take() == ({}, [])


def test_a_step_that_was_taken_twice_counts_as_it_was_taken_last(tmp_path: Path) -> None:
    board = Board()
    killed = log_of(board, tmp_path, 0, 4)
    for loss in (0.5, 0.25, 9.0):
        killed.step(loss, 0.0)
    killed.close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])  # it was writing when it was killed
    file.rename(file.with_name(file.name.replace("tfevents.", "tfevents.0")))
    again = log_of(board, tmp_path, 2, 4)
    for loss in (0.125, 0.0625):
        again.step(loss, 0.0)
    again.close()
    assert read_losses(tmp_path) == [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.0625)]


def test_a_folder_without_curves_has_no_losses(tmp_path: Path) -> None:
    assert read_losses(tmp_path / "nothing") == []
