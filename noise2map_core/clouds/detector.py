"""Detectors of clouds: what one must be, and how it is found by its name."""

import re
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from noise2map_core.runtime.errors import ConfigError

CLEAR, CLOUD, SHADOW, UNKNOWN = 0, 1, 2, 255
"""What a detector says of a pixel; the first three are those of `Hidden`."""

ENTRY_POINTS = "noise2map.cloud_detectors"
"""Group of entry points under which installed packages offer detectors."""

Reflectance = NDArray[np.float32]
Classes = NDArray[np.uint8]


@runtime_checkable
class CloudDetector(Protocol):
    """A detector of clouds in the reflectance of one date.

    It is asked window by window, in any order, in several processes; each makes its own. The same
    window must always get the same answer: on one machine, to the byte.
    """

    name: str
    version: str
    """Changes whenever answers may: what was made with another one is made again."""
    sensors: tuple[str, ...]
    """Of "sentinel-2" and "landsat", those that it knows; empty: any."""
    levels: tuple[str, ...]
    """Of "l1c" (top of atmosphere) and "l2a" (surface), those that it knows; empty: any."""
    bands: tuple[tuple[str, ...], ...]
    """Sets of bands by STAC's common names; of those that all scenes have, the first is read."""
    pixel_m: float
    """Side of the pixels that it is shown, metres, unless the imagery's own are larger."""
    pixel_range_m: tuple[float, float]
    """Least and largest side of the imagery's own pixels."""
    window_px: int
    """Side of the windows that it is shown, pixels."""
    margin_px: int
    """Pixels along the edges of a window whose answers are not used."""

    def classes(self, reflectance: Reflectance, bands: tuple[str, ...], level: str) -> Classes:
        """CLEAR, CLOUD, SHADOW or UNKNOWN [window, window] of reflectance [band, window, window] of
        `bands`, 0 to about 1. `level` is "" if it is not known, which only a detector without
        `levels` sees. Where nothing was observed there is a mean, and the answer is not used."""
        ...


@lru_cache(maxsize=8)
def load_detector(name: str) -> CloudDetector:
    """The detector of a name: ours, an entry point's, or the object of "module:object", called if
    it is a class. Raises ConfigError if there is none, or it lacks what a detector has."""
    offered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name == "ukis-csmask":
        from noise2map_core.clouds.csmask import UkisCsmask  # knows this module

        return UkisCsmask()
    try:
        if ":" in name:
            module, _, path = name.partition(":")
            found: Any = import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
        elif name in offered:
            found = offered[name].load()
        else:
            raise ConfigError(
                f"mask.detector {name!r} is not known. Set it to none, "
                f"{', '.join(['ukis-csmask', *sorted(offered)])} or module:object."
            )
        made = found() if isinstance(found, type) else found
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"mask.detector {name!r} cannot be loaded: {error}. Mend it.") from error
    return _checked(name, made)


def _checked(name: str, made: Any) -> CloudDetector:
    if not isinstance(made, CloudDetector):
        wanted = [*CloudDetector.__annotations__, "classes"]
        lacking = ", ".join(part for part in wanted if not hasattr(made, part))
        raise ConfigError(f"mask.detector {name!r} is no detector of clouds: it lacks {lacking}.")
    if not 0 < 2 * made.margin_px < made.window_px:
        raise ConfigError(
            f"mask.detector {name!r}: its margin_px, {made.margin_px}, is not more than 0 and less "
            f"than half of its window_px, {made.window_px}."
        )
    return made


def sensor_name(sensor: str) -> str:
    """For people: "Sentinel-2" of "sentinel-2"."""
    return re.sub("^[a-z]", lambda found: found[0].upper(), sensor)
