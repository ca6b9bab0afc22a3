"""The scenes of a slice, kept beside it: what a reviewer's pictures are read from later."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.scene_json import scene_from_json, scene_to_json
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import listed

FORMAT_VERSION = 1
FOLDER = "scenes"
"""In the folder of an area: one file a slice."""


@dataclass(frozen=True)
class SliceScenes:
    """What a slice was made from."""

    day: date
    before: tuple[Scene, ...]
    """Of the earlier date, the preferred one first."""
    after: tuple[Scene, ...]
    resolution: float
    """Side of the map's pixels, units of its CRS."""
    origin: tuple[float, float]
    """x and y where its pixels are counted from."""


def write_scenes(
    area: Path, day: date, before: Sequence[Scene], after: Sequence[Scene], grid: RegionGrid
) -> None:
    """Write the scenes of a slice, whole or not at all; their addresses are unsigned."""
    document = {
        "format_version": FORMAT_VERSION,
        "resolution": grid.resolution,
        "origin": [grid.x_origin, grid.y_origin],
        "before": [scene_to_json(scene) for scene in before],
        "after": [scene_to_json(scene) for scene in after],
    }
    (area / FOLDER).mkdir(parents=True, exist_ok=True)
    write_atomically(area / FOLDER / f"{day}.json", json.dumps(document, indent=1) + "\n")


def read_scenes(area: Path) -> list[SliceScenes]:
    """The scenes of all slices, by day. Raises OutputError for a file that is damaged."""
    folder = area / FOLDER
    paths = listed(folder, ".json") if folder.is_dir() else []
    return sorted((_read(path) for path in paths), key=lambda one: one.day)


def _read(path: Path) -> SliceScenes:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format_version is {document['format_version']!r}")
        before, after = (
            tuple(scene_from_json(one) for one in document[name]) for name in ("before", "after")
        )
        x, y = document["origin"]
        day, resolution = date.fromisoformat(path.stem), float(document["resolution"])
        return SliceScenes(day, before, after, resolution, (float(x), float(y)))
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path} is damaged: {' '.join(str(error).split())[:200]}. Restore it, or delete it: "
            "the pictures of its day are missing then."
        ) from error
