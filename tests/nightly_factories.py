"""Nights over the embedded scene, for tests and benchmarks."""

from pathlib import Path
from typing import Any

from noise2map_core.digest import file_sha256
from noise2map_core.testing.nights import FIRST, Night
from noise2map_core.testing.scenes import EmbeddedCatalog

TILE_PX = 64


def nightly_settings(
    embedded: EmbeddedCatalog, table: Path, checkpoint: Path, output: Path, **more: Any
) -> dict[str, Any]:
    """One area, "farm", on small tiles."""
    return {
        "output": str(output),
        "sensors": {"camera": {"catalog": str(table), "collection": embedded.collection}},
        "areas": [area_settings(embedded, checkpoint)],
        **more,
    }


def area_settings(embedded: EmbeddedCatalog, checkpoint: Path, **more: Any) -> dict[str, Any]:
    return {
        "id": "farm",
        "aoi": str(embedded.map_aoi),
        "sensor": "camera",
        "checkpoint": str(checkpoint),
        "since": str(FIRST),
        "pair": {"kind": "fixed", "baseline": embedded.before},
        "grid": {"tile_px": TILE_PX},
        "resources": {"num_cpus": 2},
        **more,
    }


def results(area: Path) -> dict[str, str]:
    """Digest of all pixels and of all tables of an area, by path."""
    kinds = ("slices/*/mosaic.zarr/**/*", "slices/*/*.tif", "slices/*/polygons.*",
             "objects/*", "changes/*")  # fmt: skip
    files = [path for kind in kinds for path in area.glob(kind) if path.is_file()]
    return {str(path.relative_to(area)): file_sha256(path) for path in sorted(files)}


def touched_tiles(
    night: Night, transform: Any, shape: tuple[int, int], chip_px: int, stride_px: int
) -> int:
    """Tiles of a mosaic [H, W] whose chips meet a night's item; from the contract's words alone.

    `transform` is the mosaic's. Chips lie on multiples of the stride, counted from the CRS's
    origin, and a tile reads all chips that share a pixel with it.
    """
    left, top, size = round(transform.c / transform.a), round(-transform.f / transform.a), TILE_PX
    west, south, east, north = (edge / transform.a for edge in night.box)
    rows = [_reach(top + start, chip_px, stride_px) for start in range(0, shape[0], size)]
    cols = [_reach(left + start, chip_px, stride_px) for start in range(0, shape[1], size)]
    down = sum(-north <= stop + 1 and -south >= start - 1 for start, stop in rows)
    across = sum(west <= stop + 1 and east >= start - 1 for start, stop in cols)
    return down * across


def _reach(start: int, chip_px: int, stride_px: int) -> tuple[int, int]:
    first = ((start - chip_px) // stride_px + 1) * stride_px
    last = (start + TILE_PX - 1) // stride_px * stride_px
    return first, last + chip_px
