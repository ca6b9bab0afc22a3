"""Is an output what it says it is? Everything that can be checked without the imagery."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import shapely
from numpy.typing import NDArray
from pystac.errors import STACError, STACValidationError
from pystac.validation import validate_dict
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rio_cogeo.cogeo import cog_validate

from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import Mosaic, Reason, read_identity
from noise2map_core.mapping.overviews import are_as_stated
from noise2map_core.mapping.seams import seam_ratio
from noise2map_core.products.manifest import NAME as MANIFEST
from noise2map_core.products.manifest import product_fault
from noise2map_core.products.survey import counted
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.mapper import Mapper, here
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.storage import is_web, local_copy, read_bytes
from noise2map_core.runtime.web import require_ranges

CHIP_SEAMS, TILE_SEAMS = "edges of chips", "edges of tiles"
NO_PIXELS = np.zeros(256, np.int64)
LATTICE_BLOCK_PX = 256
"""Blocks of the bootstrap, at least."""


def verify_output(output: Path, mapper: Mapper = here) -> list[str]:
    """Lines for people. Raises OutputError, naming every fault, if there is one.

    Tiles and products are looked at by `mapper`.
    """
    mosaic, manifest = open_output(output)
    faults = [
        *iter_faults(output, mosaic, manifest, mapper),
        *_invalid_rasters(output, manifest, mapper),
        *_invalid_item(output / "item.json"),
    ]
    if faults:
        raise OutputError(
            f"{output} has {len(faults)} faults: {'; '.join(faults)}. `noise2map verify --repair "
            f"{output}` makes again what is missing or damaged."
        )
    counts = count_reasons(mosaic, mapper)
    total = sum(counts.values())
    pixels = ", ".join(f"{n / total:.1%} {name}" for name, n in counts.items())
    return [
        f"{manifest['tiles']['total']} tiles complete, every object and product as written",
        f"pixels  {pixels}",
        *_seams(mosaic, manifest, mapper),
    ]


def open_output(output: Path) -> tuple[Mosaic, dict[str, Any]]:
    """The mosaic and the manifest of a finished output. Raises OutputError if there is none."""
    if is_web(output):
        _require_readable(output)
    try:
        manifest = json.loads(read_bytes(output / MANIFEST))
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


def _require_readable(output: Path) -> None:
    """Raises OutputError where the web gives nothing by ranges."""
    try:
        require_ranges(output / MANIFEST)
    except FileNotFoundError as error:
        raise OutputError(
            f"{output} is no finished output of infer-region: {MANIFEST} is not there (HTTP 404). "
            "Check the address."
        ) from error


def iter_faults(
    output: Path, mosaic: Mosaic, manifest: dict[str, Any], mapper: Mapper = here
) -> Iterator[str]:
    """What is wrong, in words: missing tiles, and bytes that are not those that were written."""
    yield from _product_faults(output, manifest, mapper)
    stated = manifest.get("mosaic_metadata_sha256")
    if stated and mosaic.metadata_digest() != stated:
        yield "mosaic.zarr: its documents or coordinates are not those that were written"
    if not are_as_stated(mosaic, manifest, mapper):
        yield "mosaic.zarr: its overviews are not those that were written"
    holes = manifest.get("holes", [])
    yield from (f"{Tile(*hole['tile'])} is a hole: {hole['reason']}" for hole in holes)
    done, view = 0, _ledger(output, manifest).view()
    with progress(manifest["tiles"]["total"], "verify", "tile") as bar:
        for rows in mosaic.grid.bands():
            records = [one for one in view.newest(rows) if one.status == "done"]
            done += len(records)
            for fault in mapper(partial(_tile_fault, mosaic), records):
                bar.update()
                yield from filter(None, [fault])
    if missing := manifest["tiles"]["total"] - done - len(holes):
        yield f"{missing} tiles of {manifest['tiles']['total']} have no record"


def _ledger(output: Path, manifest: dict[str, Any]) -> Ledger:
    """The records of an output; on the web, where nothing is listed, by the manifest's list."""
    if not is_web(output):
        return Ledger(output)
    names = manifest.get("ledger")
    if names is None:
        raise OutputError(
            f"{output} was made by an earlier version, whose manifest does not list the records of "
            "its tiles, and nothing is listed over the web. Verify it on a disk or in its bucket."
        )
    return Ledger(output, names)


def _product_faults(output: Path, manifest: dict[str, Any], mapper: Mapper) -> Iterator[str]:
    yield from filter(None, mapper(partial(_product_fault, output), manifest["products"].items()))


def _product_fault(output: Path, product: tuple[str, dict[str, Any]]) -> str | None:
    name, stated = product
    return product_fault(output / name, stated, digests=True)


def _tile_fault(mosaic: Mosaic, record: TileRecord) -> str | None:
    if not record.digest:
        return f"{record.tile}: its record is of an earlier version and holds no digest"
    if mosaic.digest(record.tile) != record.digest:
        return f"{record.tile}: its pixels in mosaic.zarr are not those that were written"
    return None


def count_reasons(mosaic: Mosaic, mapper: Mapper = here) -> dict[str, int]:
    """How many pixels of the region have which reason, tile by tile."""
    counts = sum(mapper(partial(_reasons, mosaic), list(mosaic.grid.tiles())), NO_PIXELS)
    return {reason.name.lower(): int(counts[reason]) for reason in Reason if counts[reason]}


def _reasons(mosaic: Mosaic, tile: Tile) -> NDArray[np.int64]:
    window = mosaic.grid.window(tile).intersect(mosaic.grid.region)
    return counted(mosaic.read("reason", window))


def _invalid_rasters(output: Path, manifest: dict[str, Any], mapper: Mapper) -> Iterator[str]:
    files = [output / name for name in sorted(manifest["products"]) if name.endswith(".tif")]
    yield from filter(None, mapper(_invalid_raster, files))


def _invalid_raster(file: Path) -> str | None:
    try:
        with local_copy(file) as local:
            valid, errors, _ = cog_validate(local, quiet=True)
    except Exception as error:  # whatever GDAL makes of damaged bytes
        valid, errors = False, [str(error)]
    told = f"{file.name} is no valid cloud-optimised GeoTIFF ({', '.join(errors)})"
    return None if valid else told


def _invalid_item(file: Path) -> Iterator[str]:
    """STAC's core schemas, which ship with pystac: no network is needed."""
    try:
        document: dict[str, Any] = json.loads(read_bytes(file))
        core = {**document, "stac_extensions": []}
        validate_dict(core, pystac.STACObjectType.ITEM, validator=JsonSchemaSTACValidator())
    except (OSError, ValueError, STACError, STACValidationError) as error:
        yield f"{file.name} is no valid STAC item ({' '.join(str(error).split())})"


def _seams(mosaic: Mosaic, manifest: dict[str, Any], mapper: Mapper) -> Iterator[str]:
    """Steps across edges over steps elsewhere: 1 where there is no seam."""
    tile_px, stride_px = mosaic.grid.tile_px, manifest.get("stride_px")
    for name, period in ((TILE_SEAMS, tile_px), (CHIP_SEAMS, stride_px)):
        if period:
            found = seam_ratio(mosaic, period, max(LATTICE_BLOCK_PX, period), mapper=mapper)
            yield f"seams   {name}: {found or 'none within the map'} (1: no seam)"
