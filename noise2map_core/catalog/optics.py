"""What detectors of clouds may read of an item: its bands of sunlight, whichever are mapped."""

import re
from collections.abc import Iterator
from contextlib import suppress

from noise2map_core.catalog.bands import find_bands
from noise2map_core.catalog.item import Item
from noise2map_core.catalog.scene import BandSource, Optics
from noise2map_core.catalog.sensors import is_sentinel_2
from noise2map_core.runtime.errors import CatalogError

BANDS = (
    "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir08",
    "nir09", "cirrus", "swir16", "swir22",
)  # fmt: skip
"""STAC's common names."""

UNUSABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a band that is not as STAC has it leads to."""

_LANDSAT = re.compile(r"landsat|(?<![a-z0-9])l[coet]0[4-9](?![a-z0-9])", re.IGNORECASE)
_LEVEL = re.compile(
    r"(?:(?<![a-z0-9])|(?<=MSI))(?:S2MSI|L)(?:(1)(?:C|TP|GT|GS)?|(2)(?:A|SP|SR)?)(?![a-z0-9])",
    re.IGNORECASE,
)
_STATED = ("s2:product_type", "processing:level", "landsat:correction")


def find_optics(item: Item) -> Optics:
    """Bands, sensor and level, as far as the item says."""
    found = {name: source for name in BANDS if (source := _band(item, name))}
    return Optics(_sensor(item), _level(item), tuple(found.values()))


def _band(item: Item, name: str) -> BandSource | None:
    with suppress(CatalogError, *UNUSABLE):  # ambiguous, or stated wrongly: nobody asked for it yet
        found = find_bands(item, (name,))
        return found.sources[0] if found else None
    return None


def _sensor(item: Item) -> str:
    if is_sentinel_2(item):
        return "sentinel-2"
    properties, document = item.properties, item.document
    stated = [properties.get(name) for name in ("constellation", "platform")]
    names = stated if any(stated) else [document.get("collection"), document.get("id")]
    return "landsat" if any(_LANDSAT.search(str(name)) for name in names) else ""


def _level(item: Item) -> str:
    """ "l1c": at the top of the atmosphere, "l2a": at the surface; "" if nothing says."""
    for text in _texts(item):
        if found := _LEVEL.search(text):
            return "l1c" if found[1] else "l2a"
    return ""


def _texts(item: Item) -> Iterator[str]:
    for name in _STATED:
        yield str(item.properties.get(name, ""))
    yield from (str(item.document.get(name, "")) for name in ("collection", "id"))
