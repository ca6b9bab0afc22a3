"""The report of a map: what it says, as one HTML page that needs no network."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core import __version__
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION
from noise2map_core.products.overlays import Area, Layer, areas_of, layers_of
from noise2map_core.products.pixel_area import pixel_areas
from noise2map_core.products.styles.palette import reason_legend
from noise2map_core.products.subject import MapSubject
from noise2map_core.products.survey import Survey
from noise2map_core.products.vectors.polygons import (
    BINS_A_DECADE,
    NUM_LARGEST,
    Balance,
    PolygonTally,
)
from noise2map_core.report.images import photo_url, png_url
from noise2map_core.report.pages import Table, render
from noise2map_core.runtime.atomic import write_atomically

PHOTO_BYTES = 1_600_000

NAMES_OF_SCORES = 3
"""Columns of a card's scores that say of what they are: data, class, method."""
SPEED_ROWS = {
    "mpx_per_s": ("speed", "{:,.3g} Mpx/s"),
    "km2_per_h": ("area an hour", "{:,.0f} km²"),
    "chips": ("chips", "{:,}"),
    "bytes_read": ("bytes of pixels read", "{:,}"),
    "start_s": ("workers started after", "{:,.1f} s"),
    "predictors_busy_share": ("predictors busy between tiles", "{:.1%}"),
    "predictors_wait_s": ("predictors waited", "{:,.1f} s"),
    "bottleneck": ("bottleneck", "{}"),
}
"""Of the manifest's throughput: what people read."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bins."""

    title: str
    labels: list[str]
    """Lower edge of each bin."""
    counts: list[int]
    unit: str


@dataclass(frozen=True)
class MapReport:
    """All that the page says. Plain text throughout."""

    title: str
    summary: str
    warnings: list[str]
    """What does not look right, and what to do."""
    width: int
    """Pixels of the preview."""
    height: int
    metres_per_px: float
    photos: list[tuple[str, str, str]]
    """Earlier first: "before" or "after", its caption, `data:` URL. A map of one date has one."""
    layers: list[Layer]
    areas: list[Area]
    """Largest first."""
    areas_note: str
    dates: dict[str, str]
    """What an opened polygon says of time."""
    histograms: list[Histogram]
    disputed: str
    """A chip over timesteps and orders, `data:` URL; empty if passes were not compared."""
    figures: dict[str, Table]
    """Tables by caption."""
    scores: list[tuple[str, str]]
    """What was scored, and how well the model did; of the card of a checkpoint."""
    scores_note: str
    provenance: dict[str, Table]
    sources: Table
    """Item id, date, acquisition time, where the item lies."""
    attribution: list[str]
    files: list[tuple[str, str]]
    """Products beside the report: relative path, what it is."""

    def data(self) -> dict[str, Any]:
        """What the page's script draws."""
        layers = [{k: v for k, v in asdict(layer).items() if k != "url"} for layer in self.layers]
        return {
            "width": self.width, "height": self.height, "metres_per_px": self.metres_per_px,
            "layers": layers, "areas": [asdict(area) for area in self.areas],
            "dates": self.dates,
            "histograms": [asdict(histogram) for histogram in self.histograms],
        }  # fmt: skip


def write_report(path: Path, report: MapReport) -> None:
    """Write the page, whole or not at all."""
    write_atomically(path, render("map.html", page=report))


def map_report(
    subject: MapSubject,
    grid: RegionGrid,
    photos: dict[str, NDArray[np.float32]],
    survey: Survey,
    tally: PolygonTally,
    facts: dict[str, Any],
    files: list[tuple[str, str]],
    disputed: Path | None = None,
) -> MapReport:
    """Everything that the page says. `photos` are by epoch; `facts` are the manifest's; `disputed`
    is a picture of a chip over timesteps."""
    height, width = survey.pictures["class"].shape
    return MapReport(
        title=subject.title,
        summary=_summary(subject, survey, tally),
        warnings=list(facts.get("warnings", ())),
        width=width,
        height=height,
        metres_per_px=_metres(grid) * survey.step,
        photos=[
            (name, f"{name} {date:%Y-%m-%d}", photo_url(photos[name], PHOTO_BYTES))
            for name, (_, date) in subject.epochs.items()
        ],
        layers=layers_of(subject, survey),
        areas=areas_of(tally.largest, subject.colors, grid, survey.step),
        areas_note=_areas_note(tally),
        dates={
            name.capitalize(): f"{date:%Y-%m-%d %H:%M} UTC"
            for name, (_, date) in subject.epochs.items()
        },
        histograms=_histograms(survey, tally),
        disputed=png_url(disputed) if disputed else "",
        figures={"Map": _map_rows(subject, grid, survey, tally), "Run": _run_rows(facts)},
        scores=_scores(subject),
        scores_note=_scores_note(subject),
        provenance={"Model": list(subject.model.items()), "Software": _software_rows(facts)},
        sources=[
            (scene.id, name, _utc(scene.datetime), _address(scene.href))
            for name, (scenes, _) in subject.epochs.items()
            for scene in scenes
        ],
        attribution=subject.attribution,
        files=files,
    )


def _address(href: str) -> str:
    """Of a file of this machine its name alone: the report goes out by mail and is published."""
    return href if "://" in href else Path(href).name


def _scores(subject: MapSubject) -> list[tuple[str, str]]:
    """A line a row of the card's table: what it is of, and the numbers behind their names."""
    header, *rows = subject.scores or [()]
    return [
        (
            ", ".join(row[:NAMES_OF_SCORES]),
            "; ".join(
                f"{name.partition(' (')[0]} {text}"
                for name, text in zip(header[NAMES_OF_SCORES:], row[NAMES_OF_SCORES:], strict=True)
                if text
            ),
        )
        for row in rows
    ]


def _scores_note(subject: MapSubject) -> str:
    if len(subject.scores) > 1:
        return "From its card; how good this map is, noise2map sample and assess say."
    if subject.document:
        return (
            "None recorded: noise2map evaluate-maps --add-to-card writes into the checkpoint's "
            "card how well it does where labels are known."
        )
    return "None: a detector made this map; it has learnt from no labels."


def _utc(date: datetime) -> str:
    return f"{date:%Y-%m-%d %H:%M} UTC"


def _summary(subject: MapSubject, survey: Survey, tally: PolygonTally) -> str:
    found = subject.found(survey.counts["class"]).values()
    areas = [f"{name} {hectares(tally.area_m2.get(name, 0.0))}" for name in found]
    balance = _balance(subject, tally)
    said = "".join(f" {name}: {text}." for name, text in balance.items())
    return f"{', '.join(areas) or 'no change'} in {tally.count:,} areas; north is up.{said}"


def _areas_note(tally: PolygonTally) -> str:
    which = f"All {tally.count:,}."
    if tally.count > NUM_LARGEST:
        which = f"The {NUM_LARGEST:,} largest of {tally.count:,}."
    return f"{which} {left_out_text(tally)}Choose one here or on the map."


def left_out_text(tally: PolygonTally) -> str:
    """How many areas are no polygons, as a sentence with a space behind it; empty if none."""
    small = tally.left_out
    if not small.count:
        return ""
    return (
        f"{small.count:,} smaller ones ({hectares(small.area_m2)} in all) are on the map and not "
        "in the list. "
    )


def undecided_pixels(subject: MapSubject, survey: Survey) -> dict[str, int]:
    """How many pixels of the region have no decision, by reason."""
    counts = survey.counts["reason"]
    found = reason_legend(counts, one_date=not subject.before)
    return {name: int(counts[reason]) for reason, name in found.items()}


def _balance(subject: MapSubject, tally: PolygonTally) -> dict[str, str]:
    return balance_lines(tally.balance(subject.sought, subject.directions))


def balance_lines(balance: Balance) -> dict[str, str]:
    """What each class gained and lost, for people; of two classes the second alone, whose
    counterpart the first is."""
    shown = list(balance.items())
    return {
        name: f"{area['gained_ha']:,.2f} ha gained, {area['lost_ha']:,.2f} ha lost"
        for name, area in (shown[1:] if len(shown) == 2 else shown)
    }


def hectares(m2: float) -> str:
    """An area for people."""
    return f"{m2 / 1e6:,.1f} km²" if m2 >= 1e7 else f"{m2 / 1e4:,.1f} ha"


def _metres(grid: RegionGrid) -> float:
    """Side of a pixel on the ground in the middle of the region."""
    region = grid.region
    middle = Window(region.row + region.height // 2, region.col + region.width // 2, 1, 1)
    return float(np.sqrt(pixel_areas(grid, middle)[0, 0]))


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
            if counts[value] or value not in subject.directions
        ),
        *_balance(subject, tally).items(),
        *(
            (f"no decision, {name}: pixels", f"{count:,} ({count / total:.1%})")
            for name, count in undecided_pixels(subject, survey).items()
        ),
        ("areas too small for a polygon", f"{tally.left_out.count:,}"),
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
        if isinstance(value, str | int | float) and value != ""
    ]
