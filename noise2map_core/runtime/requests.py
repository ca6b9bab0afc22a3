"""Requests to storage, several waited for at once."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

REQUESTS = 16
"""That are waited for at once."""


def at_once(ask: Callable[[Asked], Answer], asked: Iterable[Asked]) -> Iterator[Answer]:
    """As `map`, but the answers of `REQUESTS` are waited for together; `ask` is called by threads.

    An error is raised where its answer would come; what is not begun by then is not asked.
    """
    with ThreadPoolExecutor(REQUESTS) as pool:
        try:
            yield from pool.map(ask, asked)
        finally:
            pool.shutdown(cancel_futures=True)
