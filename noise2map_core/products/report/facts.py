"""What the report says of a map."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core import __version__
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION, Reason
from noise2map_core.products.palette import (
    CLEAR,
    NUM_SHADES,
    REASON_COLORS,
    Rgba,
    amount_shades,
    css_color,
    opaque,
    reason_names,
)
from noise2map_core.products.pixel_area import pixel_areas
from noise2map_core.products.report.html import Table
from noise2map_core.products.report.images import overlay_url, photo_url, png_url
from noise2map_core.products.report.outlines import areas_of
from noise2map_core.products.report.page import Histogram, Layer, ReportPage
from noise2map_core.products.subject import MapSubject
from noise2map_core.products.survey import Survey
from noise2map_core.products.tally import BINS_A_DECADE, NUM_LARGEST, PolygonTally

PHOTO_BYTES = 1_600_000
OVERLAY_BYTES = 600_000
"""Two photographs and four overlays at most, outlines and the page: under 10 MB in base64."""


SPEED_ROWS = {
    "mpx_per_s": ("speed", "{:,.3g} Mpx/s"),
    "km2_per_h": ("area an hour", "{:,.0f} km²"),
    "chips": ("chips", "{:,}"),
    "bytes_read": ("bytes of pixels read", "{:,}"),
    "start_s": ("workers started after", "{:,.1f} s"),
    "predictors_wait_s": ("predictors waited", "{:,.1f} s"),
    "bottleneck": ("bottleneck", "{}"),
}
"""Of the manifest's throughput: what people read."""


def report_page(
    subject: MapSubject,
    grid: RegionGrid,
    photos: dict[str, NDArray[np.float32]],
    survey: Survey,
    tally: PolygonTally,
    facts: dict[str, Any],
    files: list[tuple[str, str]],
    disputed: Path | None = None,
) -> ReportPage:
    """Everything that the page says. `photos` are by epoch; `facts` are the manifest's; `disputed`
    is a picture of a chip over timesteps."""
    height, width = survey.pictures["class"].shape
    return ReportPage(
        title=subject.title,
        summary=_summary(subject, tally),
        width=width,
        height=height,
        metres_per_px=_metres(grid) * survey.step,
        photos=[
            (name, f"{name} {date:%Y-%m-%d}", photo_url(photos[name], PHOTO_BYTES))
            for name, (_, date) in subject.epochs.items()
        ],
        layers=_layers(subject, survey),
        areas=areas_of(tally.largest, subject.colors, grid, survey.step),
        areas_note=_areas_note(tally),
        several_classes=len(subject.sought) > 1,
        dates={
            name.capitalize(): f"{date:%Y-%m-%d %H:%M} UTC"
            for name, (_, date) in subject.epochs.items()
        },
        histograms=_histograms(survey, tally),
        disputed=png_url(disputed) if disputed else "",
        figures={"Map": _map_rows(subject, grid, survey, tally), "Run": _run_rows(facts)},
        provenance={"Model": list(subject.model.items()), "Software": _software_rows(facts)},
        sources=[
            (scene.id, name, _utc(scene.datetime), scene.href)
            for name, (scenes, _) in subject.epochs.items()
            for scene in scenes
        ],
        attribution=subject.attribution,
        files=files,
    )


def _utc(date: datetime) -> str:
    return f"{date:%Y-%m-%d %H:%M} UTC"


def _summary(subject: MapSubject, tally: PolygonTally) -> str:
    areas = (f"{name} {hectares(tally.area_m2.get(name, 0.0))}" for name in subject.sought.values())
    return f"{', '.join(areas)} in {tally.count:,} areas; north is up."


def _areas_note(tally: PolygonTally) -> str:
    if tally.count <= NUM_LARGEST:
        return f"All {tally.count:,}. Choose one here or on the map."
    return f"The {NUM_LARGEST:,} largest of {tally.count:,}. Choose one here or on the map."


def hectares(m2: float) -> str:
    """An area for people."""
    return f"{m2 / 1e6:,.1f} km²" if m2 >= 1e7 else f"{m2 / 1e4:,.1f} ha"


def _metres(grid: RegionGrid) -> float:
    """Side of a pixel on the ground in the middle of the region."""
    region = grid.region
    middle = Window(region.row + region.height // 2, region.col + region.width // 2, 1, 1)
    return float(np.sqrt(pixel_areas(grid, middle)[0, 0]))


def _layers(subject: MapSubject, survey: Survey) -> list[Layer]:
    colors = {value: opaque(subject.colors[value]) for value in subject.sought}
    legend = [(subject.colors[value], name) for value, name in subject.sought.items()]
    layers = [_layer("class", subject.task, survey, colors, legend, shown=True)]
    amounts = {"probability": "probability", "disagreement": "disagreement"}
    for name, title in amounts.items():
        if name in survey.pictures:
            layers.append(_layer(name, title, survey, *_amount_colors(title)))
    if "reason" in survey.pictures and (found := _reasons(survey)):
        shades = {int(reason): opaque(REASON_COLORS[reason]) for reason in found}
        words = [(REASON_COLORS[r], reason_names()[r]) for r in found]
        layers.append(_layer("reason", "why no decision", survey, shades, words))
    return layers


def _reasons(survey: Survey) -> list[Reason]:
    return [reason for reason in REASON_COLORS if survey.counts["reason"][reason]]


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


def _histograms(survey: Survey, tally: PolygonTally) -> list[Histogram]:
    titles = {
        "probability": "Probability, percent",
        "disagreement": "Disagreement of several forward passes, percent",
    }
    shown = [
        _percent_histogram(title, survey.counts[name])
        for name, title in titles.items()
        if name in survey.counts
    ]
    if (filled := np.flatnonzero(tally.sizes)).size:
        bins = range(filled[0], filled[-1] + 1)
        labels = [_size(10 ** (bin_ / BINS_A_DECADE)) for bin_ in bins]
        counts = tally.sizes[bins.start : bins.stop].tolist()
        shown.append(Histogram("Size of the areas", labels, counts, "areas"))
    return shown


def _percent_histogram(title: str, counts: NDArray[np.int64]) -> Histogram:
    """Twenty bins of five percent; the last holds 100, too."""
    fives = np.minimum(np.arange(101) // 5, 19)
    binned = np.bincount(fives, counts[:101], 20).astype(int).tolist()
    return Histogram(title, [str(5 * number) for number in range(20)], binned, "pixels")


def _size(m2: float) -> str:
    amount, unit = (m2 / 1e6, "km²") if m2 >= 1e6 else (m2 / 1e4, "ha") if m2 >= 1e4 else (m2, "m²")
    return f"{float(f'{amount:.2g}'):g} {unit}"


def _map_rows(subject: MapSubject, grid: RegionGrid, survey: Survey, tally: PolygonTally) -> Table:
    counts = survey.counts["class"]
    names = {**subject.names, NO_DECISION: "no decision"}
    total = int(counts.sum())
    return [
        *((f"{name}: area", hectares(area)) for name, area in tally.area_m2.items()),
        ("areas", f"{tally.count:,}"),
        *(
            (f"{name}: pixels", f"{counts[value]:,} ({counts[value] / total:.1%})")
            for value, name in names.items()
        ),
        ("size", f"{grid.region.width:,} × {grid.region.height:,} pixels"),
        ("pixel", f"{grid.resolution:g} m"),
        ("grid", grid.crs),
    ]


def _run_rows(facts: dict[str, Any]) -> Table:
    """Tiles, seconds by stage, and what the manifest says of speed and bottleneck."""
    tiles, seconds = facts.get("tiles", {}), facts.get("seconds", {})
    rows = [(f"tiles {name}", f"{count:,}") for name, count in tiles.items()]
    rows += [(stage, f"{spent:,.1f} s") for stage, spent in seconds.items()]
    speed = facts.get("throughput", {})
    return rows + [
        (label, form.format(speed[name]))
        for name, (label, form) in SPEED_ROWS.items()
        if speed.get(name) is not None
    ]


def _software_rows(facts: dict[str, Any]) -> Table:
    return [
        ("noise2map", __version__),
        *((name.replace("_", " "), str(facts[name])) for name in ("config_digest",)
          if name in facts),
        *_plain(facts.get("numeric_path", {})),
    ]  # fmt: skip


def _plain(values: dict[str, Any]) -> Sequence[tuple[str, str]]:
    """Numbers and texts as they are; what lies deeper is for the manifest."""
    return [
        (name.replace("_", " "), f"{value:,.4g}" if isinstance(value, float) else str(value))
        for name, value in values.items()
        if isinstance(value, str | int | float)
    ]
