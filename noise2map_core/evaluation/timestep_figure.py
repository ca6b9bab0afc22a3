"""The picture of a timestep study: where a model changes its mind."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.evaluation.timestep_study import TimestepStudy, f1_of, has_labels
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.products.pictures import literal, rgb_bands, stretched
from noise2map_core.products.styles.palette import AMOUNT_MAP
from noise2map_core.runtime.atomic import whole_file

DPI = 100
SIDE_IN = 2.0
LINES = ("o-", "s--")
"""By order of the dates."""


def write_timestep_figure(
    path: Path,
    study: TimestepStudy,
    batch: ChipBatch,
    bands: Sequence[str],
    title: str,
) -> None:
    """Draw a study as PNG: dates, truth if there is one, spread, a curve over t, every prediction:
    of two classes the probability of the second, of more the class that is decided.

    `batch` holds the chip studied.
    """
    pictures = photos(batch, bands, range(study.task.num_dates))
    columns, rows = len(study.timesteps), len(study.orders)
    panels = len(pictures) + (3 if has_labels(study) else 2)
    figure = Figure(
        figsize=(SIDE_IN * max(columns, panels) + 0.8, (SIDE_IN + 0.35) * (rows + 1)),
        dpi=DPI,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=[1, rows])
    top, bottom = parts
    _draw_evidence(top.subplots(1, panels), study, pictures)
    _draw_predictions(bottom, study)
    figure.legend(
        handles=[Patch(color=one.color, label=literal(one.name)) for one in study.task.classes],
        loc="outside lower center",
        ncols=max(columns, panels),
        fontsize="small",
        frameon=False,
    )
    figure.suptitle(title, fontsize="medium")
    with whole_file(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def photos(
    batch: ChipBatch, bands: Sequence[str], dates: Sequence[int]
) -> list[tuple[str, NDArray[np.float32]]]:
    """(title, RGB [H, W, 3] in 0–1) of some dates of a batch's first chip."""
    names = {1: ["image"], 2: ["before", "after"]}.get(
        len(dates), [f"date {date + 1}" for date in dates]
    )
    rgb = rgb_bands(bands)
    return [
        (name, stretched(batch.image[0, date], batch.valid[0, date], rgb))
        for name, date in zip(names, dates, strict=True)
    ]


def _draw_evidence(
    row: Any, study: TimestepStudy, pictures: Sequence[tuple[str, NDArray[np.float32]]]
) -> None:
    """Dates, truth if known, where it changes its mind, and the curve."""
    axes = iter(row)
    for axis in row[:-1]:
        axis.set_axis_off()
    for name, picture in pictures:
        axis = next(axes)
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name, fontsize="small")
    if has_labels(study):
        axis = next(axes)
        _draw_classes(axis, study.truth, study)
        axis.set_title("labels (white: none)", fontsize="small")
    axis = next(axes)
    axis.imshow(study.spread, vmin=0, vmax=0.5, cmap="viridis", interpolation="nearest")
    share = study.changes_its_mind.mean() / max(study.observed.mean(), 1e-9)
    axis.set_title(f"spread; {share:.1%} undecided", fontsize="small")
    _draw_curve(next(axes), study)


def _draw_classes(axis: Any, values: NDArray[np.uint8], study: TimestepStudy) -> None:
    """Classes [y, x] in their colours; `IGNORE` is left white."""
    colors = [entry.color for entry in study.task.classes]
    axis.imshow(
        np.ma.masked_equal(values, IGNORE),
        vmin=0,
        vmax=len(colors) - 1,
        cmap=ListedColormap(colors),
        interpolation="nearest",
    )


def _draw_curve(axis: Any, study: TimestepStudy) -> None:
    """F1 over the timesteps; where there are no labels, the share of each class that is sought."""
    for order, style in enumerate(LINES[: len(study.orders)]):
        for color, values in _curves(study, order):
            axis.plot(study.timesteps, values, style, color=color, markersize=4)
        axis.plot([], [], style, color="black", markersize=4, label=study.orders[order])
    f1 = "F1" if len(study.task.classes) == 2 else "mean F1"
    axis.set_ylim(0, 1 if has_labels(study) else None)
    axis.set_title(f"{f1 if has_labels(study) else 'share decided'} over t", fontsize="small")
    axis.tick_params(labelsize="x-small")
    if len(study.orders) > 1:
        axis.legend(fontsize="x-small", frameon=False)


def _curves(study: TimestepStudy, order: int) -> Iterator[tuple[str, list[float]]]:
    """(colour, value at each timestep) of one order of the dates."""
    if has_labels(study):
        yield "black", f1_of(study.counts())[order]
        return
    for entry in study.task.sought:
        decided = (study.decided[order] == entry.value) & study.observed
        yield entry.color, decided.mean(axis=(1, 2)).tolist()


def _draw_predictions(part: Any, study: TimestepStudy) -> None:
    """A picture for each order of the dates (row) and timestep (column)."""
    grid = part.subplots(len(study.orders), len(study.timesteps), squeeze=False)
    for order, row in enumerate(grid):
        said = f", {study.orders[order]}" if len(study.orders) > 1 else ""
        for index, (axis, t) in enumerate(zip(row, study.timesteps, strict=True)):
            _draw_prediction(axis, study, order, index)
            axis.set_title(f"t = {t}{said}", fontsize="small")
            axis.set_axis_off()
    if len(study.task.classes) == 2:
        shades = ScalarMappable(cmap=AMOUNT_MAP)
        shades.set_clim(0, 1)
        label = f"probability of {literal(study.task.classes[1].name)}"
        part.colorbar(shades, ax=grid, label=label, shrink=0.8)


def _draw_prediction(axis: Any, study: TimestepStudy, order: int, index: int) -> None:
    if len(study.task.classes) == 2:
        probability = study.probability[order, index, 1]
        axis.imshow(probability, vmin=0, vmax=1, cmap=AMOUNT_MAP, interpolation="nearest")
    else:
        decided = study.decided[order, index]
        _draw_classes(axis, np.where(study.observed, decided, np.uint8(IGNORE)), study)
