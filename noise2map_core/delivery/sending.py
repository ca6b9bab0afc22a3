"""Sending once or several times, and what is known afterwards."""

import time
from collections.abc import Callable
from dataclasses import dataclass

PAUSE_S = 0.5
"""Before the second attempt; doubled for each further one."""


class NotTakenError(Exception):
    """A message was not taken, or nobody knows whether it was. Its text holds no secret."""

    def __init__(self, reason: str, *, passing: bool, sure: bool = True) -> None:
        super().__init__(reason)
        self.passing = passing
        """Another attempt may do better."""
        self.sure = sure
        """False: it may have been taken, and the answer was lost."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """What came of some attempts."""

    taken: bool
    said: str
    """By the last attempt, if it failed, or beside a success."""
    attempts: int
    sure: bool = True
    """False: not known to be taken, and not known not to be."""


def attempt(send: Callable[[], str], attempts: int) -> Attempted:
    """Call `send` up to `attempts` times, until it raises no NotTakenError that passes."""
    sure = True
    for number in range(1, attempts + 1):
        try:
            return Attempted(True, send(), number)
        except NotTakenError as error:
            sure = sure and error.sure
            if not error.passing or number == attempts:
                return Attempted(False, str(error), number, sure)
        time.sleep(PAUSE_S * 2 ** (number - 1))
    raise AssertionError("there is one attempt at least")
