"""Scenes of two dates."""

from collections.abc import Sequence

from noise2map_core.catalog.interval import parse_intervals
from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.search import require_told_apart, search_scenes
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.runtime.errors import ConfigError, NoImageryError
from noise2map_core.settings.catalog import SearchConfig


def search_pair(
    search: SearchConfig, aoi: AreaOfInterest, before: str, after: str, bands: Sequence[str]
) -> tuple[list[Scene], list[Scene]]:
    """Scenes of both dates, the latest of each first: it is the one preferred for a pixel.

    `before` may be several ranges with commas between. Raises ConfigError if the first date does
    not end before the second begins.
    """
    first = _search_ranges(search, aoi, before, bands)[::-1]
    second = search_scenes(search, aoi, after, bands)[::-1]
    require_told_apart([*first, *second])
    if first[0].datetime >= second[-1].datetime:
        raise ConfigError(
            f"before ({before}) finds {first[0].id} of {first[0].datetime:%Y-%m-%d}, which is not "
            f"earlier than {second[-1].id} of {second[-1].datetime:%Y-%m-%d} in after ({after}). "
            "Set --before to the earlier range."
        )
    return first, second


def _search_ranges(
    search: SearchConfig, aoi: AreaOfInterest, ranges: str, bands: Sequence[str]
) -> list[Scene]:
    """Scenes of all ranges as of one, each once. Raises NoImageryError if none has any."""
    parse_intervals(ranges)  # all can be read, before the first is asked for
    found: dict[str, Scene] = {}
    nothing: NoImageryError | None = None
    for interval in ranges.split(","):
        try:
            scenes = search_scenes(search, aoi, interval, bands)
        except NoImageryError as error:
            nothing = error
        else:
            found |= {scene.id: scene for scene in scenes}
    if not found and nothing is not None:
        raise nothing
    return sorted(found.values(), key=lambda scene: (scene.datetime, scene.id))
