"""Sending once or several times, and what is known afterwards."""

from collections.abc import Callable
from dataclasses import dataclass

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

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
    refusals: list[NotTakenError] = []
    tries = Retrying(
        stop=stop_after_attempt(attempts),
        wait=wait_exponential(PAUSE_S, exp_base=2),
        retry=retry_if_exception(lambda error: isinstance(error, NotTakenError) and error.passing),
        reraise=True,
    )
    try:
        return Attempted(True, tries(_noting, send, refusals), len(refusals) + 1)
    except NotTakenError as error:
        return Attempted(False, str(error), len(refusals), all(one.sure for one in refusals))


def _noting(send: Callable[[], str], refusals: list[NotTakenError]) -> str:
    try:
        return send()
    except NotTakenError as error:
        refusals.append(error)
        raise
