"""The cursor of an area: up to which day it is mapped, and from what the newest slice was made."""

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from noise2map_core.catalog.scene import Scene
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import OutputError

FORMAT_VERSION = 1
NAME = "cursor.json"


@dataclass(frozen=True)
class Cursor:
    """Where an area stands."""

    through: date
    """Day of the newest slice, or of imagery that could not become one."""
    items: dict[str, str] = field(default_factory=dict)
    """Items behind the newest slice, both dates: id and `fingerprint`."""
    grid: dict[str, Any] = field(default_factory=dict)
    """Settings of the grid of every slice, whatever imagery may come: as of the first."""
    slice: date | None = None
    """Day of the newest slice; None: there is none yet."""
    rule: str = ""
    """`rule_of` the newest slice: by which settings its items were chosen."""


def fingerprint(scene: Scene, *, detecting: bool = False) -> str:
    """Changes if a catalogue replaces an item's files or says other things of them; with
    `detecting`, those that clouds may be detected in, too."""
    sources = [*scene.bands, *([scene.mask.source] if scene.mask else [])]
    sources += scene.optics.bands if detecting and scene.optics else ()
    return digest_of(
        [scene.datetime.isoformat(), scene.footprint_wkb.hex(),
         [[one.href, one.band, one.nodata, one.checksum] for one in sources]]
    )[:16]  # fmt: skip


def read_cursor(output: Path) -> Cursor | None:
    """The cursor of an area's output; None before its first night. Raises OutputError."""
    path = output / NAME
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format_version is {body['format_version']!r}")
        newest = date.fromisoformat(body["slice"]) if body["slice"] else None
        through = date.fromisoformat(body["through"])
        return Cursor(through, body["items"], body["grid"], newest, body["rule"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path} is damaged: {' '.join(str(error).split())}. Restore it, or delete it to map "
            "the area again from its first day: finished tiles are kept."
        ) from error


def write_cursor(output: Path, cursor: Cursor) -> None:
    """Write `cursor.json`: the last thing that a slice does."""
    body = {"format_version": FORMAT_VERSION, **asdict(cursor)}
    write_atomically(output / NAME, json.dumps(body, indent=1, default=str) + "\n")
