"""Waiting for servers that fail in passing: how often they are asked again, and what is said."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import TypeVar

import requests
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)
from urllib3.exceptions import InvalidChunkLength, NewConnectionError

from noise2map_core.runtime.notices import tell

BRIEF_S = 3.0
"""For what is seldom mended by waiting: a server that cannot be found or speaks no HTTP, a document
of status 500."""
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 10.0
MAX_RETRY_AFTER_S = 60.0
"""A server that asks for a longer pause is asked again after this one."""

BUSY = (408, 425, 429, 503)
"""Answers that say "later"."""
PASSING = (*BUSY, 500, 502, 504)
"""Answers that may be others a little later."""

T = TypeVar("T")
Say = Callable[[str], None]


class PassingError(Exception):
    """A failure that may be gone when the request is sent again."""

    def __init__(
        self,
        reason: str,
        *,
        retry_after_s: float = 0.0,
        brief: bool = False,
        answer: requests.Response | None = None,
    ) -> None:
        """`retry_after_s` is what the server asks for, 0 if nothing; `brief`: do not wait long."""
        super().__init__(reason)
        self.retry_after_s, self.brief, self.answer = retry_after_s, brief, answer


def _to_stderr(line: str) -> None:
    tell(line)


_say: ContextVar[Say] = ContextVar("say", default=_to_stderr)


@contextmanager
def told_to(say: Say) -> Iterator[None]:
    """Within the body, hand what is waited for to `say`; else it goes to stderr."""
    token = _say.set(say)
    try:
        yield
    finally:
        _say.reset(token)


def patiently(ask: Callable[[], T], what: str, patience_s: float) -> T:
    """What `ask` returns; asked again while it raises PassingError, with growing pauses.

    The time that passes before the last attempt is at most `patience_s`; only failures count, for
    the first success ends it. Says on stderr that it waits for `what`, why and how long. Raises
    PassingError when there is no time left for another attempt.
    """

    def pause_s(state: RetryCallState) -> float:
        asked = _failure(state).retry_after_s
        return min(asked, MAX_RETRY_AFTER_S) if asked > 0 else exponential(state)

    def tell(state: RetryCallState) -> None:
        _say.get()(
            f"waiting {state.upcoming_sleep:.1f} s for {what} ({_failure(state)}); "
            f"{state.seconds_since_start or 0.0:.0f} s of search.patience_s {patience_s:g} are over"
        )

    def stop(state: RetryCallState) -> bool:
        limit = min(BRIEF_S, patience_s) if _failure(state).brief else patience_s
        return stop_before_delay(limit)(state)

    exponential = wait_random_exponential(FIRST_PAUSE_S, MAX_PAUSE_S, min=FIRST_PAUSE_S / 2)
    attempts = Retrying(
        retry=retry_if_exception_type(PassingError),
        wait=pause_s,
        stop=stop,
        before_sleep=tell,
        reraise=True,
    )
    return attempts(ask)


def _failure(state: RetryCallState) -> PassingError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, PassingError)
    return error


def passing_answer(answer: requests.Response, *, file: bool = True) -> PassingError | None:
    """What to raise for an answer that may be another one later; None: it would not.

    Of a document, unlike a `file`, an inner error of the server is seldom over soon.
    """
    if answer.status_code not in PASSING:
        return None
    wanted = _retry_after(answer.headers.get("Retry-After"))
    asks = f", asks for {wanted:,.0f} s" if wanted > MAX_RETRY_AFTER_S else ""
    return PassingError(
        status_text(answer.status_code) + asks,
        retry_after_s=wanted,
        brief=not file and answer.status_code not in BUSY,
        answer=answer,
    )


def status_text(status: int) -> str:
    """A status as people know it: "HTTP 503, Service Unavailable"."""
    known = {one.value: one.phrase for one in HTTPStatus}
    return f"HTTP {status}, {known[status]}" if status in known else f"HTTP {status}"


def _retry_after(header: str | None) -> float:
    """Seconds of a Retry-After header, which may be a date; 0 for none, or one of no sense."""
    text = (header or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (OverflowError, ValueError):
        return 0.0


def passing_failure(error: requests.RequestException) -> PassingError | None:
    """What to raise for a request without an answer; None: it will never have one."""
    if isinstance(error, requests.exceptions.SSLError):
        return None
    if not isinstance(error, requests.ConnectionError | requests.Timeout):
        return None
    absent = any(isinstance(one, NewConnectionError) for one in _behind(error))
    strange = any(_is_no_http(one) for one in _behind(error))
    brief = absent or strange or isinstance(error, requests.exceptions.ConnectTimeout)
    return PassingError(_plain(error), brief=brief)


def _is_no_http(error: BaseException) -> bool:
    """True of an answer that breaks the protocol, rather than off."""
    if isinstance(error, RemoteDisconnected):
        return False
    broken = isinstance(error, HTTPException) and not isinstance(error, IncompleteRead)
    return broken or isinstance(error, InvalidChunkLength)


def _behind(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was made of, which requests and urllib3 keep in three ways."""
    yield error
    inner = (getattr(error, "reason", None), *error.args, error.__cause__)
    for one in inner:
        if isinstance(one, BaseException) and one is not error:
            yield from _behind(one)


def _plain(error: requests.RequestException) -> str:
    """The innermost text: urllib3 wraps it in the names of its own objects."""
    texts = [" ".join(str(one).split()) for one in _behind(error)]
    return min((text for text in texts if text), key=len, default="no answer")
