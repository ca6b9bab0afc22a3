"""Open catalogues, and the keys of their bands as their publishers document them.

`init` writes configs by them, and the site's page of catalogues is made of them.
"""

from typing import NamedTuple

SENTINEL_2_COMMON = "blue green red nir swir16 swir22"
LANDSAT_KEYS = "blue green red nir08 swir16 swir22"


class Catalogue(NamedTuple):
    """One collection of a STAC API."""

    name: str
    address: str
    collection: str
    imagery: str
    bands: str
    """What `--bands` takes: asset keys, or bands of the one asset."""
    mask: str
    """Asset of clouds and shadows; empty: none."""
    access: str


EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"
PLANETARY = "https://planetarycomputer.microsoft.com/api/stac/v1"
REQUESTER = "`AWS_REQUEST_PAYER=requester` and keys of AWS"
ALTERNATE = f"{REQUESTER}; `--search.alternate s3`"

CATALOGUES = (
    Catalogue("Earth Search", EARTH_SEARCH, "sentinel-2-l2a", "Sentinel-2, 10 and 20 m",
              SENTINEL_2_COMMON, "scl", "open"),
    Catalogue("Earth Search", EARTH_SEARCH, "sentinel-2-c1-l2a", "Sentinel-2, Collection 1",
              SENTINEL_2_COMMON, "scl", "open"),
    Catalogue("Earth Search", EARTH_SEARCH, "landsat-c2-l2", "Landsat 4–9, 30 m",
              LANDSAT_KEYS, "qa_pixel", ALTERNATE),
    Catalogue("Earth Search", EARTH_SEARCH, "naip", "NAIP, United States, 0.3–1 m",
              "red green blue nir", "", REQUESTER),
    Catalogue("Planetary Computer", PLANETARY, "sentinel-2-l2a", "Sentinel-2, 10 and 20 m",
              "B02 B03 B04 B08 B11 B12", "SCL", "signed by itself"),
    Catalogue("Planetary Computer", PLANETARY, "landsat-c2-l2", "Landsat 4–9, 30 m",
              LANDSAT_KEYS, "qa_pixel", "signed by itself"),
    Catalogue("Planetary Computer", PLANETARY, "naip", "NAIP, United States, 0.3–1 m",
              "red green blue nir", "", "signed by itself"),
    Catalogue("USGS Landsat", "https://landsatlook.usgs.gov/stac-server", "landsat-c2l2-sr",
              "Landsat 4–9, 30 m", LANDSAT_KEYS, "qa_pixel", ALTERNATE),
    Catalogue("OpenAerialMap", "https://api.imagery.hotosm.org/stac", "openaerialmap",
              "images from drones and aircraft", "red green blue", "", "open"),
)  # fmt: skip


def known_collection(catalog: str, collection: str) -> Catalogue | None:
    """What is known of a collection of a catalogue that is named by its address."""
    return next(
        (
            one
            for one in CATALOGUES
            if (one.address, one.collection) == (catalog.rstrip("/"), collection)
        ),
        None,
    )
