"""Opening a mosaic for reading, wherever it lies."""

import json
from pathlib import Path
from typing import Any

import rioxarray  # noqa: F401  (the accessor .rio)
import xarray as xr

from noise2map_core.mapping.shards import ARRAYS
from noise2map_core.mapping.template import ROOT
from noise2map_core.runtime.consolidated import CONSOLIDATED
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import is_web, location, read_if_there, zarr_store
from noise2map_core.runtime.web import explained_at, require_ranges

NAME = "mosaic.zarr"


def open_mosaic(path: Path | str) -> xr.Dataset:
    """A mosaic as a dask-backed dataset with its CRS and transform, for `.rio`.

    `path`: the folder of a map or its `mosaic.zarr`, on a disk, in a bucket (s3://, gs://) or on
    the web (http://, https://), where it is read by ranges and nothing is listed.
    Variables class, probability (0–1, NaN where none), valid and reason, each [y, x].
    `open_mosaic(path)["class"].rio.to_raster("change.tif")` writes a georeferenced raster.

    Raises OutputError for what is no mosaic, or cannot be read.
    """
    place, document = _find(location(path))
    known = CONSOLIDATED in document
    if known or is_web(place):
        _require_all(place, document)
    store = zarr_store(place, read_only=True)
    dataset: xr.Dataset = xr.open_zarr(store, consolidated=known, decode_coords="all", chunks={})
    return dataset


def _find(path: Path) -> tuple[Path, dict[str, Any]]:
    """Where a mosaic is, in a folder or there itself, and its document."""
    for place in (path, path / NAME):
        if (body := _document(place)) is not None:
            return place, _understood(place, body)
    raise OutputError(
        f"there is no mosaic at {path}: neither {ROOT} nor {NAME} is there. Give the folder that "
        f"infer-region wrote, or its {NAME}."
    )


def _document(place: Path) -> bytes | None:
    with explained_at(place / ROOT):
        if is_web(place):
            try:
                require_ranges(place / ROOT)
            except FileNotFoundError:
                return None
        return read_if_there(place / ROOT)


def _understood(place: Path, body: bytes) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(body)
        about = document["attributes"]["noise2map"]
    except (ValueError, KeyError, TypeError) as error:
        damaged = isinstance(error, ValueError)
        what = f"is damaged ({error})" if damaged else "is not that of a mosaic of noise2map"
        raise OutputError(
            f"{place / ROOT} {what}. "
            + ("`noise2map verify --repair` of its output mends it." if damaged else
               f"Give the folder that infer-region wrote, or its {NAME}.")
        ) from None  # fmt: skip
    if not isinstance(about, dict) or "tile_px" not in about:
        raise OutputError(f"{place / ROOT} is not that of a mosaic of noise2map.")
    return document


def _require_all(place: Path, document: dict[str, Any]) -> None:
    """Raises OutputError if a reader that lists nothing would not find every array."""
    if CONSOLIDATED not in document:
        raise OutputError(
            f"{place} is not finished, or of an earlier version: {ROOT} does not list its arrays "
            "(consolidated metadata), by which a mosaic is read over the web. Run the same "
            "infer-region command again, or `noise2map verify --repair`."
        )
    try:
        there = set(document[CONSOLIDATED]["metadata"])
    except (KeyError, TypeError):
        there = set()
    if missing := {*ARRAYS, "x", "y", "spatial_ref"} - there:
        raise OutputError(
            f"{place / ROOT} is damaged: its consolidated metadata lacks "
            f"{', '.join(sorted(missing))}. `noise2map verify --repair` of its output mends it."
        )
