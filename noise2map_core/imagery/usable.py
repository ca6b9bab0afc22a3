"""Which of the scenes that a search found are used: their files are there, show the area, and fit.

What an item says of its place only finds it. From here on a scene's footprint is that of its file.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import shapely

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.turns import outline_of
from noise2map_core.rasters.files import inspect
from noise2map_core.runtime.errors import AssetReadError, NoImageryError

MAX_NAMED = 3
"""Reasons for leaving scenes out that are written in full."""

_LOGGER = logging.getLogger(__name__)

Dates = Sequence[Sequence[Scene]]


def usable_scenes(dates: Dates, aoi: AreaOfInterest) -> list[list[Scene]]:
    """The scenes of each date whose files are there and show the area, in their order, with the
    files' own footprints.

    Opens every file once. A scene whose file is gone, or that has another type of numbers than most
    have, is left out with a line that says so, as long as its date has another. Raises
    NoImageryError if no file of a date shows the area, AssetReadError for what cannot be read.
    """
    present = _without(dates, _missing(dates))
    found = [_over(scenes, aoi) for scenes in present]
    return _without(found, _of_another_type(found))


def _missing(dates: Dates) -> dict[str, str]:
    """Of scenes whose files are not there, what is said of the first such file."""
    reasons = {}
    for scene in (scene for scenes in dates for scene in scenes):
        try:
            for source in scene.bands:
                inspect(source)
        except AssetReadError as error:
            if not error.missing:
                raise
            reasons[scene.id] = str(error)
    return reasons


def _of_another_type(dates: Dates) -> dict[str, str]:
    """Of scenes with a band of another type than most scenes' first, which; the preferred scene
    decides between equals."""
    types = {scene.id: _types(scene) for scenes in reversed(dates) for scene in scenes}
    usual = Counter(of_bands[0] for of_bands in types.values()).most_common(1)[0][0]
    others = {
        name: [dtype for dtype in of_bands if dtype != usual] for name, of_bands in types.items()
    }
    return {
        name: f"its numbers are {', '.join(found)}, those of most scenes {usual}."
        for name, found in others.items()
        if found
    }


def _types(scene: Scene) -> list[str]:
    """The types of a scene's bands, each once, in their order."""
    return list(dict.fromkeys(inspect(source).dtype for source in scene.bands))


def _without(dates: Dates, reasons: dict[str, str]) -> list[list[Scene]]:
    """The scenes of which there is no reason to leave them out; all, if a date would have none."""
    kept = [[scene for scene in scenes if scene.id not in reasons] for scenes in dates]
    if any(scenes and not rest for scenes, rest in zip(dates, kept, strict=True)):
        return [list(scenes) for scenes in dates]
    for name, reason in list(reasons.items())[:MAX_NAMED]:
        _LOGGER.warning("item %s is left out: %s", name, reason)
    if len(reasons) > MAX_NAMED:
        _LOGGER.warning("%d more items are left out like them.", len(reasons) - MAX_NAMED)
    return kept


def _over(scenes: Sequence[Scene], aoi: AreaOfInterest) -> list[Scene]:
    """The scenes whose first file meets the area, with its outline as their footprint."""
    outlines = [outline_of(inspect(scene.bands[0]).geobox) for scene in scenes]
    found = [
        replace(scene, footprint_wkb=shapely.to_wkb(outline))
        for scene, outline in zip(scenes, outlines, strict=True)
        if outline.intersects(aoi.geometry)
    ]
    if scenes and not found:
        raise NoImageryError(
            f"no file of {len(scenes)} items shows area {aoi.name}, though the items say so: "
            f"{scenes[0].bands[0].href} lies elsewhere. Mend the catalogue."
        )
    return found
