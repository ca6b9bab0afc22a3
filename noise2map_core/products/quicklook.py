"""The quicklook: the images and the map side by side, with a legend."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from noise2map_core.mapping.mosaic import NO_DECISION, Reason
from noise2map_core.products.pictures import literal
from noise2map_core.products.styles.palette import REASON_COLORS
from noise2map_core.runtime.atomic import whole_file

OUTSIDE_COLOR = "#e8e8e8"
COLUMNS = 6
"""Entries of the legend in a row, at most."""
DPI = 100


def write_quicklook(
    path: Path,
    pictures: Sequence[tuple[str, NDArray[np.float32]]],
    classes: tuple[str, NDArray[np.uint8]],
    reasons: tuple[NDArray[np.uint8], dict[Reason, str]],
    colors: dict[int, str],
    names: dict[int, str],
    title: str,
) -> None:
    """Draw `pictures` (title, RGB [H, W, 3] in 0–1) and the map `classes` (title, [H, W]) in a row.

    A PNG; north is up, as in the arrays. `colors` and `names` are by class value, the background
    first: it is left out of the map. `reasons` [H, W] for no decision come with those that the
    legend names.
    """
    height, width = classes[1].shape
    panels = len(pictures) + 1
    side = 6.0
    figure = Figure(
        figsize=(side * panels * min(1, width / height), side * min(1, height / width) + 1.0),
        dpi=DPI,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels)
    for axis, (name, picture) in zip(axes, pictures, strict=False):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name)
    grey = 0.55 + 0.4 * pictures[-1][1].mean(axis=2, keepdims=True)
    axes[-1].imshow(_colored(classes[1], reasons[0], colors, grey), interpolation="nearest")
    axes[-1].set_title(classes[0])
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(literal(title), fontsize="medium")
    handles = [Patch(color=colors[value], label=literal(names[value])) for value in colors]
    handles += [Patch(color=REASON_COLORS[r], label=name) for r, name in reasons[1].items()]
    if (reasons[0] == Reason.OUTSIDE).any():
        handles.append(Patch(color=OUTSIDE_COLOR, label="outside the area"))
    columns = min(len(handles), COLUMNS)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    with whole_file(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def _colored(
    classes: NDArray[np.uint8],
    reasons: NDArray[np.uint8],
    colors: dict[int, str],
    grey: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The map over a pale grey [H, W, 1] of the later picture, so that one sees what changed where;
    over what has no decision, why."""
    picture = np.repeat(grey, 3, axis=2).astype(np.float32)
    for value, color in list(colors.items())[1:]:
        picture[classes == value] = to_rgb(color)
    undecided = classes == NO_DECISION
    picture[undecided] = to_rgb(OUTSIDE_COLOR)
    for reason, color in REASON_COLORS.items():
        picture[undecided & (reasons == reason)] = to_rgb(color)
    return picture
