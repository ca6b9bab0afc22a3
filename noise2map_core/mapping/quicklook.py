"""The quicklook: before, after and change side by side, with a legend."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from noise2map_core.atomic import whole_file
from noise2map_core.mapping.mosaic import NO_DECISION

NO_DECISION_COLOR = "#cfc6e6"
DPI = 100


def write_quicklook(
    path: Path,
    pictures: Sequence[tuple[str, NDArray[np.float32]]],
    change: NDArray[np.uint8],
    colors: dict[int, str],
    names: dict[int, str],
    title: str,
) -> None:
    """Draw `pictures` (title, RGB [H, W, 3] in 0–1) and the map `change` [H, W] in a row, as PNG.

    North is up, as in the arrays. `colors` and `names` are by class value.
    """
    height, width = change.shape
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
    axes[-1].imshow(_colored(change, colors, backdrop=pictures[-1][1]), interpolation="nearest")
    axes[-1].set_title("change")
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(title, fontsize="medium")
    handles = [Patch(color=colors[value], label=names[value]) for value in colors]
    handles.append(Patch(color=NO_DECISION_COLOR, label="no decision"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    with whole_file(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def stretched(
    image: NDArray[np.generic], valid: NDArray[np.bool_], rgb: Sequence[int]
) -> NDArray[np.float32]:
    """Bands `rgb` of `image` [band, H, W] as [H, W, 3] in 0–1: 2nd to 98th percentile; white where
    not valid."""
    picture = np.ones((*valid.shape, 3), np.float32)
    for channel, band in enumerate(rgb):
        values = image[band].astype(np.float32)
        if valid.any():
            low, high = np.percentile(values[valid], (2, 98))
            values = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
        picture[..., channel] = np.where(valid, values, 1)
    return picture


def rgb_bands(bands: Sequence[str]) -> tuple[int, int, int]:
    """Which bands to show as red, green and blue: natural colour if there, else the first ones."""
    if {"red", "green", "blue"} <= set(bands):
        return bands.index("red"), bands.index("green"), bands.index("blue")
    last = len(bands) - 1
    return 0, min(1, last), min(2, last)


def _colored(
    change: NDArray[np.uint8], colors: dict[int, str], backdrop: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The map over a pale grey of the later picture, so that one sees what changed where."""
    grey = 0.55 + 0.4 * backdrop.mean(axis=2, keepdims=True)
    picture = np.repeat(grey, 3, axis=2).astype(np.float32)
    for value, color in colors.items():
        if value != 0:
            picture[change == value] = to_rgb(color)
    picture[change == NO_DECISION] = to_rgb(NO_DECISION_COLOR)
    return picture
