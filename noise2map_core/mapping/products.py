"""The products of a complete mosaic: rasters, polygons, picture, STAC item, report."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.mapping.config import ProductsConfig
from noise2map_core.mapping.item import write_item
from noise2map_core.mapping.mosaic import NO_DECISION, Mosaic
from noise2map_core.mapping.polygons import trace_polygons, write_polygons
from noise2map_core.mapping.quicklook import rgb_bands, stretched, write_quicklook
from noise2map_core.mapping.rasters import ColorTable, write_change_cog, write_probability_cog
from noise2map_core.mapping.report import ReportFacts, write_report
from noise2map_core.mapping.subject import MapSubject

CHANGED = 1
PRODUCT_FILES = (
    "change.tif", "probability.tif", "polygons.parquet", "quicklook.png", "item.json",
    "report.html",
)  # fmt: skip


@dataclass(frozen=True)
class MapFigures:
    """What there is to say of a map in numbers."""

    polygons: int
    changed_m2: float
    """Geodesic area of all polygons."""
    pixels: dict[str, int]
    """Pixels of each class in the region, and without a decision."""


def clear_output(output: Path) -> None:
    """Delete an output's mosaic, records, products and manifest; whatever else lies there stays."""
    shutil.rmtree(output / "mosaic.zarr", ignore_errors=True)
    shutil.rmtree(output / "ledger" / "records", ignore_errors=True)
    for name in (*PRODUCT_FILES, "manifest.json"):
        (output / name).unlink(missing_ok=True)


def write_products(mosaic: Mosaic, subject: MapSubject, config: ProductsConfig) -> MapFigures:
    """Write every product beside the mosaic, each whole or not at all, in place of older ones."""
    output = mosaic.path.parent
    write_change_cog(mosaic, output / "change.tif", _color_table(subject.classes))
    write_probability_cog(mosaic, output / "probability.tif")
    name = _names(subject.classes)[CHANGED]
    polygons = trace_polygons(mosaic, CHANGED, name, subject.dates, config.min_area_m2)
    write_polygons(polygons, output / "polygons.parquet")
    _write_picture(mosaic, subject, config.quicklook_px)
    figures = MapFigures(len(polygons), float(polygons["area_m2"].sum()), _count(mosaic, subject))
    write_report(output / "report.html", _report_facts(subject, figures), output / "quicklook.png")
    write_item(output, mosaic.grid, subject.aoi, subject)
    return figures


def _names(classes: list[dict[str, Any]]) -> dict[int, str]:
    return {entry["value"]: entry["name"] for entry in classes}


def _color_table(classes: list[dict[str, Any]]) -> ColorTable:
    """RGBA by value; "no decision" is transparent."""
    table: ColorTable = {NO_DECISION: (0, 0, 0, 0)}
    for entry in classes:
        red, green, blue = (round(255 * part) for part in to_rgb(entry["color"]))
        table[entry["value"]] = (red, green, blue, 255)
    return table


def _write_picture(mosaic: Mosaic, subject: MapSubject, longest_px: int) -> None:
    """The quicklook, read at its own size: the region is never in memory whole."""
    step = max(1, -(-max(mosaic.grid.region.height, mosaic.grid.region.width) // longest_px))
    geobox = _coarse_geobox(mosaic.grid, step)
    rgb = rgb_bands(subject.bands)
    dates = subject.dates
    pictures = []
    for label, scenes, date in (
        ("before", subject.before, dates.before), ("after", subject.after, dates.after),
    ):  # fmt: skip
        image, valid = read_pixels(scenes, geobox, "nearest")
        pictures.append((f"{label}: {date:%Y-%m-%d}", stretched(image, valid, rgb)))
    change = _thinned(mosaic, step, (geobox.shape[0], geobox.shape[1]))
    write_quicklook(
        mosaic.path.parent / "quicklook.png",
        pictures,
        change,
        {entry["value"]: entry["color"] for entry in subject.classes},
        _names(subject.classes),
        subject.title,
    )


def _coarse_geobox(grid: RegionGrid, step: int) -> GeoBox:
    """The region at `step` times its pixel size."""
    shape = (-(-grid.region.height // step), -(-grid.region.width // step))
    fine = grid.transform(grid.region)
    pixel = grid.resolution * step
    return GeoBox(shape, Affine(pixel, 0.0, fine.c, 0.0, -pixel, fine.f), grid.crs)


def _thinned(mosaic: Mosaic, step: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The strongest class of each `step`² block: thin changes stay visible in a small picture."""
    picture = np.full(shape, NO_DECISION, np.uint8)
    region, px = mosaic.grid.region, mosaic.grid.tile_px // step * step or step
    for row in range(region.row, region.row_stop, px):
        for col in range(region.col, region.col_stop, px):
            window = Window(row, col, px, px).intersect(region)
            block = _strongest(mosaic.read("class", window), step)
            at = (row - region.row) // step, (col - region.col) // step
            picture[at[0] : at[0] + block.shape[0], at[1] : at[1] + block.shape[1]] = block
    return picture


def _strongest(values: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Highest decided class of each block; no decision only where no pixel has one."""
    rows, cols = -values.shape[0] % step, -values.shape[1] % step
    padded = np.pad(values.astype(np.int16), ((0, rows), (0, cols)), constant_values=NO_DECISION)
    padded[padded == NO_DECISION] = -1
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    strongest = blocks.max(axis=(1, 3))
    return np.where(strongest < 0, NO_DECISION, strongest).astype(np.uint8)


def _count(mosaic: Mosaic, subject: MapSubject) -> dict[str, int]:
    counts = np.zeros(256, np.int64)
    for tile in mosaic.grid.tiles():
        window = mosaic.grid.window(tile).intersect(mosaic.grid.region)
        counts += np.bincount(mosaic.read("class", window).ravel(), minlength=256)
    names = {**_names(subject.classes), NO_DECISION: "no decision"}
    return {name: int(counts[value]) for value, name in names.items()}


def _report_facts(subject: MapSubject, figures: MapFigures) -> ReportFacts:
    return ReportFacts(
        title=subject.title,
        figures={
            "changed area": f"{figures.changed_m2 / 1e4:,.1f} ha in {figures.polygons:,} polygons",
            **{f"pixels {name}": f"{count:,}" for name, count in figures.pixels.items()},
        },
        model=subject.model,
        sources=[(s.id, f"{s.datetime:%Y-%m-%d %H:%M} UTC", s.href)
                 for s in [*subject.before, *subject.after]],
        attribution=subject.attribution,
        files=[name for name in PRODUCT_FILES if name != "report.html"],
    )  # fmt: skip
