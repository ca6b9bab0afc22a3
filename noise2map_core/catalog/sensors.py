"""What is known of sensors beyond what STAC says of every item: scales, offsets and masks."""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from noise2map_core.catalog.item import Item
from noise2map_core.catalog.scene import BandSource, MaskKind, MaskSource
from noise2map_core.runtime.redact import unsigned

MASK_KEYS: dict[str, MaskKind] = {
    "scl": "scl", "SCL": "scl", "SCL_20m": "scl", "qa_pixel": "qa_pixel",
}  # fmt: skip
"""Asset keys of masks, as Earth Search, Planetary Computer, EOPF and USGS name them."""

SENTINEL_2_SCALE, SENTINEL_2_OFFSET = 0.0001, -0.1
SENTINEL_2_ADDED_DN = -1000
"""What brings numbers of Sentinel-2 with its offset to those without."""
OFFSET_SINCE = 4.0
"""Processing baseline (04.00) from which Sentinel-2 L2A numbers are 1000 larger."""

OFFSET_TAKEN_OFF = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
BASELINES = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
_SENTINEL_2 = re.compile(
    r"sentinel[-_ ]?2(?![0-9])|(?<![a-z0-9])s2[a-d]?(?![a-z0-9])", re.IGNORECASE
)
_BASELINE = re.compile(r"[Nn]?(\d{2})\.?(\d{2})|(\d{1,2}\.\d+)")

MAX_MAGNITUDE = 1e15
"""Scales and offsets beyond it measure nothing, and leave no digit of a number."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BandNumbers:
    """What the numbers in a band's *file* mean: physical value = scale · number + offset."""

    scale: float | None
    """None: not known, nor the offset."""
    offset: float | None
    added_dn: int = 0
    """What is added on reading, as `BandSource.added_dn`."""


def numbers_of(item: Item, table: Document) -> BandNumbers:
    """What item and sensor say of a band; `table` is the band's own fields over its asset's.

    Earth Search states Sentinel-2's offset and has, in most files, taken it off already
    (`earthsearch:boa_offset_applied`); Planetary Computer states neither scale nor offset, but the
    processing baseline. Other sensors' offsets, whole numbers of steps or not, stay: taken off, the
    numbers might not fit their type. Raises CatalogError for a scale or offset that is none.
    """
    scale, offset = _stated(item, table)
    if not is_sentinel_2(item):
        return BandNumbers(scale, offset)
    if any(item.properties.get(name) is True for name in OFFSET_TAKEN_OFF):
        return BandNumbers(scale, 0.0 if _is_sentinel_2_offset(scale, offset) else offset)
    if scale is None and _is_reflectance(table) and (baseline := _baseline(item)) is not None:
        shifted = baseline >= OFFSET_SINCE
        scale, offset = SENTINEL_2_SCALE, SENTINEL_2_OFFSET if shifted else 0.0
    added = SENTINEL_2_ADDED_DN if _is_sentinel_2_offset(scale, offset) else 0
    return BandNumbers(scale, offset, added)


def is_sentinel_2(item: Item) -> bool:
    """True if the item says so: by its platform or constellation; where it states neither, by
    Sentinel-2's own properties, its collection or its id."""
    properties = item.properties
    stated = [properties[name] for name in ("constellation", "platform") if properties.get(name)]
    if not stated:
        own = [name for name in properties if name.startswith(("s2:", "sentinel:"))]
        stated = [*("s2" for _ in own), item.document.get("collection"), item.document.get("id")]
    return any(_SENTINEL_2.search(str(name)) for name in stated)


def find_mask(item: Item) -> MaskSource | None:
    """The item's cloud mask, if it has one that is known."""
    for key, asset in item.assets.items():
        if key in MASK_KEYS:
            href, checksum = item.resolve(str(asset["href"])), asset.get("file:checksum")
            source = BandSource(key, unsigned(href), 1, None, checksum)
            signed = href if href != source.href else ""
            return MaskSource(MASK_KEYS[key], replace(source, signed=signed))
    return None


def _stated(item: Item, table: Document) -> tuple[float | None, float | None]:
    """Scale and offset as the item has them; of one alone, the other is 1 or 0."""
    scale, offset = (_field(item, table, name) for name in ("scale", "offset"))
    if scale is None and offset is None:
        return None, None
    scale, offset = 1.0 if scale is None else scale, offset or 0.0
    if not scale:
        raise item.broken("its scale is 0")
    return scale, offset


def _field(item: Item, table: Document, name: str) -> float | None:
    """A field as STAC 1.1 (`raster:scale`) or 1.0 (`raster:bands`) writes it."""
    value = item.number(table, f"raster:{name}")
    value = item.number(table, name) if value is None else value
    if value is not None and abs(value) > MAX_MAGNITUDE:
        raise item.broken(f"its {name} is beyond any measurement: {value:g}")
    return None if value is None else float(value)


def _is_sentinel_2_offset(scale: float | None, offset: float | None) -> bool:
    return (
        scale is not None
        and offset is not None
        and math.isclose(scale, SENTINEL_2_SCALE, rel_tol=1e-6)
        and math.isclose(offset, SENTINEL_2_OFFSET, rel_tol=1e-6)
    )


def _baseline(item: Item) -> float | None:
    """The processing baseline: "05.10", "N0510" and 5.1 are one."""
    for name in BASELINES:
        if match := _BASELINE.fullmatch(str(item.properties.get(name))):
            whole, part, plain = match.groups()
            return float(plain or f"{whole}.{part}")
    return None


def _is_reflectance(table: Document) -> bool:
    """True for Sentinel-2's bands B01 to B12."""
    names = {str(table.get("name")), *(str(b.get("name")) for b in table.get("eo:bands") or [])}
    return any(name[:1] == "B" and name[1:3].rstrip("A").isdigit() for name in names)
