"""Small catalogues of two dates, each of one scene or several, for maps without a checkpoint."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry import mapping

from tests.catalog_factories import COLLECTION, catalog_of, item
from tests.raster_factories import write_tif

BANDS = ("blue", "green", "red", "nir")


@dataclass(frozen=True)
class SceneOf:
    """A scene of one day."""

    day: str
    pixels: NDArray[Any]
    """[band, H, W]; 0 is nodata."""
    first_col: int = 0
    """Of the frame, where it begins."""
    bands: Sequence[str] = BANDS


def write_pair(folder: Path, scenes: Sequence[SceneOf], box: GeoBox) -> dict[str, Any]:
    """Write scenes, the earliest day is the first date; settings of infer-region for `box`."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, scene in enumerate(scenes):
        part = box[:, scene.first_col : scene.first_col + scene.pixels.shape[2]]
        path = write_tif(folder / f"{number}.tif", scene.pixels, part, nodata=0)
        outline = part.extent.to_crs("EPSG:4326").geom
        made = item(f"scene-{number}", path, outline, datetime=f"{scene.day}T10:00:00Z")
        bands = [{"name": band} for band in scene.bands]
        made["assets"] = {"image": {"href": str(path), "bands": bands}}
        items.append(made)
    search = catalog_of(folder / "catalog", *items)
    inner = box.pad(-4).extent.to_crs("EPSG:4326").geom
    area = folder / "area.geojson"
    area.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": mapping(inner)}))
    days = sorted(scene.day for scene in scenes)
    later = [day for day in days if day > days[0]]
    return {
        "aoi": str(area), "before": days[0], "after": f"{later[0]}/{later[-1]}",
        "search": {"catalog": search.catalog, "collection": COLLECTION, "bands": list(BANDS)},
        "mask": {"suspect": False},
    }  # fmt: skip
