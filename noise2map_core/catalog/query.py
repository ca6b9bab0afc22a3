"""What is asked of a catalogue, and whether an item meets it."""

from collections.abc import Iterable
from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.filter import PropertyFilter
from noise2map_core.catalog.interval import Interval, parse_time
from noise2map_core.catalog.item import Item
from noise2map_core.runtime.errors import CatalogError


@dataclass(frozen=True, slots=True)
class Query:
    """Items of one collection over an area; None: any time, any properties."""

    collection: str
    area: BaseGeometry
    """In EPSG:4326."""
    interval: Interval | None = None
    filter: PropertyFilter | None = None

    def matches(self, item: Item) -> bool:
        """True if the item meets all of it.

        Raises CatalogError if its place or time is broken, and the filter does not leave it out.
        """
        return self.filtered(item) and self.meets_time(item) and item.lies_over(self.area)

    def meets_time(self, item: Item) -> bool:
        """True if the item's time shares a moment with the interval."""
        if self.interval is None:
            return True
        start, end = item.times
        try:
            return self.interval.overlaps(parse_time(start), parse_time(end))
        except ValueError as error:
            raise item.broken(str(error)) from error

    def filtered(self, item: Item) -> bool:
        """True if the item's properties meet the filter."""
        return self.filter is None or self.filter.matches(item.document)


def unknown_collection(name: str, href: str, known: Iterable[str]) -> CatalogError:
    """What to say of a collection that a catalogue does not have."""
    names = ", ".join(sorted(known)) or "none"
    return CatalogError(
        f"catalogue {href} has no collection {name!r}. Set --collection to one of: {names}."
    )
