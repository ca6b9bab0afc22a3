"""Is an output what it says it is? Everything that can be checked without the imagery."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import Mosaic, Reason, read_identity
from noise2map_core.products.manifest import NAME as MANIFEST
from noise2map_core.products.manifest import product_fault
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.progress import progress


def open_output(output: Path) -> tuple[Mosaic, dict[str, Any]]:
    """The mosaic and the manifest of a finished output. Raises OutputError if there is none."""
    file = output / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        about = read_identity(output / "mosaic.zarr")
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(
            f"{output} is no finished output of infer-region: {error}. Run infer-region first."
        ) from error
    grid = RegionGrid(
        about["crs"], about["resolution"], about["origin"][0], about["origin"][1],
        about["tile_px"], Window(*about["region"]), shapely.box(-1e9, -1e9, 1e9, 1e9),
    )  # fmt: skip
    return Mosaic(output / "mosaic.zarr", grid), manifest


def iter_faults(output: Path, mosaic: Mosaic, manifest: dict[str, Any]) -> Iterator[str]:
    """What is wrong, in words: missing tiles, and bytes that are not those that were written."""
    yield from _product_faults(output, manifest)
    stated = manifest.get("mosaic_metadata_sha256")
    if stated and mosaic.metadata_digest() != stated:
        yield "mosaic.zarr: its documents or coordinates are not those that were written"
    holes = manifest.get("holes", [])
    yield from (f"{Tile(*hole['tile'])} is a hole: {hole['reason']}" for hole in holes)
    done, view = 0, Ledger(output).view()
    with progress(manifest["tiles"]["total"], "verify", "tile") as bar:
        for rows in mosaic.grid.bands():
            for record in view.newest(rows):
                bar.update()
                done += record.status == "done"
                if record.status == "done" and (fault := _tile_fault(mosaic, record)):
                    yield fault
    if missing := manifest["tiles"]["total"] - done - len(holes):
        yield f"{missing} tiles of {manifest['tiles']['total']} have no record"


def _product_faults(output: Path, manifest: dict[str, Any]) -> Iterator[str]:
    for name, stated in manifest["products"].items():
        if fault := product_fault(output / name, stated, digests=True):
            yield fault


def _tile_fault(mosaic: Mosaic, record: TileRecord) -> str | None:
    if not record.digest:
        return f"{record.tile}: its record is of an earlier version and holds no digest"
    if mosaic.digest(record.tile) != record.digest:
        return f"{record.tile}: its pixels in mosaic.zarr are not those that were written"
    return None


def count_reasons(mosaic: Mosaic) -> dict[str, int]:
    """How many pixels of the region have which reason, tile by tile."""
    counts = np.zeros(256, np.int64)
    for tile in mosaic.grid.tiles():
        window = mosaic.grid.window(tile).intersect(mosaic.grid.region)
        counts += np.bincount(mosaic.read("reason", window).ravel(), minlength=256)
    return {reason.name.lower(): int(counts[reason]) for reason in Reason if counts[reason]}
