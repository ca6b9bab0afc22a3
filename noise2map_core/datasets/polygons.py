"""Masks as polygons in pixels of their image: GeoJSON of SpaceNet 7, JSON of xBD."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from noise2map_core.geo.geojson import finite_shape
from noise2map_core.labels import IGNORE
from noise2map_core.runtime.documents import parse_json, read_text
from noise2map_core.runtime.errors import AssetReadError, ConfigError

SUFFIXES = (".json", ".geojson")
BUILDING = 1
"""Class of polygons that have no subtype."""


@dataclass(frozen=True)
class Polygons:
    """Polygons of one image."""

    shapes: tuple[BaseGeometry, ...]
    classes: tuple[int, ...]

    def outside(self, shape: tuple[int, int]) -> int:
        """How many of them touch no pixel of an image of this height and width."""
        image = shapely.box(0, 0, shape[1], shape[0])
        return int((~shapely.intersects(list(self.shapes), image)).sum()) if self.shapes else 0

    def burnt(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """[H, W] class of the polygon that a pixel's centre lies in, else 0. Where they overlap a
        larger class counts, and any counts more than 255, not labelled."""
        labels = np.zeros(shape, np.uint8)
        order = np.argsort([-1 if value == IGNORE else value for value in self.classes])
        each = [(self.shapes[number], self.classes[number]) for number in order]
        if each:
            rasterize(each, out=labels)
        return labels


def read_polygons(path: Path, subtypes: Mapping[str, int]) -> Polygons:
    """The polygons of a file, with the classes of their subtypes; without `subtypes` all are 1.

    Raises AssetReadError naming a file that cannot be read, ConfigError a subtype that is unknown.
    """
    if not path.is_file():
        raise AssetReadError(f"file {path} is missing. Fetch it anew, or set dataset.root.")
    try:
        found = list(_polygons(parse_json(read_text(path))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ShapelyError) as error:
        reason = " ".join(str(error).split())
        raise AssetReadError(f"file {path} cannot be read ({reason}). Fetch it anew.") from error
    if strange := sorted({str(name) for _, name in found if subtypes and name not in subtypes}):
        raise ConfigError(
            f"{path} has polygons of subtype {strange[0]!r}; known are {', '.join(subtypes)}. "
            "Mend the file."
        )
    classes = tuple(subtypes[str(name)] if subtypes else BUILDING for _, name in found)
    return Polygons(tuple(shape for shape, _ in found), classes)


def _polygons(document: dict[str, Any]) -> Iterator[tuple[BaseGeometry, str | None]]:
    """Areas with their subtype. xBD has its features twice, in degrees and in pixels ("xy")."""
    features = document["features"]
    in_pixels = features["xy"] if isinstance(features, dict) else features
    for feature in in_pixels:
        shape = _shape(feature)
        if not shape.is_empty and shape.area > 0:
            yield shape, (feature.get("properties") or {}).get("subtype")


def _shape(feature: dict[str, Any]) -> BaseGeometry:
    if "wkt" in feature:
        return shapely.from_wkt(feature["wkt"])
    if feature["geometry"] is None:
        return shapely.Polygon()
    return finite_shape(feature["geometry"])
