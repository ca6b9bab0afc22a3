"""Assets: files beside an item or a collection, with their checksums and what they hold."""

from pathlib import Path
from typing import Any

import pystac
import rasterio

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import (
    NO_DECISION,
    NO_PROBABILITY,
    PROBABILITY_SCALE,
    Mosaic,
)
from noise2map_core.products.manifest import stated_of
from noise2map_core.products.rasters import RasterSpec
from noise2map_core.products.stac.terms import identifier
from noise2map_core.products.styles.attribute_table import SIDE_CAR
from noise2map_core.runtime.storage import local_copy

Fields = dict[str, Any]

MULTIHASH_SHA256 = "1220"
"""Multihash prefix of a SHA-256: code 0x12, 0x20 bytes."""
ZARR = f"{pystac.MediaType.VND_ZARR}; version=3"
PMTILES = pystac.MediaType.VND_PMTILES
PARQUET = pystac.MediaType.VND_APACHE_PARQUET
KINDS: dict[str, tuple[str, list[str]]] = {
    ".tif": (pystac.MediaType.COG, ["data"]),
    ".parquet": (PARQUET, ["data"]),
    ".gpkg": (pystac.MediaType.GEOPACKAGE, ["data"]),
    ".pmtiles": (PMTILES, ["data"]),
    ".png": (pystac.MediaType.PNG, ["overview"]),
    ".html": (pystac.MediaType.HTML, ["metadata"]),
    ".json": (pystac.MediaType.JSON, ["metadata"]),
    ".xml": (pystac.MediaType.XML, ["metadata"]),
    ".qml": (pystac.MediaType.XML, ["style"]),
    ".sld": ("application/vnd.ogc.sld+xml", ["style"]),
}
"""Media type and roles by suffix."""
PHOTOS = {"before.tif", "after.tif"}
"""Pictures for people."""
LAYERS: dict[str, Fields] = {
    "class": {"data_type": "uint8", "nodata": NO_DECISION},
    "probability": {
        "data_type": "uint16", "nodata": NO_PROBABILITY,
        "unit": "1", "raster:scale": 1 / PROBABILITY_SCALE, "raster:offset": 0.0,
    },
    "valid": {"data_type": "other", "description": "bool: every image was observed"},
    "reason": {"data_type": "uint8"},
    "disagreement": {
        "data_type": "uint16", "nodata": NO_PROBABILITY,
        "unit": "1", "raster:scale": 1 / PROBABILITY_SCALE, "raster:offset": 0.0,
    },
    "direction": {"data_type": "uint8", "nodata": NO_DECISION},
}  # fmt: skip
"""Arrays of a mosaic as STAC's bands have them."""


def asset_key(name: str) -> str:
    """x.tif, x.parquet → x, x.tif.aux.xml → x-names, x.qml → x-style, others → x-SUFFIX."""
    stem, suffix = Path(name).stem, Path(name).suffix.removeprefix(".")
    if name.endswith(SIDE_CAR):
        return name.removesuffix(f".tif{SIDE_CAR}") + "-names"
    if suffix in ("gpkg", "pmtiles", "sld"):
        return f"{stem}-{suffix}"
    return f"{stem}-style" if suffix == "qml" else stem


def file_asset(
    path: Path, title: str, spec: RasterSpec | None = None, stated: Fields | None = None
) -> pystac.Asset:
    """A file beside its item, with its length and checksum, which are read from it unless they are
    `stated` (as of `stated_of`), and what a raster holds."""
    media_type, roles = KINDS[path.suffix]
    if path.name in PHOTOS:
        roles = ["visual", "overview"]
    asset = pystac.Asset(f"./{path.name}", title=title, media_type=media_type, roles=list(roles))
    # Written as fields: an asset of no item yet cannot be extended through pystac.
    stated = stated or stated_of(path)
    asset.extra_fields["file:checksum"] = MULTIHASH_SHA256 + stated["sha256"]
    asset.extra_fields["file:size"] = stated["bytes"]
    if spec is not None:
        asset.extra_fields.update(_raster_fields(path, spec))
    elif path.suffix == ".tif":
        asset.extra_fields.update(_own_grid(path))
    return asset


def mosaic_asset(mosaic: Mosaic) -> pystac.Asset:
    """The working mosaic beside its item: whole tiles, which reach beyond the rasters."""
    asset = pystac.Asset(
        f"./{mosaic.path.name}", title="Mosaic of all layers, Zarr", media_type=ZARR,
        roles=["data"],
    )  # fmt: skip
    names = [name for name in LAYERS if name in mosaic.arrays]
    asset.extra_fields["bands"] = [{"name": name, **LAYERS[name]} for name in names]
    asset.extra_fields.update(grid_fields(mosaic.grid, mosaic.grid.tile_frame))
    return asset


def grid_fields(grid: RegionGrid, window: Window) -> Fields:
    """On which pixels something lies, as the projection extension says it."""
    transform = grid.transform(window)
    west, north = transform.c, transform.f
    east, south = transform @ (window.width, window.height)
    return {
        "proj:shape": [window.height, window.width],
        "proj:transform": list(transform)[:6],
        "proj:bbox": [west, south, east, north],
    }


def _raster_fields(path: Path, spec: RasterSpec) -> Fields:
    with local_copy(path) as local, rasterio.open(local, driver="GTiff") as file:
        band = {"name": spec.array, **_band_fields(file)}
        resolution = float(file.res[0])
    if "unit" not in band and "units" in spec.tags:
        band["unit"] = spec.tags["units"]
    fields: Fields = {"bands": [band], "raster:spatial_resolution": resolution}
    if spec.names:
        fields["classification:classes"] = [_class_entry(spec, value) for value in spec.names]
    return fields


def _band_fields(file: rasterio.DatasetReader) -> Fields:
    """What a raster of one band says of its numbers."""
    fields: Fields = {"data_type": file.dtypes[0]}
    if file.nodata is not None:
        fields["nodata"] = _plain(file.nodata)
    if file.units[0]:
        fields["unit"] = file.units[0]
    if (file.scales[0], file.offsets[0]) != (1.0, 0.0):
        fields |= {"raster:scale": file.scales[0], "raster:offset": file.offsets[0]}
    names = {"minimum": "MINIMUM", "maximum": "MAXIMUM", "mean": "MEAN", "stddev": "STDDEV",
             "valid_percent": "VALID_PERCENT"}  # fmt: skip
    tags = file.tags(1)
    statistics = {
        name: float(tags[f"STATISTICS_{tag}"])
        for name, tag in names.items()
        if f"STATISTICS_{tag}" in tags
    }
    return fields | ({"statistics": statistics} if statistics else {})


def _own_grid(path: Path) -> Fields:
    """The grid of a raster that is not that of its item."""
    with local_copy(path) as local, rasterio.open(local, driver="GTiff") as file:
        return {
            "proj:shape": [file.height, file.width],
            "proj:transform": list(file.transform)[:6],
            "proj:bbox": list(file.bounds),
        }


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number


def _class_entry(spec: RasterSpec, value: int) -> Fields:
    """One value; its name as the extension wants it, in ASCII without blanks."""
    text = spec.names[value]
    name = identifier(text, f"class_{value}")
    entry: Fields = {"value": value, "name": name, "title": text, "description": text}
    if value in spec.colors:
        entry["color_hint"] = bytes(spec.colors[value][:3]).hex().upper()
    if value == spec.nodata:
        entry["nodata"] = True
    return entry
