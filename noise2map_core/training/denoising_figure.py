"""The picture of pretraining: images, noised and denoised."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from noise2map_core.products.pictures import rgb_bands
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.training.denoising import DenoisedExamples

DPI = 100
SIDE_IN = 1.5


def write_denoising_figure(
    path: Path, examples: DenoisedExamples, bands: tuple[str, ...], title: str
) -> None:
    """Draw examples as PNG: a row each image; the original, then noised and denoised at each t."""
    rows, columns = len(examples.original), 1 + 2 * len(examples.timesteps)
    figure = Figure(
        figsize=(SIDE_IN * columns, SIDE_IN * rows + 0.6), dpi=DPI, layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, panels in enumerate(axes):
        _draw_row(panels, examples, row, rgb_bands(bands))
    for axis, name in zip(axes[0], _names(examples), strict=True):
        axis.set_title(name, fontsize="small")
    figure.suptitle(title, fontsize="medium")
    with whole_file(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def _names(examples: DenoisedExamples) -> list[str]:
    pairs = [(f"noised, t = {t}", "denoised") for t in examples.timesteps]
    return ["original", *(name for pair in pairs for name in pair)]


def _draw_row(panels: Any, examples: DenoisedExamples, row: int, rgb: tuple[int, int, int]) -> None:
    """All versions of an image, in the colours of the original."""
    original, valid = examples.original[row][list(rgb)], examples.valid[row]
    seen = original[:, valid] if valid.any() else original.reshape(len(rgb), -1)
    low, high = np.percentile(seen, (2, 98), axis=1)
    versions = [original]
    for noised, denoised in zip(examples.noised, examples.denoised, strict=True):
        versions += [noised[row][list(rgb)], denoised[row][list(rgb)]]
    for axis, version in zip(panels, versions, strict=True):
        axis.imshow(_picture(version, valid, low, high), interpolation="nearest")
        axis.set_axis_off()


def _picture(
    image: NDArray[np.float32],
    valid: NDArray[np.bool_],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """[H, W, 3] in 0–1; white where not valid."""
    spread = np.maximum(high - low, 1e-6)
    scaled = np.clip((image - low[:, None, None]) / spread[:, None, None], 0, 1)
    return np.where(valid[..., None], scaled.transpose(1, 2, 0), 1.0)
