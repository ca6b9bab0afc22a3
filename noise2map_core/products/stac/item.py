"""The STAC item of a map: products with checksums, and where they come from."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pystac
import shapely
from pyproj import CRS
from pystac.extensions.projection import ProjectionExtension

from noise2map_core import __version__
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.zone import bbox_of
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.products.manifest import Stated
from noise2map_core.products.rasters import RasterSpec
from noise2map_core.products.stac.assets import (
    PMTILES,
    asset_key,
    file_asset,
    grid_fields,
    mosaic_asset,
)
from noise2map_core.products.stac.terms import (
    CLASSIFICATION,
    FILE,
    LICENSE,
    MLM,
    PROCESSING,
    RASTER,
    WEB_MAP_LINKS,
    collection_id,
    identifier,
    providers,
)
from noise2map_core.products.subject import MapSubject
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.redact import redacted_document
from noise2map_core.runtime.storage import relative

EXTENSIONS = (PROCESSING, CLASSIFICATION, RASTER, FILE)
"""Of every item; projection is added with the grid."""
MODEL = "model.json"
"""The model that made a map, as its checkpoint describes it."""


def write_item(
    mosaic: Mosaic,
    folder: Path,
    subject: MapSubject,
    titles: dict[str, str],
    rasters: Sequence[RasterSpec],
    collection: Path | None,
    stated: Stated,
    warnings: Sequence[str] = (),
) -> None:
    """`item.json` in `folder`, for the products that lie there, or beside the mosaic already;
    `titles` are by file name, and so are bytes and digests of those that are `stated`."""
    output, item = mosaic.path.parent, _item(mosaic.grid, subject)
    specs = {spec.file: spec for spec in rasters}
    if warnings:
        item.properties["noise2map:warnings"] = list(warnings)
    for name, title in titles.items():
        if name != "item.json":
            file = folder / name if (folder / name).exists() else output / name
            asset = file_asset(file, title, specs.get(name), stated.get(name))
            item.add_asset(asset_key(name), asset)
    item.add_asset("mosaic", mosaic_asset(mosaic))
    if MODEL in titles:
        _mark_model(item.assets[asset_key(MODEL)])
    _link_sources(item, subject)
    link_tiles(item)
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    if collection:
        name_collection(document, collection, output)
    write_atomically(folder / "item.json", json.dumps(redacted_document(document), indent=2))


def _item(grid: RegionGrid, subject: MapSubject) -> pystac.Item:
    dates = subject.dates
    item = pystac.Item(
        id=item_id(subject),
        geometry=json.loads(shapely.to_geojson(subject.aoi.geometry)),
        bbox=list(bbox_of(subject.aoi.geometry)),
        datetime=None if dates.before else dates.after,
        start_datetime=dates.before,
        end_datetime=dates.after if dates.before else None,
        properties={
            "title": subject.title,
            "license": LICENSE,
            "providers": providers(subject.attribution),
            "attribution": "; ".join(subject.attribution),
            "processing:level": "L4",
            "processing:lineage": f"noise2map: {subject.task} by the model "
            f"{subject.model.get('digest', '')[:12]} from {len(subject.scenes)} scenes",
            "processing:software": {"noise2map": __version__},
            "processing:facility": "noise2map",
            "noise2map:task": subject.task,
            "noise2map:model": subject.model,
            "noise2map:sources": [f"{one.collection}/{one.id}" for one in subject.scenes],
            **subject.mlm,
        },
        stac_extensions=[*EXTENSIONS, *([MLM] if subject.mlm else [])],
    )  # fmt: skip
    add_projection(item, grid)
    return item


def add_projection(item: pystac.Item, grid: RegionGrid) -> None:
    """Say on which pixels the rasters of an item lie, and how large these are."""
    item.properties["gsd"] = round(grid.ground_m, 3)
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    projection.code = grid.crs
    # For programs that know no table of codes.
    projection.wkt2 = CRS.from_user_input(grid.crs).to_wkt("WKT2_2019")
    item.properties.update(grid_fields(grid, grid.region))


def link_tiles(item: pystac.Item) -> None:
    """A link to each archive of vector tiles among the assets, for programs that look for maps."""
    tiles = [asset for asset in item.assets.values() if asset.media_type == PMTILES]
    for asset in tiles:
        link = pystac.Link("pmtiles", asset.href, PMTILES, asset.title)
        link.extra_fields["pmtiles:layers"] = [Path(asset.href).stem]
        item.add_link(link)
    if tiles:
        item.stac_extensions.append(WEB_MAP_LINKS)


def _link_sources(item: pystac.Item, subject: MapSubject) -> None:
    """Links to the source items that others can reach; those on a disk here are only named."""
    for scene in subject.scenes:
        if re.match("https?://", scene.href):
            link = pystac.Link("derived_from", scene.href, "application/geo+json", scene.id)
            item.add_link(link)


def item_id(subject: MapSubject) -> str:
    """Area, task, days and the kind of model; and what tells apart the maps that have these in
    common: the model itself, and the outline and full name of the area."""
    days = "-".join(f"{date:%Y%m%d}" for _, date in subject.epochs.values())
    outline, name = shapely.to_wkb(subject.aoi.geometry.normalize(), hex=True), subject.aoi.name
    area = identifier(name)
    own = digest_of([subject.model.get("digest", ""), outline, *([name] if name != area else [])])
    kind = subject.model.get("detector") or subject.model.get("preset") or "model"
    return f"{area}-{subject.task}-{days}-{identifier(kind)}-{own[:8]}"


def _mark_model(asset: pystac.Asset) -> None:
    """What the mlm extension asks of the asset that defines the model. Weights may be large, and
    lie elsewhere: their digest is in the document."""
    assert asset.roles is not None
    asset.roles.append("mlm:model")
    asset.extra_fields["mlm:artifact_type"] = "noise2map.model.json"


def name_collection(document: dict[str, Any], collection: Path, output: Path) -> None:
    """Say of an item's document, which lies in `output`, in which collection it is."""
    href = relative(collection, output)
    document["collection"] = collection_id(collection)
    document["links"] += [
        {"rel": relation, "href": href, "type": "application/json"}
        for relation in ("root", "collection", "parent")
    ]
