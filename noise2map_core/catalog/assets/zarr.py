"""Assets that are Zarr: arrays of one band, groups of several, as items of EOPF have them."""

from typing import Any
from urllib.parse import urlsplit

SUFFIX = ".zarr"
GROUP_ROLE = "dataset"
"""Role of an asset that is a group of arrays, one for each band, named as the band in small
letters."""


def is_zarr(href: str) -> bool:
    """True for an address within a store: a part of its path ends with .zarr."""
    return any(part.lower().endswith(SUFFIX) for part in urlsplit(href).path.split("/"))


def says_zarr(asset: dict[str, Any]) -> bool:
    """True if an asset's media type is that of Zarr, in one of its spellings."""
    kind = str(asset.get("type") or "").lower()
    return kind.startswith(("application/vnd+zarr", "application/vnd.zarr", "application/x-zarr"))


def is_group(asset: dict[str, Any]) -> bool:
    """True for a group of arrays."""
    return says_zarr(asset) and GROUP_ROLE in (asset.get("roles") or [])


def array_href(asset: dict[str, Any], band: str | None) -> str:
    """The address of a band's array; of a group, below it."""
    href = str(asset["href"])
    return f"{href.rstrip('/')}/{band.lower()}" if band and is_group(asset) else href
