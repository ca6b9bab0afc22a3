"""STAC items as they are read: plain documents, and where they lie."""

import re
import reprlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import shapely
from affine import Affine
from odc.geo.crs import CRSError
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.links import resolve
from noise2map_core.geo.geojson import finite_shape
from noise2map_core.geo.turns import WHOLE_MAP, outline_of, wrapped
from noise2map_core.runtime.errors import CatalogError

Document = dict[str, Any]
MAX_ID = 512
MAX_NUMBER = sys.float_info.max
"""Whole numbers of JSON may be longer than a float can be."""


def is_safe_id(text: str) -> bool:
    """True if an id may stand in a path and in a message: no way up, no root, nothing unprintable,
    of a length that people can read."""
    parts = text.replace("\\", "/").split("/")
    rooted = not parts[0] or re.fullmatch("[A-Za-z]:", parts[0]) is not None
    return not rooted and ".." not in parts and text.isprintable() and len(text) <= MAX_ID


@dataclass(frozen=True, slots=True)
class Item:
    """A STAC item as it was read. What it states wrongly is a CatalogError that names it."""

    document: Document
    href: str
    """Absolute path or URL of the document; asset links refer to it."""
    allowed: frozenset[str] = frozenset()
    """Internal hosts that its links may name."""

    @property
    def id(self) -> str:
        """The item's id, or where it lies if it has none."""
        found = str(self.document.get("id") or self.href)
        if found != self.href and not is_safe_id(found):
            raise CatalogError(
                f"item {reprlib.repr(found)} has an id that climbs out of a folder, is longer than "
                f"{MAX_ID} characters or hides some ({self.href}). Mend the catalogue."
            )
        return found

    @property
    def properties(self) -> Document:
        """The item's properties; empty if it has none."""
        return self.document.get("properties") or {}

    @property
    def assets(self) -> dict[str, Document]:
        """The item's assets by key. Raises CatalogError for what has no link."""
        found = self.document.get("assets")
        if not isinstance(found, dict):
            raise self.broken("it has no assets")
        for key, asset in found.items():
            if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
                raise self.broken(f"asset {key} has no href")
        return found

    @property
    def geometry(self) -> BaseGeometry:
        """Footprint in EPSG:4326, as written. Raises CatalogError if it is broken or missing."""
        try:
            return finite_shape(self.document["geometry"])
        except (
            ArithmeticError, AttributeError, KeyError, TypeError, ValueError,
            shapely.errors.ShapelyError,
        ):  # fmt: skip
            raise self.broken("it has no usable geometry") from None

    @property
    def place(self) -> BaseGeometry:
        """Where the item says that it lies, within ±180 however it writes its longitudes; anywhere,
        if it says nothing (`geometry: null`): its files know."""
        if "geometry" in self.document and self.document["geometry"] is None:
            return WHOLE_MAP
        return wrapped(self.geometry)

    def lies_over(self, area: BaseGeometry) -> bool:
        """True if the item says that it shows some of an area: by its footprint or, where that lies
        elsewhere (its axes swapped, say), by the grid that it states of its files."""
        return bool(self.place.intersects(area)) or any(
            grid.intersects(area) for grid in self._grids()
        )

    def _grids(self) -> Iterator[BaseGeometry]:
        """Outlines of the grids that the item and its assets state; what is none finds nothing."""
        for table in ({}, *self.assets.values()):
            stated = {**self.properties, **table}
            code = stated.get("proj:code") or stated.get("proj:epsg")
            shape, transform = stated.get("proj:shape"), stated.get("proj:transform")
            if code and shape and transform:
                with suppress(ArithmeticError, CRSError, TypeError, ValueError):
                    rows, cols = map(int, shape)
                    yield outline_of(GeoBox((rows, cols), Affine(*transform[:6]), code))

    @property
    def times(self) -> tuple[str, str]:
        """Start and end as written; equal for a single moment."""
        moment = self.properties.get("datetime")
        start, end = (self.properties.get(name) for name in ("start_datetime", "end_datetime"))
        if start and end:
            return str(start), str(end)
        if not moment:
            raise self.broken("it has neither a datetime nor a start and end")
        return str(moment), str(moment)

    def number(self, table: Document, name: str) -> float | None:
        """A field of a table of this item, finite; None if it is not there."""
        value = table.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.broken(f"its {name} is no number: {value!r}")
        if not abs(value) <= MAX_NUMBER:
            raise self.broken(f"its {name} is not a finite number: {value!r:.20}")
        return value

    def broken(self, reason: str) -> CatalogError:
        """What to say of an item that cannot be used."""
        return CatalogError(f"item {self.id}: {reason} ({self.href}). Mend the catalogue.")

    def resolve(self, href: str) -> str:
        """Absolute form of one of this item's links."""
        return resolve(href, self.href, f"item {self.id}", self.allowed)
