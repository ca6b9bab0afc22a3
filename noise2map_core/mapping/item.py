"""The STAC item of a map: products with checksums, and where they come from."""

import json
from pathlib import Path
from typing import Any

import pystac
import shapely
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension

from noise2map_core import __version__
from noise2map_core.atomic import write_atomically
from noise2map_core.digest import file_sha256
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.mapping.subject import MapSubject

CLASSIFICATION = "https://stac-extensions.github.io/classification/v1.1.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
MULTIHASH_SHA256 = "1220"
"""Multihash prefix of a SHA-256: code 0x12, 0x20 bytes."""

ASSETS = {
    "change": ("change.tif", pystac.MediaType.COG, ["data"], "Change map"),
    "probability": (
        "probability.tif", pystac.MediaType.COG, ["data"], "Probability of change, percent",
    ),
    "polygons": (
        "polygons.parquet", "application/vnd.apache.parquet", ["data"], "Changed areas",
    ),
    "quicklook": ("quicklook.png", pystac.MediaType.PNG, ["overview"], "Before, after, change"),
    "report": ("report.html", pystac.MediaType.HTML, ["metadata"], "Report"),
}  # fmt: skip


def write_item(output: Path, grid: RegionGrid, aoi: AreaOfInterest, subject: MapSubject) -> None:
    """`item.json` for the products that lie in `output`."""
    item = _item(grid, aoi, subject)
    for key, (name, media_type, roles, title) in ASSETS.items():
        item.add_asset(key, _asset(output / name, media_type, roles, title))
    item.assets["change"].extra_fields["classification:classes"] = [
        _class_entry(entry) for entry in subject.classes
    ]
    for scene in [*subject.before, *subject.after]:
        target = scene.href if "://" in scene.href else Path(scene.href).as_posix()
        item.add_link(pystac.Link("derived_from", target, "application/geo+json", scene.id))
    text = json.dumps(item.to_dict(include_self_link=False, transform_hrefs=False), indent=2)
    write_atomically(output / "item.json", text)


def _item(grid: RegionGrid, aoi: AreaOfInterest, subject: MapSubject) -> pystac.Item:
    dates = subject.dates
    item = pystac.Item(
        id=f"{aoi.name}-change-{dates.before:%Y%m%d}-{dates.after:%Y%m%d}",
        geometry=json.loads(shapely.to_geojson(aoi.geometry)),
        bbox=list(aoi.geometry.bounds),
        datetime=None,
        start_datetime=dates.before,
        end_datetime=dates.after,
        properties={
            "title": subject.title,
            "attribution": "; ".join(subject.attribution),
            "processing:software": {"noise2map": __version__},
            "processing:facility": "noise2map",
            "noise2map:model": subject.model,
        },
        stac_extensions=[PROCESSING, CLASSIFICATION, FileExtension.get_schema_uri()],
    )
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    projection.code = grid.crs
    projection.shape = [grid.region.height, grid.region.width]
    projection.transform = list(grid.transform(grid.region))[:6]
    return item


def _asset(path: Path, media_type: str, roles: list[str], title: str) -> pystac.Asset:
    asset = pystac.Asset(f"./{path.name}", title=title, media_type=media_type, roles=roles)
    # Written as fields: an asset of no item yet cannot be extended through pystac.
    asset.extra_fields["file:checksum"] = MULTIHASH_SHA256 + file_sha256(path)
    asset.extra_fields["file:size"] = path.stat().st_size
    return asset


def _class_entry(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "value": entry["value"],
        "name": entry["name"],
        "description": entry["name"],
        "color_hint": entry["color"].lstrip("#").upper(),
    }
