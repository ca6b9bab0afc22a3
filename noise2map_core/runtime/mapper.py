"""Work on many parts, by whoever does it: this process, its threads, or the tasks of a cluster."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

Made = TypeVar("Made")

REQUESTS = 16
"""To storage, that are waited for at once."""


class Mapper(Protocol):
    """As `map`: what `make` makes of each part, in the order of the parts, as it is asked for.

    `make` and parts must be picklable, for parts may be made in other processes; an error is raised
    where its part would come.
    """

    def __call__(self, make: Callable[[Any], Made], parts: Iterable[Any], /) -> Iterator[Made]:
        """What is made of the parts."""


def here(make: Callable[[Any], Made], parts: Iterable[Any], /) -> Iterator[Made]:
    """The parts one by one in this process."""
    return map(make, parts)


def at_once(make: Callable[[Any], Made], parts: Iterable[Any], /) -> Iterator[Made]:
    """By `REQUESTS` threads, which wait for storage together; what is not begun when an error is
    raised is not made."""
    with ThreadPoolExecutor(REQUESTS) as pool:
        try:
            yield from pool.map(make, parts)
        finally:
            pool.shutdown(cancel_futures=True)
