"""Pictures of a sweep: F1 over schedule and timestep, F1 against time."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from noise2map_core.diffusion.timesteps import inference_timesteps
from noise2map_core.products.pictures import literal
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.search.sweep import Sweep, Trial, full_trials, pareto_front, settings_of
from noise2map_core.settings.diffusion import DiffusionConfig

DPI = 120
Cell = tuple[str, str]
"""Schedule, and where in it inference looks."""


def schedule_cells(sweep: Sweep, trials: Sequence[Trial]) -> dict[Cell, list[float]]:
    """F1 of the full trials by schedule and inference timestep, of the first task."""
    cells: defaultdict[Cell, list[float]] = defaultdict(list)
    for trial in full_trials(trials):
        task = next(iter(settings_of(sweep, trial).of_tasks().values()))
        cell = (task.diffusion.schedule.kind, _place(task.diffusion))
        cells[cell].append(trial.f1 or 0.0)
    return dict(cells)


def _place(diffusion: DiffusionConfig) -> str:
    """Inference timesteps as a part of T − 1, in steps of 0.05, or as a number of them."""
    timesteps = inference_timesteps(diffusion)
    if len(timesteps) > 1:
        return f"{len(timesteps)} timesteps"
    return f"{round(20 * timesteps[0] / (diffusion.schedule.num_timesteps - 1)) / 20:.2f}"


def write_heat_map(path: Path, cells: dict[Cell, list[float]], title: str) -> None:
    """Mean F1 of each cell, with the number of trials where there are several."""
    rows = sorted({row for row, _ in cells})
    columns = sorted({column for _, column in cells})
    means = np.full((len(rows), len(columns)), np.nan)
    for (row, column), scores in cells.items():
        means[rows.index(row), columns.index(column)] = np.mean(scores)
    figure = _figure(2.6 + 0.95 * len(columns), 1.7 + 0.5 * len(rows))
    axis = figure.subplots()
    shown = axis.imshow(means, cmap="viridis", aspect="auto")
    middle = (np.nanmin(means) + np.nanmax(means)) / 2
    for (row, column), scores in cells.items():
        at = rows.index(row), columns.index(column)
        number = f"\nn = {len(scores)}" if len(scores) > 1 else ""
        axis.text(
            at[1], at[0], f"{means[at]:.3f}{number}", ha="center", va="center", fontsize="small",
            color="white" if means[at] <= middle else "black",
        )  # fmt: skip
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xlabel("timestep at inference, part of T − 1")
    axis.set_title(literal(title), fontsize="medium")
    figure.colorbar(shown, ax=axis, label="validation F1")
    _save(figure, path)


def write_pareto_plot(path: Path, trials: Sequence[Trial], title: str) -> None:
    """F1 over milliseconds a chip of the full trials; those that none beats are joined."""
    timed = [trial for trial in full_trials(trials) if trial.ms_per_chip is not None]
    front = pareto_front(trials)
    figure = _figure(6.0, 4.2)
    axis = figure.subplots()
    axis.errorbar(
        [trial.ms_per_chip or 0.0 for trial in timed], [trial.f1 or 0.0 for trial in timed],
        yerr=[trial.f1_error or 0.0 for trial in timed], fmt="o", color="0.6", capsize=2, zorder=1,
        label="full-budget trial, ± standard error",
    )  # fmt: skip
    axis.step(
        [trial.ms_per_chip or 0.0 for trial in front], [trial.f1 or 0.0 for trial in front],
        where="post", marker="o", color="#d7301f", zorder=2, label="Pareto front",
    )  # fmt: skip
    for trial in front:
        axis.annotate(
            str(trial.number), (trial.ms_per_chip or 0.0, trial.f1 or 0.0),
            xytext=(4, 5), textcoords="offset points", fontsize="small",
        )  # fmt: skip
    axis.set_xlabel("milliseconds a chip")
    axis.set_ylabel("validation F1")
    axis.set_title(literal(title), fontsize="medium")
    figure.legend(fontsize="small", loc="outside lower center", ncols=2)
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    with whole_file(path) as partial:
        figure.savefig(partial, metadata={"Software": None})
