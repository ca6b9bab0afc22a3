"""Results as notebooks show them: a picture, the lines for people, links to files."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from noise2map_core.report.images import png_url
from noise2map_core.report.pages import render
from noise2map_core.runtime.redact import redacted, unsigned
from noise2map_core.runtime.storage import is_local

MOST_PICTURE_BYTES = 4_000_000
"""A notebook keeps what it shows."""


class _Summarised(Protocol):
    def summary(self) -> list[str]: ...

    def files(self) -> Mapping[str, Path]: ...


class Shown:
    """A result that a notebook shows by itself."""

    def files(self) -> Mapping[str, Path]:
        """What was written, by what it is called; a PNG among it is shown."""
        return {}

    def _repr_html_(self: _Summarised) -> str:
        files = self.files()
        return render(
            "result.html",
            pictures=list(_pictures(files.values())),
            lines=[redacted(line) for line in self.summary()],
            links=[(name, _address(path)) for name, path in files.items()],
        )


def _pictures(files: Iterable[Path]) -> Iterator[str]:
    """Those that lie on this machine and are small enough, as `data:` URLs."""
    for path in files:
        known = path.suffix == ".png" and is_local(path) and path.is_file()
        if known and path.stat().st_size <= MOST_PICTURE_BYTES:
            yield png_url(path)


def _address(path: Path) -> str:
    """As a notebook of the current folder finds it; of object storage, where it lies."""
    return Path(os.path.relpath(path)).as_posix() if is_local(path) else unsigned(str(path))
