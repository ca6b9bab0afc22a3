"""What steps need, made ready while the steps before them are taken."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Asked = TypeVar("Asked")
Loaded = TypeVar("Loaded")

READ_AHEAD = 2
"""Batches that are ready or being read, besides the one that is learnt from."""


def read_ahead(load: Callable[[Asked], Loaded], asked: Iterable[Asked]) -> Generator[Loaded]:
    """What `load` gives for each that is asked, in order, from one thread.

    Raises what `load` raised, at its turn. Closing it waits for the one that is being read.
    """
    left, ready = iter(asked), deque[Future[Loaded]]()
    with ThreadPoolExecutor(1, thread_name_prefix="noise2map-load") as pool:
        ready += (pool.submit(load, one) for one in islice(left, READ_AHEAD))
        try:
            while ready:
                first = ready.popleft().result()
                ready += (pool.submit(load, one) for one in islice(left, 1))
                yield first
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
