"""What an open catalogue of Sentinel-2 has of Nantes, by the names that it has there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
from geopandas import GeoDataFrame
from rasterio.features import shapes
from shapely.geometry import box, shape

COLLECTION = "sentinel-2-l2a"
BEFORE, AFTER = "oscd-nantes-20150821", "oscd-nantes-20171014"
AGAIN = {BEFORE: "2025-06-18", AFTER: "2026-06-20"}
"""The same pixels as of days that nights are about."""


def write_open_catalogue(real_data: Path, root: Path) -> None:
    """A static catalogue of the two scenes, and of both once more on later days."""
    source, target = real_data / "stac" / "oscd", root / COLLECTION
    for name in (BEFORE, AFTER):
        shutil.copytree(source / name, target / name, copy_function=shutil.copyfile)
        later = target / f"{name}-again"
        later.mkdir(parents=True)
        text = (target / name / f"{name}.json").read_text()
        (target / name / f"{name}.json").write_text(_renamed(text))
        (later / f"{later.name}.json").write_text(_renamed(_as_of(text, name, AGAIN[name])))
    collection = json.loads(_renamed((source / "collection.json").read_text()))
    names = [*(f"{name}{end}" for name in (BEFORE, AFTER) for end in ("", "-again"))]
    links = [link for link in collection["links"] if link["rel"] != "item"]
    items = [
        {"rel": "item", "href": f"./{name}/{name}.json", "type": "application/geo+json"}
        for name in names
    ]
    collection["extent"]["temporal"]["interval"][0][1] = f"{AGAIN[AFTER]}T00:00:00Z"
    (target / "collection.json").write_text(json.dumps({**collection, "links": links + items}))
    child = {"rel": "child", "href": f"./{COLLECTION}/collection.json", "type": "application/json"}
    catalog = json.loads((real_data / "stac" / "catalog.json").read_text())
    kept = [link for link in catalog["links"] if link["rel"] != "child"]
    (root / "catalog.json").write_text(json.dumps({**catalog, "links": [*kept, child]}))


def _renamed(text: str) -> str:
    return text.replace('"oscd"', f'"{COLLECTION}"')


def _as_of(text: str, name: str, day: str) -> str:
    item = json.loads(text)
    item["id"] = f"{name}-again"
    item["properties"] |= {"datetime": f"{day}T11:00:00Z", "processing:baseline": "02.04"}
    for asset in item["assets"].values():
        asset["href"] = asset["href"].replace("./", f"../{name}/")
    return json.dumps(item)


def draw_labels(real_data: Path, path: Path) -> None:
    """What somebody draws in QGIS: built ground as `changed`, some of the rest as `unchanged`."""
    with rasterio.open(real_data / "stac" / "oscd" / "oscd-nantes-change" / "change.tif") as file:
        pixels, place, crs = file.read(1), file.transform, file.crs
    built = [shape(found) for found, _ in shapes(pixels, pixels == 1, transform=place)]
    still = [
        box(*(place * (col, row + 64)), *(place * (col + 64, row)))
        for row in range(0, pixels.shape[0] - 64, 128)
        for col in range(0, pixels.shape[1] - 64, 128)
        if not np.any(pixels[row : row + 64, col : col + 64] == 1)
    ]
    names = ["changed"] * len(built) + ["unchanged"] * len(still)
    pyogrio.write_dataframe(
        GeoDataFrame({"label": names}, geometry=built + still, crs=crs), path, layer="labels"
    )
