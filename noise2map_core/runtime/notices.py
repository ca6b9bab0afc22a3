"""Lines for people while work goes on: on stderr, with the time where that is no terminal."""

import sys
from datetime import UTC, datetime
from typing import TextIO


def tell(line: str, stream: TextIO | None = None) -> None:
    """Say a line on stderr at once; in a log the time, UTC, stands before it."""
    stream = stream or sys.stderr
    stamp = "" if stream.isatty() else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} "
    print(f"{stamp}{line}", file=stream, flush=True)
