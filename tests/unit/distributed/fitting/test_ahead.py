"""Batches are read ahead, in order, and no further than was asked."""

import threading
from itertools import count

import pytest

from noise2map_core.distributed.fitting.ahead import READ_AHEAD, read_ahead


def test_what_is_asked_comes_in_order_from_one_other_thread() -> None:
    threads = set[int]()

    def load(number: int) -> int:
        threads.add(threading.get_ident())
        return number * number

    assert list(read_ahead(load, range(20))) == [number * number for number in range(20)]
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert list(read_ahead(load, [])) == []


def test_the_next_are_read_while_one_is_used_and_not_all_of_them() -> None:
    read, ready = list[int](), threading.Event()

    def load(number: int) -> int:
        read.append(number)
        if number == READ_AHEAD:
            ready.set()
        return number

    batches = read_ahead(load, count())
    assert next(batches) == 0
    assert ready.wait(30)  # the first is in use, and so many more are there
    batches.close()
    assert read == list(range(READ_AHEAD + 1))


def test_an_error_comes_at_its_turn() -> None:
    def load(number: int) -> int:
        if number == 2:
            raise OSError("lost")
        return number

    batches = read_ahead(load, range(9))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(OSError, match="lost"):
        next(batches)
