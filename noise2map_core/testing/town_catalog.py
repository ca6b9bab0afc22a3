"""The invented town as a static STAC catalogue: a picture and the buildings of each date."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import mapping

from noise2map_core.testing.scenes import COG, CRS, EXTENSIONS, lon_lat_polygon
from noise2map_core.testing.static_catalog import About, catalog_of, save
from noise2map_core.testing.town import PIXEL_M, View, draw_town

COLLECTION = "invented-town"
ABOUT = About(
    "noise2map-town",
    "Invented scenes to learn buildings from.",
    COLLECTION,
    "Invented town",
    "An invented town from above at two dates, RGB, 0.3 m, with every building known.",
)
BANDS = ("red", "green", "blue")
DATES = (datetime(2023, 5, 14, 5, tzinfo=UTC), datetime(2024, 5, 20, 5, tzinfo=UTC))
CORNER = (510_000.0, 5_340_000.0)
"""Upper left, a whole number of pixels from the origin of CRS."""


@dataclass(frozen=True)
class TownCatalog:
    """What `write_town` wrote, in the words of the applications' settings."""

    catalog: Path
    aoi: Path
    """GeoJSON of all of the town."""
    collection: str
    before: str
    after: str
    """Days."""


def write_town(root: Path, *, size_px: int = 1024, seed: int = 0) -> TownCatalog:
    """Draw the town and write catalogue and area under `root`.

    Each date is an item with the assets `visual` (red, green, blue) and `buildings` (1 under a
    roof, 0 elsewhere), in EPSG:32633 at 0.3 m.
    """
    root = root.resolve()  # pystac makes links relative only of absolute ones
    views = draw_town(np.random.default_rng(seed), size_px)
    transform = Affine(PIXEL_M, 0, CORNER[0], 0, -PIXEL_M, CORNER[1])
    south_east = transform @ (size_px, size_px)
    outline = lon_lat_polygon((CORNER[0], south_east[1], south_east[0], CORNER[1]))
    items = []
    for time, view in zip(DATES, views, strict=True):
        item = pystac.Item(
            f"{COLLECTION}-{time:%Y%m%d}", mapping(outline), list(outline.bounds), time,
            {"gsd": PIXEL_M, "proj:code": CRS, "proj:shape": [size_px, size_px],
             "proj:transform": list(transform)[:6]},
            stac_extensions=list(EXTENSIONS),
        )  # fmt: skip
        _add_assets(item, root / COLLECTION / item.id, view, transform)
        items.append(item)
    save(catalog_of(items, ABOUT), root)
    aoi = root / "aoi.geojson"
    feature = {"type": "Feature", "properties": {"name": "town"}, "geometry": mapping(outline)}
    aoi.write_text(json.dumps(feature) + "\n", encoding="utf-8")
    before, after = (f"{time:%Y-%m-%d}" for time in DATES)
    return TownCatalog(root / "catalog.json", aoi, COLLECTION, before, after)


def _add_assets(item: pystac.Item, folder: Path, view: View, transform: Affine) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bands = [{"name": name, "eo:common_name": name} for name in BANDS]
    for name, pixels, roles, fields in (
        ("visual", view.picture, ["visual", "data"], {"bands": bands}),
        ("buildings", view.buildings[None].astype(np.uint8), ["labels"], {}),
    ):
        path = folder / f"{name}.tif"
        _write_cog(path, pixels, transform)
        extra = {"data_type": "uint8", **fields}
        item.add_asset(name, pystac.Asset(str(path), name, None, COG, roles, extra))


def _write_cog(path: Path, pixels: NDArray[np.uint8], transform: Affine) -> None:
    count, height, width = pixels.shape
    settings: dict[str, Any] = {
        "driver": "COG", "dtype": "uint8", "compress": "DEFLATE", "blocksize": 256, "crs": CRS,
        "overview_resampling": "AVERAGE" if count > 1 else "MODE", "num_threads": 1,
    }  # fmt: skip
    with rasterio.open(
        path, "w", count=count, height=height, width=width, transform=transform, **settings
    ) as file:
        file.write(pixels)
