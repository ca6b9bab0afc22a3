"""Scenes of two dates."""

from collections.abc import Sequence

from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.search import require_told_apart, search_scenes
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.catalog import SearchConfig


def search_pair(
    search: SearchConfig, aoi: AreaOfInterest, before: str, after: str, bands: Sequence[str]
) -> tuple[list[Scene], list[Scene]]:
    """Scenes of both date ranges, the latest of each first: it is the one preferred for a pixel.

    Raises ConfigError if the first range does not end before the second begins.
    """
    first = search_scenes(search, aoi, before, bands)[::-1]
    second = search_scenes(search, aoi, after, bands)[::-1]
    require_told_apart([*first, *second])
    if first[0].datetime >= second[-1].datetime:
        raise ConfigError(
            f"before ({before}) finds {first[0].id} of {first[0].datetime:%Y-%m-%d}, which is not "
            f"earlier than {second[-1].id} of {second[-1].datetime:%Y-%m-%d} in after ({after}). "
            "Set --before to the earlier range."
        )
    return first, second
