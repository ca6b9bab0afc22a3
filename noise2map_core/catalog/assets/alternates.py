"""Other addresses of an item's assets (STAC's extension alternate-assets): in a bucket, say."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from noise2map_core.catalog.item import Document, Item
from noise2map_core.catalog.links import REMOTE_SCHEMES
from noise2map_core.runtime.errors import CatalogError


def with_alternates(item: Item, name: str) -> Item:
    """The item, its assets at the alternate addresses of this name, where they have one.

    Without a name, an asset keeps its own address, unless that is of a kind that is not read and
    one of the others is. Raises CatalogError if no asset has one of this name.
    """
    known = {one for asset in item.assets.values() for one in _alternates(asset)}
    if name and name not in known:
        has = f"it has: {', '.join(sorted(known))}" if known else "it has none at all"
        raise CatalogError(
            f"item {item.id} has no alternate address {name!r}; {has}. Set search.alternate to one "
            "of these, or leave it out."
        )
    if not known:
        return item
    assets = {key: _moved(asset, name) for key, asset in item.assets.items()}
    return replace(item, document={**item.document, "assets": assets})


def _moved(asset: Document, name: str) -> Document:
    others = _alternates(asset)
    if name:
        return {**asset, **others.get(name, {})}
    if _is_read(asset["href"]):
        return asset
    return {
        **asset,
        **next((others[one] for one in sorted(others) if _is_read(others[one]["href"])), {}),
    }


def _alternates(asset: Document) -> dict[str, dict[str, Any]]:
    """Addresses by name; what has none (ways to open the same files) is left out."""
    found = asset.get("alternate")
    if not isinstance(found, dict):
        return {}
    return {
        key: one
        for key, one in found.items()
        if isinstance(one, dict) and isinstance(one.get("href"), str)
    }


def _is_read(href: str) -> bool:
    scheme = urlsplit(href).scheme
    return not scheme or len(scheme) == 1 or scheme in (*REMOTE_SCHEMES, "file")
