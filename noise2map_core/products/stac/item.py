"""The STAC item of a map: products with checksums, and where they come from."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pystac
import shapely
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension

from noise2map_core import __version__
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.zone import bbox_of
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.products.rasters import RasterSpec, described
from noise2map_core.products.subject import MapSubject
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.digest import digest_of, file_sha256
from noise2map_core.runtime.redact import redacted_document
from noise2map_core.runtime.storage import absolute, relative

CLASSIFICATION = "https://stac-extensions.github.io/classification/v1.1.0/schema.json"
MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
MULTIHASH_SHA256 = "1220"
"""Multihash prefix of a SHA-256: code 0x12, 0x20 bytes."""

KINDS = {
    ".tif": (pystac.MediaType.COG, "data"),
    ".parquet": ("application/vnd.apache.parquet", "data"),
    ".gpkg": (pystac.MediaType.GEOPACKAGE, "data"),
    ".pmtiles": ("application/vnd.pmtiles", "data"),
    ".png": (pystac.MediaType.PNG, "overview"),
    ".html": (pystac.MediaType.HTML, "metadata"),
    ".xml": (pystac.MediaType.XML, "metadata"),
    ".qml": (pystac.MediaType.XML, "metadata"),
    ".sld": ("application/vnd.ogc.sld+xml", "metadata"),
}
"""Media type and role by suffix."""


def write_item(
    mosaic: Mosaic,
    folder: Path,
    subject: MapSubject,
    titles: dict[str, str],
    rasters: Sequence[RasterSpec],
    collection: Path | None,
    warnings: Sequence[str] = (),
) -> None:
    """`item.json` in `folder`, for the products that lie there, or beside the mosaic already;
    `titles` are by file name."""
    output, item = mosaic.path.parent, _item(mosaic.grid, subject)
    specs = {spec.file: spec for spec in rasters}
    if warnings:
        item.properties["noise2map:warnings"] = list(warnings)
    for name, title in titles.items():
        if name != "item.json":
            file = folder / name if (folder / name).exists() else output / name
            item.add_asset(asset_key(name), file_asset(file, title, specs.get(name)))
    if subject.mlm:
        item.add_asset("model", _model_asset(subject))
    for scene in subject.scenes:
        target = scene.href if "://" in scene.href else Path(scene.href).as_posix()
        item.add_link(pystac.Link("derived_from", target, "application/geo+json", scene.id))
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    if collection:
        name_collection(document, collection, output)
    write_atomically(folder / "item.json", json.dumps(redacted_document(document), indent=2))


def _item(grid: RegionGrid, subject: MapSubject) -> pystac.Item:
    dates = subject.dates
    extensions = [PROCESSING, CLASSIFICATION, RASTER, FileExtension.get_schema_uri()]
    item = pystac.Item(
        id=_id(subject),
        geometry=json.loads(shapely.to_geojson(subject.aoi.geometry)),
        bbox=list(bbox_of(subject.aoi.geometry)),
        datetime=None if dates.before else dates.after,
        start_datetime=dates.before,
        end_datetime=dates.after if dates.before else None,
        properties={
            "title": subject.title,
            "attribution": "; ".join(subject.attribution),
            "processing:level": "L4",
            "processing:lineage": f"noise2map: {subject.task} by the model "
            f"{subject.model.get('digest', '')[:12]} from {len(subject.scenes)} scenes",
            "processing:software": {"noise2map": __version__},
            "processing:facility": "noise2map",
            "noise2map:model": subject.model,
            **subject.mlm,
        },
        stac_extensions=[*extensions, *([MLM] if subject.mlm else [])],
    )  # fmt: skip
    add_projection(item, grid)
    return item


def add_projection(item: pystac.Item, grid: RegionGrid) -> None:
    """Say on which pixels the rasters of an item lie."""
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    projection.code = grid.crs
    projection.shape = [grid.region.height, grid.region.width]
    projection.transform = list(grid.transform(grid.region))[:6]


def _id(subject: MapSubject) -> str:
    """Area, task and days, and what tells apart the maps that have these in common: the model, and
    the outline of an area whose name another has too."""
    days = "-".join(f"{date:%Y%m%d}" for _, date in subject.epochs.values())
    outline = shapely.to_wkb(subject.aoi.geometry.normalize(), hex=True)
    own = digest_of([subject.model.get("digest", ""), outline])[:8]
    return f"{subject.aoi.name}-{subject.task}-{days}-{own}"


def asset_key(name: str) -> str:
    """x.parquet → x, x.gpkg → x-gpkg (as .pmtiles), x.qml → x-style, x.sld → x-sld,
    x.tif.aux.xml → x-names."""
    if name.endswith((".gpkg", ".pmtiles", ".sld")):
        return name.replace(".", "-")
    if name.endswith(".qml"):
        return Path(name).stem + "-style"
    return (
        name.removesuffix(".tif.aux.xml") + "-names" if name.endswith(".xml") else Path(name).stem
    )


def file_asset(path: Path, title: str, spec: RasterSpec | None = None) -> pystac.Asset:
    """A file beside its item, with its length and checksum, and what a raster holds."""
    media_type, role = KINDS[path.suffix]
    asset = pystac.Asset(f"./{path.name}", title=title, media_type=media_type, roles=[role])
    # Written as fields: an asset of no item yet cannot be extended through pystac.
    asset.extra_fields["file:checksum"] = MULTIHASH_SHA256 + file_sha256(path)
    asset.extra_fields["file:size"] = path.stat().st_size
    if spec is not None:
        asset.extra_fields.update(_raster_fields(path, spec))
    return asset


def _raster_fields(path: Path, spec: RasterSpec) -> dict[str, Any]:
    band: dict[str, Any] = {"name": spec.array, "data_type": spec.dtype}
    if spec.nodata is not None:
        band["nodata"] = spec.nodata
    if "units" in spec.tags:
        band["unit"] = spec.tags["units"]
    if spec.scale != 1:
        band["raster:scale"] = spec.scale
    resolution, statistics = described(path)
    if statistics:
        band["statistics"] = statistics
    fields: dict[str, Any] = {"bands": [band], "raster:spatial_resolution": resolution}
    if spec.names:
        fields["classification:classes"] = [_class_entry(spec, value) for value in spec.names]
    return fields


def _class_entry(spec: RasterSpec, value: int) -> dict[str, Any]:
    entry = {"value": value, "name": spec.names[value].replace(" ", "_"),
             "description": spec.names[value]}  # fmt: skip
    if value in spec.colors:
        entry["color_hint"] = bytes(spec.colors[value][:3]).hex().upper()
    return entry


def _model_asset(subject: MapSubject) -> pystac.Asset:
    asset = pystac.Asset(
        subject.weights, title="Weights of the model", roles=["mlm:model"],
        media_type="application/octet-stream; application=safetensors",
    )  # fmt: skip
    asset.extra_fields["mlm:artifact_type"] = "safetensors"
    return asset


def name_collection(document: dict[str, Any], collection: Path, output: Path) -> None:
    """Say of an item's document, which lies in `output`, in which collection it is."""
    href = relative(collection, output)
    document["collection"] = absolute(collection).parent.name
    document["links"] += [
        {"rel": relation, "href": href, "type": "application/json"}
        for relation in ("collection", "parent")
    ]
