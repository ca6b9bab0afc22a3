"""Finding the bands that were asked for among an item's assets."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from noise2map_core.catalog.assets.zarr import array_href, is_group, is_zarr, says_zarr
from noise2map_core.catalog.item import Item
from noise2map_core.catalog.scene import BandSource
from noise2map_core.catalog.sensors import MASK_KEYS, numbers_of
from noise2map_core.runtime.errors import CatalogError
from noise2map_core.runtime.redact import unsigned

PICTURE_ROLES = {"thumbnail", "overview", "visual", "metadata"}
"""Assets of these roles are looked at, not measured; their bands are found by asset key only. One
that is data besides is taken where nothing else has the band: imagery that is a picture."""


RGB = ("red", "green", "blue")

UNMEASURED = PICTURE_ROLES | {"labels", "labels-raster", "data-mask", "saturation", "cloud"}
"""Roles of assets whose numbers are no picture of the ground."""


class LacksBandsError(CatalogError):
    """An item that has some of the bands that were asked for, and lacks others."""


@dataclass(frozen=True, slots=True)
class _Band:
    """One band of one asset, and the names it goes by."""

    asset: str
    number: int
    count: int
    name: str | None
    common_name: str | None


ALIKE = {"nir": "nir08"}
"""By what other common name a band goes that a sensor has but once."""


@dataclass(frozen=True, slots=True)
class FoundBands:
    """The bands of one item that were asked for."""

    sources: tuple[BandSource, ...]
    """In the order of the question."""
    gsd: float | None
    """The finest of their ground sample distances, metres, as far as the assets state them."""
    assets: tuple[str, ...]
    """Keys of their assets."""


def find_bands(item: Item, names: Sequence[str]) -> FoundBands | None:
    """The sources of bands `names`; None if the item has none of them.

    A name is an asset key (of an asset of one band), else a band's name, else its common name.
    `nir` is Landsat's nir08, too, where an item has no other near infrared.
    Raises LacksBandsError if some are missing, CatalogError if a name fits several bands.
    """
    bands = list(_bands(item))
    found = {
        name: _find(item, bands, name) or _find(item, bands, ALIKE.get(name, name))
        for name in names
    }
    if not any(found.values()):
        return None
    if missing := [name for name, band in found.items() if band is None]:
        raise LacksBandsError(
            f"item {item.id} has no band {', '.join(map(repr, missing))}; "
            f"it has: {', '.join(band_names(item))}. Set search.bands to bands of these."
        )
    sources = tuple(_source(item, name, band) for name, band in found.items() if band)
    assets = [item.assets[band.asset] for band in found.values() if band]
    gsd = min((gsd for a in assets if (gsd := item.number(a, "gsd"))), default=None)
    return FoundBands(sources, gsd, tuple(band.asset for band in found.values() if band))


def band_names(item: Item) -> list[str]:
    """Names under which the item's bands can be asked for, in order."""
    names = [band.asset if band.count == 1 else band.name for band in _bands(item)]
    return list(dict.fromkeys(name for name in names if name))


def pictured_bands(item: Item) -> tuple[str, ...]:
    """Names of the bands that show an item to people: red, green and blue if it has them, else the
    first three that are measured, or the first of fewer; empty if it has no band."""
    with suppress(CatalogError):  # lacks some, or has several of a name
        if find_bands(item, RGB):
            return RGB
    measured = [band for band in _bands(item) if _is_measured(item, band)]
    names = [band.asset if band.count == 1 else band.name for band in measured]
    found = tuple(dict.fromkeys(name for name in names if name))
    return found[: 3 if len(found) >= 3 else 1]


def _is_measured(item: Item, band: _Band) -> bool:
    """False for pictures, documents and masks."""
    asset = item.assets[band.asset]
    image = says_zarr(asset) or str(asset.get("type") or "image/").lower().startswith("image/")
    return image and band.asset not in MASK_KEYS and not UNMEASURED & set(_roles(item, band.asset))


def _bands(item: Item) -> list[_Band]:
    found = []
    for key, asset in item.assets.items():
        tables = _tables(asset)
        for number, table in enumerate(tables, start=1):
            common = table.get("eo:common_name", table.get("common_name"))
            found.append(_Band(key, number, len(tables), table.get("name"), common))
    return found


def _tables(asset: dict[str, Any]) -> list[dict[str, Any]]:
    """Band tables of STAC 1.1 (`bands`) or 1.0 (`eo:bands` beside `raster:bands`); one at least."""
    if asset.get("bands"):
        return list(asset["bands"])
    optical, raster = asset.get("eo:bands") or [], asset.get("raster:bands") or []
    count = max(len(optical), len(raster), 1)
    optical, raster = (part + [{}] * (count - len(part)) for part in (optical, raster))
    return [{**b, **a} for a, b in zip(optical, raster, strict=True)]


def _find(item: Item, bands: list[_Band], name: str) -> _Band | None:
    by_key = [band for band in bands if band.asset == name]
    if len(by_key) == 1:
        return by_key[0]
    measured = [band for band in bands if not PICTURE_ROLES & set(_roles(item, band.asset))]
    pictures = [band for band in bands if {"visual", "data"} <= set(_roles(item, band.asset))]
    matches = _named(measured, name) or by_key or _named(pictures, name)
    matches = _narrowed(item, matches)
    if len(matches) > 1:
        places = ", ".join(f"band {band.number} of asset {band.asset}" for band in matches)
        raise CatalogError(
            f"band {name!r} of item {item.id} is ambiguous: it fits {places}. "
            f"Set search.bands to names of: {', '.join(band_names(item))}."
        )
    return matches[0] if matches else None


def _narrowed(item: Item, matches: list[_Band]) -> list[_Band]:
    """Of several assets that hold a band: one that holds it alone; else a group of arrays before
    a picture of several bands; of groups, the finest."""
    groups = [band for band in matches if is_group(item.assets[band.asset])]
    alone = [band for band in matches if band.count == 1 and band not in groups]
    chosen = alone or groups or matches
    if chosen is groups and len(groups) > 1:
        sizes = [item.number(item.assets[band.asset], "gsd") or math.inf for band in groups]
        chosen = [band for band, gsd in zip(groups, sizes, strict=True) if gsd == min(sizes)]
    return chosen


def _named(bands: list[_Band], name: str) -> list[_Band]:
    """Bands of a name or, if there is none, of a common name."""
    by_name = [band for band in bands if band.name == name]
    return by_name or [band for band in bands if band.common_name == name]


def _roles(item: Item, asset: str) -> list[str]:
    roles: list[str] = item.assets[asset].get("roles") or []
    return roles


def _source(item: Item, name: str, band: _Band) -> BandSource:
    asset = item.assets[band.asset]
    table = {**asset, **_tables(asset)[band.number - 1]}
    nodata, href = table.get("nodata"), item.resolve(array_href(asset, band.name))
    if says_zarr(asset) and not is_zarr(href):
        raise item.broken(f"asset {band.asset} is Zarr, but no part of its address ends with .zarr")
    numbers = numbers_of(item, table)
    return BandSource(
        name=name,
        href=unsigned(href),
        band=1 if is_group(asset) else band.number,
        nodata=None if nodata is None else float(nodata),
        checksum=asset.get("file:checksum"),
        scale=numbers.scale,
        offset=numbers.offset,
        added_dn=numbers.added_dn,
        signed=href if href != unsigned(href) else "",
    )
