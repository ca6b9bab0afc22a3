"""Static STAC catalogues of invented scenes: one collection, relative links only."""

from dataclasses import dataclass
from pathlib import Path

import pystac


@dataclass(frozen=True)
class About:
    """What a catalogue and its collection say of themselves."""

    catalog: str
    """Its id."""
    purpose: str
    collection: str
    """Its id."""
    title: str
    description: str


def catalog_of(items: list[pystac.Item], about: About) -> pystac.Catalog:
    """A catalogue with one collection that holds the items, all of one place."""
    times = [item.datetime for item in items if item.datetime]
    extent = pystac.Extent(
        pystac.SpatialExtent([items[0].bbox or []]),
        pystac.TemporalExtent([[min(times), max(times)]]),
    )
    collection = pystac.Collection(
        about.collection,
        about.description,
        extent,
        title=about.title,
        license="CC0-1.0",
        providers=[pystac.Provider("Noise2Map", roles=[pystac.ProviderRole.PRODUCER])],
    )
    catalog = pystac.Catalog(about.catalog, about.purpose)
    catalog.add_child(collection)
    collection.add_items(items)
    return catalog


def save(catalog: pystac.Catalog, root: Path) -> None:
    """Write it below `root`, absolute; assets lie there already."""
    catalog.normalize_hrefs(str(root))
    catalog.make_all_asset_hrefs_relative()
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
