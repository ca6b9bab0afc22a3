"""Small GeoTIFFs and scenes for tests of reading."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import BandSource, Scene

CRS = "EPSG:32633"
ORIGIN = (500_000.0, 5_000_000.0)


def frame(
    height: int, width: int, x: float = ORIGIN[0], y: float = ORIGIN[1], resolution: float = 10.0
) -> GeoBox:
    """A grid of UTM zone 33N, by its upper left corner."""
    return GeoBox((height, width), rasterio.Affine(resolution, 0, x, 0, -resolution, y), CRS)


def write_tif(path: Path, pixels: NDArray[Any], geobox: GeoBox, **profile: Any) -> Path:
    """Pixels [H, W] or [band, H, W] as a tiled GeoTIFF."""
    bands = pixels if pixels.ndim == 3 else pixels[None]
    settings = {
        "driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2],
        "dtype": bands.dtype, "crs": str(geobox.crs), "transform": geobox.affine, "tiled": True,
        "blockxsize": 64, "blockysize": 64, "compress": "deflate", **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", **settings) as file:
        file.write(bands)
    return path


def scene_of(
    *hrefs: Path | str,
    geobox: GeoBox,
    name: str = "scene",
    nodata: float | None = None,
    proj_code: str | None = CRS,
) -> Scene:
    """A scene of one band a file."""
    bands = tuple(BandSource(f"b{n}", str(href), 1, nodata, None) for n, href in enumerate(hrefs))
    footprint = shapely.to_wkb(geobox.geographic_extent.geom)
    when = datetime(2020, 1, 1, tzinfo=UTC)
    return Scene(name, "test", when, footprint, bands, proj_code, None, f"/{name}.json", "test")


def noise(height: int, width: int, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    """Pixels without zeros."""
    return np.random.default_rng(seed).integers(1, 200, (height, width)).astype(dtype)


def state_no_checksums(root: Path) -> None:
    """Take the checksums of files out of the items of a catalogue."""
    for path in root.rglob("*.json"):
        document = json.loads(path.read_text())
        for asset in document.get("assets", {}).values():
            asset.pop("file:checksum", None)
        path.write_text(json.dumps(document))
