"""What is known of sensors beyond what STAC says of every item: scales, offsets and masks."""

from dataclasses import replace
from typing import Any

from noise2map_core.catalog.item import Item
from noise2map_core.catalog.scene import BandSource, MaskKind, MaskSource
from noise2map_core.redact import unsigned

MASK_KEYS: dict[str, MaskKind] = {"scl": "scl", "SCL": "scl", "qa_pixel": "qa_pixel"}
"""Asset keys of masks, as Earth Search, Planetary Computer and USGS name them."""

SENTINEL_2_SCALE, SENTINEL_2_OFFSET = 0.0001, -0.1
OFFSET_SINCE = "04.00"
"""Processing baseline from which Sentinel-2 L2A numbers are 1000 larger."""

Document = dict[str, Any]


def scale_and_offset(item: Item, table: Document) -> tuple[float | None, float | None]:
    """Scale and offset of a band's numbers in its *file*: reflectance = scale · number + offset.

    `table` is the band's own fields over its asset's. Earth Search states Sentinel-2's offset and
    has, in most files, taken it off already (`earthsearch:boa_offset_applied`); Planetary Computer
    states neither scale nor offset, but the processing baseline.
    """
    properties = item.properties
    scale, offset = (_field(item, table, name) for name in ("scale", "offset"))
    if properties.get("earthsearch:boa_offset_applied") is True:
        return scale, 0.0 if offset is not None else None
    if scale is None and _is_sentinel_2_reflectance(item, properties, table):
        baseline = str(properties["s2:processing_baseline"])
        return SENTINEL_2_SCALE, SENTINEL_2_OFFSET if baseline >= OFFSET_SINCE else 0.0
    return scale, offset


def find_mask(item: Item) -> MaskSource | None:
    """The item's cloud mask, if it has one that is known."""
    for key, asset in item.assets.items():
        if key in MASK_KEYS:
            href, checksum = item.resolve(str(asset["href"])), asset.get("file:checksum")
            source = BandSource(key, unsigned(href), 1, None, checksum)
            signed = href if href != source.href else ""
            return MaskSource(MASK_KEYS[key], replace(source, signed=signed))
    return None


def _field(item: Item, table: Document, name: str) -> float | None:
    """A field as STAC 1.1 (`raster:scale`) or 1.0 (`raster:bands`) writes it."""
    value = item.number(table, f"raster:{name}")
    value = item.number(table, name) if value is None else value
    return None if value is None else float(value)


def _is_sentinel_2_reflectance(item: Item, properties: Document, table: Document) -> bool:
    """Bands B01 to B12 of an item that states its baseline."""
    names = {str(table.get("name")), *(str(b.get("name")) for b in table.get("eo:bands") or [])}
    return bool(properties.get("s2:processing_baseline")) and any(
        name[:1] == "B" and name[1:3].rstrip("A").isdigit() for name in names
    )
