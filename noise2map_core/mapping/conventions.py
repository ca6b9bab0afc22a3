"""What Zarr's conventions proj, spatial and multiscales want to be told, in attributes.

A reader knows a convention by its declaration alone: names of attributes imply nothing. The
declarations are those of https://github.com/zarr-conventions at v0.1.
"""

import re
from collections.abc import Iterable
from typing import Any

import pyproj

from noise2map_core.mapping.levels import Level

_ABOUT = {
    "proj": (
        "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "Coordinate reference system information for geospatial data",
    ),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
    "multiscales": (
        "d35379db-88df-4056-af3a-620245f8e347",
        "Multiscale layout of zarr datasets",
    ),
}
"""UUID and description of each."""
DECLARED = "zarr_conventions"
ITSELF = "."
"""The path of a group in its own layout: the full resolution lies there."""


def place(crs: str, level: Level) -> dict[str, Any]:
    """Attributes of an array [y, x], or of a group of such, that say where its pixels lie."""
    return {
        DECLARED: _declared("proj", "spatial"),
        **_crs(crs),
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": level.bbox,
        "spatial:registration": "pixel",
        "spatial:transform_type": "affine",
        **_extent(level),
    }


def pyramid(crs: str, levels: Iterable[Level]) -> dict[str, Any]:
    """Attributes of the group that holds the first of `levels`, and the others below it."""
    full, *coarser = levels
    layout: list[dict[str, Any]] = [{"asset": ITSELF, **_extent(full)}]
    for level in coarser:
        layout.append({
            "asset": level.path,
            "derived_from": layout[-1]["asset"],
            "transform": {"scale": [2.0, 2.0], "translation": [0.0, 0.0]},
            **_extent(level),
        })  # fmt: skip
    return {
        **place(crs, full),
        DECLARED: _declared("proj", "spatial", "multiscales"),
        "multiscales": {"layout": layout},
    }


def _crs(crs: str) -> dict[str, str]:
    if re.fullmatch("[^:]+:[^:]+", crs):
        return {"proj:code": crs}
    return {"proj:wkt2": pyproj.CRS.from_user_input(crs).to_wkt("WKT2_2019")}


def _extent(level: Level) -> dict[str, Any]:
    return {
        "spatial:shape": [level.height, level.width],
        "spatial:transform": list(level.transform)[:6],
    }


def _declared(*names: str) -> list[dict[str, str]]:
    return [
        {
            "uuid": _ABOUT[name][0],
            "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/"
            "v0.1/schema.json",
            "spec_url": f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md",
            "name": name,
            "description": _ABOUT[name][1],
        }
        for name in names
    ]
