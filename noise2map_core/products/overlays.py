"""What the report lays over the images: maps, and outlines of areas."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.products.styles.palette import (
    CLEAR,
    NUM_SHADES,
    REASON_COLORS,
    amount_shades,
    css_color,
    opaque,
    reason_legend,
)
from noise2map_core.products.subject import MapSubject
from noise2map_core.products.survey import Survey
from noise2map_core.products.vectors.polygon_files import geo_table
from noise2map_core.report.images import Rgba, overlay_url

OVERLAY_BYTES = 600_000
"""Of each map. Two photographs, four maps, outlines and the page: under 10 MB in base64."""
MOST_CHARACTERS = 1_000_000
"""Of all outlines together."""
TOLERANCES_PX = (0.4, 0.8, 1.6, 3.2, 6.4)
"""How far outlines may move, in pixels of the preview: the first that keeps to the limit."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A map that is laid over the images."""

    id: str
    title: str
    url: str
    """`data:` URL."""
    legend: list[tuple[str, str]]
    """CSS colour and text."""
    shown: bool
    """Switched on at first."""


@dataclass(frozen=True, slots=True)
class Area:
    """A polygon that can be opened. Coordinates are pixels of the preview."""

    id: str
    class_name: str
    color: str
    area_m2: float
    pixels: int
    probability: float
    centre: str
    box: tuple[float, float, float, float]
    """Left, top, right, bottom."""
    path: str
    """SVG path data."""


def layers_of(subject: MapSubject, survey: Survey) -> list[Layer]:
    """The classes, then what is known of their certainty."""
    colors = {value: opaque(subject.colors[value]) for value in subject.sought}
    found = subject.found(survey.counts["class"])
    legend = [(subject.colors[value], name) for value, name in found.items()]
    layers = [_layer("class", subject.task, survey, colors, legend, shown=True)]
    amounts = {"probability": "probability", "disagreement": "disagreement"}
    for name, title in amounts.items():
        if name in survey.pictures:
            layers.append(_layer(name, title, survey, *_amount_colors(title)))
    if hidden := reason_legend(survey.counts["reason"], one_date=not subject.before):
        shades = {int(reason): opaque(REASON_COLORS[reason]) for reason in hidden}
        words = [(REASON_COLORS[reason], f"no decision: {name}") for reason, name in hidden.items()]
        layers.append(_layer("reason", "why no decision", survey, shades, words, shown=True))
    return layers


def _amount_colors(title: str) -> tuple[dict[int, Rgba], list[tuple[str, str]]]:
    """Of percents."""
    shades, fives = amount_shades(), 100 // (NUM_SHADES - 1)
    shade_of = {percent: shades[percent // fives] for percent in range(101)}
    legend = [
        (css_color(shade_of[percent]), f"{title} {percent} %") for percent in (0, 25, 50, 75, 100)
    ]
    return shade_of, legend


def _layer(
    name: str,
    title: str,
    survey: Survey,
    colors: dict[int, Rgba],
    legend: list[tuple[str, str]],
    shown: bool = False,
) -> Layer:
    """Values without a colour are clear; equal colours share a number, which packs better."""
    distinct = [CLEAR, *dict.fromkeys(colors.values())]
    number = np.zeros(256, np.uint8)
    for value, color in colors.items():
        number[value] = distinct.index(color)
    url = overlay_url(number[survey.pictures[name]], distinct, OVERLAY_BYTES)
    return Layer(name, title, url, legend, shown)


def areas_of(
    largest: pa.Table | None, colors: dict[int, str], grid: RegionGrid, step: int
) -> list[Area]:
    """The polygons (those of `PolygonTally.largest`) on a preview thinned `step` times."""
    if not largest:
        return []
    polygons = geo_table(largest, grid.crs)
    placed = _on_preview(polygons.geometry.to_numpy(), grid, step)
    centres = shapely.get_coordinates(polygons.geometry.representative_point().to_crs("EPSG:4326"))
    rows = zip(
        polygons.itertuples(index=False), polygons["class"], _paths(placed),
        shapely.bounds(placed).round(1), centres, strict=True,
    )  # fmt: skip
    return [
        Area(
            id=row.polygon_id,
            class_name=row.class_name,
            color=colors[int(value)],
            area_m2=round(row.area_m2, 1),
            pixels=row.pixels,
            probability=round(row.probability, 4),
            centre=f"{lat:.5f}, {lon:.5f}",
            box=tuple(box.tolist()),
            path=path,
        )
        for row, value, path, box, (lon, lat) in rows
    ]


def _on_preview(
    geometries: NDArray[np.object_], grid: RegionGrid, step: int
) -> NDArray[np.object_]:
    frame, pixel = grid.transform(grid.region), grid.resolution * step
    origin, scale = np.array([frame.c, frame.f]), np.array([pixel, -pixel])
    placed: NDArray[np.object_] = shapely.transform(geometries, lambda xy: (xy - origin) / scale)
    return placed


def _paths(geometries: NDArray[np.object_]) -> list[str]:
    """SVG path data; the larger ones coarser if all together would be too long."""
    for tolerance in TOLERANCES_PX:
        paths = [outline_path(polygon) for polygon in shapely.simplify(geometries, tolerance)]
        if sum(map(len, paths)) <= MOST_CHARACTERS:
            return paths
    boxes = shapely.bounds(geometries)
    return [outline_path(polygon) for polygon in shapely.box(*boxes.T)]


def outline_path(polygon: shapely.Polygon) -> str:
    """SVG path data of a polygon, its holes included."""
    return "".join(_ring(ring) for ring in (polygon.exterior, *polygon.interiors))


def _ring(ring: shapely.LinearRing) -> str:
    points = shapely.get_coordinates(ring)[:-1].round(1)
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points.tolist()) + "Z"
