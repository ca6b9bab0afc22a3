"""The embedded catalogue: an invented two-date scene with a known change, as static STAC.

Fields rotate their crops, light and haze differ, each date has a cloud, and the later date lacks a
wedge of pixels; a classification (`scl`) says of each date, as Sentinel-2's does, where its cloud
and the shadow of it are. The labelled change is built-up land that came or went, and nothing else.
All of it follows from the seed: the same libraries write the same bytes.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry import Polygon, mapping

from noise2map_core.testing.exposure import BANDS, SCL_NO_DATA, expose, is_cloud
from noise2map_core.testing.landscape import Mask, build_landscape
from noise2map_core.testing.static_catalog import About, catalog_of, save

CRS = "EPSG:32633"
RESOLUTION = 10.0
COLLECTION = "embedded-farmland"
ABOUT = About(
    "noise2map-embedded",
    "Invented scenes for demonstrations and tests.",
    COLLECTION,
    "Embedded farmland",
    "Invented farmland at two dates, 5 bands, 10 m, with every change of built-up land known.",
)
LABEL_ASSET = "change"
MASK_ASSET = "scl"
DATES = {
    "before": datetime(2023, 6, 12, 10, tzinfo=UTC),
    "after": datetime(2025, 6, 20, 10, tzinfo=UTC),
}
NODATA, IGNORE = 0, 255

LATTICE_CORNER = (542_720.0, 5_345_280.0)
"""A corner of four 512-pixel tiles; the scene is laid so that it falls inside `map_aoi`."""
CORNER_AT = (0.8, 0.4)
"""Where LATTICE_CORNER lies in the scene: shares of its width and height."""

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
EO = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
LABEL = "https://stac-extensions.github.io/label/v1.0.1/schema.json"

Box = tuple[float, float, float, float]
"""West, south, east, north in CRS units."""


@dataclass(frozen=True)
class EmbeddedCatalog:
    """What `write_catalog` wrote, in the words of the applications' settings."""

    root: Path
    catalog: str
    """Path of catalog.json."""
    collection: str
    bands: tuple[str, ...]
    before: str
    after: str
    """Dates as search intervals."""
    label_asset: str
    train_aoi: Path
    map_aoi: Path
    """GeoJSON; the two areas are more than 32 pixels apart."""
    train_boxes: dict[str, list[Box]]
    """Split ("train", "val") to boxes in CRS units, at least 16 pixels apart."""
    truth: Path
    """GeoTIFF uint8 of the whole scene: 0 unchanged, 1 changed, clouds or not."""
    crs: str
    resolution: float


@dataclass(frozen=True)
class _Frame:
    """Where the scene's pixels lie."""

    size_px: int

    @property
    def transform(self) -> Affine:
        x, y = LATTICE_CORNER
        left = x - round(CORNER_AT[0] * self.size_px) * RESOLUTION
        top = y + round(CORNER_AT[1] * self.size_px) * RESOLUTION
        return Affine(RESOLUTION, 0.0, left, 0.0, -RESOLUTION, top)

    def box(self, rows: tuple[int, int], cols: tuple[int, int]) -> Box:
        """Outer edges of the pixels in half-open ranges of rows and columns."""
        west, north = self.transform @ (cols[0], rows[0])
        east, south = self.transform @ (cols[1], rows[1])
        return west, south, east, north

    @property
    def whole(self) -> Box:
        return self.box((0, self.size_px), (0, self.size_px))

    def share(self, part: float) -> int:
        return round(part * self.size_px)


def write_catalog(root: Path, *, size_px: int = 1024, seed: int = 0) -> EmbeddedCatalog:
    """Draw the scene and write the catalogue, its areas of interest and the truth under `root`.

    The west of the scene is for training and validation, the east for mapping. The label raster has
    1 changed, 0 unchanged, 255 where either date is nodata or under cloud, where nobody could
    label. Shadow and haze keep their labels.
    """
    root = root.absolute()
    rng = np.random.default_rng(seed)
    land = build_landscape(rng, size_px)
    pictures, classes = expose(rng, land)
    pictures[1][:, _beyond_swath(size_px)] = NODATA
    classes[(pictures == NODATA).any(axis=1)] = SCL_NO_DATA
    hidden = (is_cloud(classes) | (classes == SCL_NO_DATA)).any(axis=0)
    frame = _Frame(size_px)
    root.mkdir(parents=True, exist_ok=True)
    items = [
        _write_scene(root, frame, date, picture, classes_then)
        for date, picture, classes_then in zip(DATES, pictures, classes, strict=True)
    ]
    items.append(_write_label(root, frame, land.change, hidden))
    _write_json(root, items)
    truth = root / "truth.tif"
    _write_cog(truth, frame, land.change.astype(np.uint8), None)
    return _describe(root, frame, truth)


def _beyond_swath(size_px: int) -> Mask:
    """The lower right wedge that the later pass did not see."""
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    beyond: Mask = x + 0.22 * y > 1.12
    return beyond


def _describe(root: Path, frame: _Frame, truth: Path) -> EmbeddedCatalog:
    share, size = frame.share, frame.size_px
    margin, middle = share(0.012), share(0.74)
    west = margin, share(0.54)
    boxes = {
        "train": [frame.box((margin, middle), west)],
        "val": [frame.box((middle + 20, size - margin), west)],
    }
    train_area = frame.box((margin, size - margin), west)
    map_area = frame.box((share(0.021), size - share(0.02)), (west[1] + 37, size - share(0.011)))
    return EmbeddedCatalog(
        root=root,
        catalog=str(root / "catalog.json"),
        collection=COLLECTION,
        bands=BANDS,
        before=f"{DATES['before']:%Y-%m-%d}",
        after=f"{DATES['after']:%Y-%m-%d}",
        label_asset=LABEL_ASSET,
        train_aoi=_write_area(root / "train_aoi.geojson", train_area),
        map_aoi=_write_area(root / "map_aoi.geojson", map_area),
        train_boxes=boxes,
        truth=truth,
        crs=CRS,
        resolution=RESOLUTION,
    )


def lon_lat_polygon(box: Box) -> Polygon:
    """A box of CRS as a polygon in EPSG:4326; on 10 km its edges stray by less than 0.1 m."""
    west, south, east, north = box
    steps = np.linspace(0, 1, 9)[:-1]
    corners = np.array([(west, south), (east, south), (east, north), (west, north), (west, south)])
    x, y = np.concatenate([a + steps[:, None] * (b - a) for a, b in pairwise(corners)]).T
    return Polygon(
        np.stack(Transformer.from_crs(CRS, 4326, always_xy=True).transform(x, y), axis=1)
    )


def _write_area(path: Path, box: Box) -> Path:
    feature = {
        "type": "Feature",
        "properties": {"name": path.stem},
        "geometry": mapping(lon_lat_polygon(box)),
    }
    path.write_text(json.dumps(feature, indent=1) + "\n", encoding="utf-8")
    return path


def _write_scene(
    root: Path,
    frame: _Frame,
    date: str,
    picture: NDArray[np.uint16],
    classes: NDArray[np.uint8],
) -> pystac.Item:
    item = _item(root, frame, f"{COLLECTION}-{date}", DATES[date], (*EXTENSIONS, EO))
    item.properties["gsd"] = RESOLUTION
    item.properties["eo:cloud_cover"] = round(100 * float(is_cloud(classes).mean()), 2)
    for name, pixels in zip(BANDS, picture, strict=True):
        path = root / COLLECTION / item.id / f"{name}.tif"
        _write_cog(path, frame, pixels, NODATA)
        fields = _file_fields(path, "uint16", NODATA)
        fields["bands"] = [{"name": name, "eo:common_name": name}]
        item.add_asset(name, pystac.Asset(str(path), name, None, COG, ["data"], fields))
    path = root / COLLECTION / item.id / f"{MASK_ASSET}.tif"
    _write_cog(path, frame, classes, SCL_NO_DATA)
    title = "scene classes as of Sentinel-2: 3 cloud shadow, 5 ground, 8 and 9 cloud"
    fields = _file_fields(path, "uint8", SCL_NO_DATA)
    item.add_asset(MASK_ASSET, pystac.Asset(str(path), title, None, COG, ["data"], fields))
    return item


def _write_label(root: Path, frame: _Frame, change: Mask, hidden: Mask) -> pystac.Item:
    item = _item(root, frame, f"{COLLECTION}-{LABEL_ASSET}", DATES["after"], (*EXTENSIONS, LABEL))
    item.common_metadata.start_datetime = DATES["before"]
    item.common_metadata.end_datetime = DATES["after"]
    item.properties |= {
        "label:type": "raster",
        "label:properties": None,
        "label:description": "built-up land that came or went between the dates",
        "label:classes": [{"name": None, "classes": ["unchanged", "changed"]}],
        "label:tasks": ["segmentation"],
    }
    path = root / COLLECTION / item.id / f"{LABEL_ASSET}.tif"
    _write_cog(path, frame, np.where(hidden, IGNORE, change).astype(np.uint8), IGNORE)
    fields = _file_fields(path, "uint8", IGNORE)
    title = "1 changed, 0 unchanged, 255 nodata or cloud at either date"
    item.add_asset(LABEL_ASSET, pystac.Asset(str(path), title, None, COG, ["labels"], fields))
    return item


def _item(
    root: Path, frame: _Frame, name: str, when: datetime, extensions: tuple[str, ...]
) -> pystac.Item:
    """An item with its place and projection; makes its folder."""
    (root / COLLECTION / name).mkdir(parents=True, exist_ok=True)
    outline = lon_lat_polygon(frame.whole)
    return pystac.Item(
        id=name,
        geometry=mapping(outline),
        bbox=list(outline.bounds),
        datetime=when,
        properties={
            "proj:code": CRS,
            "proj:shape": [frame.size_px, frame.size_px],
            "proj:transform": list(frame.transform)[:6],
        },
        stac_extensions=list(extensions),
    )


def _file_fields(path: Path, data_type: str, nodata: int) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "data_type": data_type,
        "gsd": RESOLUTION,
        "nodata": nodata,
        "file:size": len(content),
        "file:checksum": "1220" + hashlib.sha256(content).hexdigest(),
    }


def _write_cog(path: Path, frame: _Frame, pixels: NDArray[Any], nodata: int | None) -> None:
    """One band as a cloud-optimised GeoTIFF with overviews; masks get overviews by mode."""
    with rasterio.open(
        path,
        "w",
        driver="COG",
        count=1,
        height=frame.size_px,
        width=frame.size_px,
        dtype=pixels.dtype,
        crs=CRS,
        transform=frame.transform,
        nodata=nodata,
        compress="DEFLATE",
        level=5,
        predictor="STANDARD",
        blocksize=256,
        overview_resampling="AVERAGE" if pixels.dtype == np.uint16 else "MODE",
        num_threads=1,
    ) as file:
        file.write(pixels, 1)


def _write_json(root: Path, items: list[pystac.Item]) -> None:
    """The catalogue; its last item, the label, names those that it was drawn from."""
    catalog = catalog_of(items, ABOUT)
    for scene in items[:-1]:
        items[-1].add_link(pystac.Link("source", scene, pystac.MediaType.GEOJSON))
    save(catalog, root)
