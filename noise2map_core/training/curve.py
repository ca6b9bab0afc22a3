"""The curves of a training as JSON lines: what the report draws, and any tool can read.

A line is an object: `step`, `time` (seconds since 1970), and figures by the names of their curves.
A run that was killed may have left half a line at the end, and steps behind its last state, which
the next one takes again: the later line counts.
"""

import errno
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from noise2map_core.runtime.atomic import unwritable
from noise2map_core.runtime.storage import is_local, read_bytes, upload

CURVE_FILE = "curve.jsonl"
"""Its name, in the folder of states."""
LOSS = "train/loss"
"""The curve of the loss, a figure a step."""


class CurveWriter:
    """Adds lines behind those that are there; OutputError says why it cannot.

    Objects cannot be appended to: elsewhere than on a disk the file is put whole, by `save`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scratch = None if is_local(path) else TemporaryDirectory(prefix="noise2map-")
        with self._explained():
            # Unbuffered: a kill loses no step, and nothing is left to be written by `close`.
            self._file = self._open().open("ab", buffering=0)

    def _open(self) -> Path:
        """A local file that holds the whole lines that are there."""
        if self._scratch is not None:
            copy = Path(self._scratch.name) / self._path.name
            copy.write_bytes(_whole_lines(self._path))
            return copy
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            os.truncate(self._path, len(_whole_lines(self._path)))
        return self._path

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a line; figures that are no numbers are left out, as JSON knows none."""
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        line = json.dumps({"step": step, "time": round(time.time(), 3), **finite}) + "\n"
        with self._explained():
            if self._file.write(line.encode()) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def save(self) -> None:
        """See that what was added lies where it belongs."""
        if self._scratch is not None:
            upload(Path(self._file.name), self._path)

    def close(self) -> None:
        """Save, and hold nothing any longer."""
        self.save()
        self._file.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self._path, error) from error


def read_losses(path: Path) -> list[tuple[int, float]]:
    """(step, loss) of every step in a file of curves, in order; none if there is no such file."""
    lines: Iterator[dict[str, Any]] = map(json.loads, _whole_lines(path).splitlines())
    return sorted({line["step"]: line[LOSS] for line in lines if LOSS in line}.items())


def _whole_lines(path: Path) -> bytes:
    content = b""
    with suppress(FileNotFoundError):
        content = read_bytes(path)
    return content[: content.rfind(b"\n") + 1]
