"""Work on many parts, by whoever does it: this process, its threads, or the tasks of a cluster."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

Made = TypeVar("Made")
Part = TypeVar("Part")

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


def where_seen(
    mapper: Mapper, make: Callable[[Part], Made | None], parts: Iterable[Part]
) -> Iterator[Made]:
    """What `make` makes of parts by `mapper`; of those of which it makes None, for it does not see
    there the folder that they lie in, in this process."""
    held = list(parts)
    for part, made in zip(held, mapper(make, held), strict=True):
        found = make(part) if made is None else made
        assert found is not None  # this process sees its own folders
        yield found


class Beside:
    """Single parts that are begun at once, each by a task of `mapper`, and made while this process
    goes on; as `where_seen`. At the end nothing of them is under way any more."""

    def __init__(self, mapper: Mapper) -> None:
        self._mapper, self._threads = mapper, ThreadPoolExecutor(REQUESTS)

    def __enter__(self) -> Self:
        return self

    def begin(self, make: Callable[[Part], Made | None], part: Part) -> "Future[Made]":
        """Begin with a part; its error is raised where its result is asked for."""
        return self._threads.submit(self._only, make, part)

    def _only(self, make: Callable[[Part], Made | None], part: Part) -> Made:
        (made,) = where_seen(self._mapper, make, [part])
        return made

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
