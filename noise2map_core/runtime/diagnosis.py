"""What to say of an error in one line."""

import errno
from collections.abc import Iterator

from noise2map_core.runtime.errors import Noise2MapError, explained

MAX_LINE = 4000
"""Characters of an error's line."""


def diagnosis(error: BaseException) -> tuple[str, int]:
    """What to say of an error in one line, and the exit code that goes with it."""
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted; the same command continues where this one ended.", 130
    for cause in _causes(error):
        if isinstance(cause, Noise2MapError):
            return f"{type(cause).__name__}: {_joined(cause)}", cause.exit_code
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" for {cause.filename}" if cause.filename else ""
            return (
                f"OutputError: no space left{where}. Free some and run the same command again.",
                1,
            )
        if isinstance(cause, OSError) and cause.errno is not None and cause.filename:
            return f"{type(cause).__name__}: {explained(cause)} (--debug shows the traceback)", 1
    root = next(_causes(error))
    return f"{type(root).__name__}: {_joined(root)} (--debug shows the traceback)", 1


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what is behind it, the one that tells most first.

    Ray hands on a worker's error as one that carries the original as `cause` and whose text is a
    whole traceback; it may even be an instance of the original's class, so the cause goes first.
    """
    inner = getattr(error, "cause", None)
    if isinstance(inner, BaseException):
        yield from _causes(inner)
    yield error
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)


def _joined(error: BaseException) -> str:
    """An error's text on one line that a terminal can show: what came from outside may be long, or
    hold what a terminal would obey."""
    text = " ".join(str(error).split()) or "no message"
    shown = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
    return (
        shown if len(shown) <= MAX_LINE else f"{shown[: MAX_LINE // 2]} … {shown[-MAX_LINE // 2 :]}"
    )
