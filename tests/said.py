"""What commands say on stderr, where it is no terminal: progress after the time, errors without."""

import re

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")


def errors(text: str) -> list[str]:
    """Lines that are not of progress."""
    return [line for line in text.splitlines() if not STAMP.match(line)]


def told(text: str) -> list[str]:
    """Lines of progress, without the time."""
    return [STAMP.sub("", line) for line in text.splitlines() if STAMP.match(line)]
