"""The picture of a timestep study: where a model changes its mind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from noise2map_core.atomic import whole_file
from noise2map_core.inference.chip_batches import ChipBatch
from noise2map_core.inference.timestep_study import TimestepStudy, f1_of, has_labels
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.mapping.pictures import rgb_bands, stretched

DPI = 100
SIDE_IN = 2.0


def write_timestep_figure(
    path: Path,
    study: TimestepStudy,
    batch: ChipBatch,
    bands: Sequence[str],
    title: str,
) -> None:
    """Draw a study as PNG: dates, truth if there is one, spread, a curve over t, every prediction.

    `batch` holds the chip studied.
    """
    pictures = _pictures(batch, bands, dates=len(batch.image[0]) if len(study.orders) > 1 else 1)
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
    grid = bottom.subplots(rows, columns, squeeze=False)
    for order, row in enumerate(grid):
        for index, (axis, t) in enumerate(zip(row, study.timesteps, strict=True)):
            shown = axis.imshow(
                study.probability[order, index],
                vmin=0,
                vmax=1,
                cmap="magma",
                interpolation="nearest",
            )
            axis.set_title(f"t = {t}, {study.orders[order]}", fontsize="small")
            axis.set_axis_off()
    bottom.colorbar(shown, ax=grid, label="probability", shrink=0.8)
    figure.suptitle(title, fontsize="medium")
    with whole_file(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def _pictures(
    batch: ChipBatch, bands: Sequence[str], dates: int
) -> list[tuple[str, NDArray[np.float32]]]:
    """(title, RGB [H, W, 3] in 0–1) of the first dates. A task of one date was studied on one."""
    names = ("before", "after") if dates == 2 else tuple(f"date {d + 1}" for d in range(dates))
    rgb = rgb_bands(bands)
    return [
        (name, stretched(batch.image[0, date], batch.valid[0, date], rgb))
        for date, name in enumerate(names)
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
        truth = np.where(study.truth == IGNORE, 0.5, study.truth)
        axis.imshow(truth, vmin=0, vmax=1, cmap="gray", interpolation="nearest")
        axis.set_title("labels (grey: none)", fontsize="small")
    axis = next(axes)
    axis.imshow(study.spread, vmin=0, vmax=0.5, cmap="viridis", interpolation="nearest")
    share = study.changes_its_mind.mean() / max(study.observed.mean(), 1e-9)
    axis.set_title(f"spread; {share:.1%} undecided", fontsize="small")
    _draw_curve(next(axes), study)


def _draw_curve(axis: Any, study: TimestepStudy) -> None:
    """F1 over the timesteps, or where there are no labels the share that is decided positive."""
    labelled = has_labels(study)
    shares = (study.decided & study.observed).mean(axis=(2, 3)).tolist()
    curves = f1_of(study.counts()) if labelled else shares
    for name, values, style in zip(study.orders, curves, ("o-", "s--"), strict=False):
        axis.plot(study.timesteps, values, style, label=name, markersize=4)
    axis.set_ylim(0, 1)
    axis.set_title("F1 over t" if labelled else "share decided over t", fontsize="small")
    axis.tick_params(labelsize="x-small")
    axis.legend(fontsize="x-small", frameon=False)
