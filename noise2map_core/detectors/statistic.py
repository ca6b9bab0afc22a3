"""What a detector measures at a pixel: how long the vector of change is around it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.learning.alteration import (
    Floats,
    alteration_matrix,
    no_change_weights,
    t_weights,
    vector_matrix,
)
from noise2map_core.settings.detector import Kind

SIGMA_PX: dict[Kind, float] = {"mad": 1.0, "irmad": 1.0, "cva": 1.5}
"""Standard deviation of the Gaussian mean over neighbours; change is rarely one pixel wide."""
TRUNCATE = 3.0
LEAST_LENGTH = 1e-6

BLOCK_PX = 16_384
"""Pixels that are worked on together: numbers of all bands stay in the processor's cache."""

Rows = tuple[tuple[float, ...], ...]
"""[variate, date · band] of raw numbers; rows of zeros in bands that do not vary."""


def halo_px(kind: Kind) -> int:
    """How far a pixel's value looks."""
    return int(TRUNCATE * SIGMA_PX[kind] + 0.5)


def varied_bands(before: Floats, after: Floats) -> NDArray[np.bool_]:
    """The bands of samples [pixel, band] that vary at both dates."""
    return np.asarray((before.std(axis=0) > 0) & (after.std(axis=0) > 0))


def fit_rows(kind: Kind, before: Floats, after: Floats) -> tuple[Rows, tuple[float, ...]]:
    """Matrix and offset [variate] from samples [pixel, band] of which some band varies."""
    varied = varied_bands(before, after)
    matrix, offset = _fitted(kind, before[:, varied], after[:, varied])
    wide = np.zeros((len(offset), 2, before.shape[1]))
    wide[:, :, varied] = matrix.reshape(len(offset), 2, -1)
    rows = wide.reshape(len(offset), -1)
    return tuple(map(tuple, rows.tolist())), tuple(offset.tolist())


def _fitted(kind: Kind, before: Floats, after: Floats) -> tuple[Floats, Floats]:
    if kind == "cva":
        return vector_matrix(before, after)
    return alteration_matrix(before, after, t_weights if kind == "mad" else no_change_weights)


def log_length(
    kind: Kind,
    matrix: Rows,
    offset: Sequence[float],
    image: NDArray[Any],
    valid: NDArray[np.bool_],
) -> Floats:
    """Logarithm [H, W] of the mean length of the change vector around each pixel.

    Of image [date, band, H, W]; only what is `valid` [H, W] counts.
    """
    length = np.where(valid, np.sqrt(_squares(matrix, offset, image)), 0.0)
    total, weight = (
        ndimage.gaussian_filter(part, SIGMA_PX[kind], mode="constant", truncate=TRUNCATE)
        for part in (length, valid.astype(np.float64))
    )
    return np.log(np.where(valid, total / np.maximum(weight, 1e-12), 0.0) + LEAST_LENGTH)


def _squares(matrix: Rows, offset: Sequence[float], image: NDArray[Any]) -> Floats:
    """Sum of squares [H, W] of the variates.

    Sums are written out: products of matrices are rounded as the library's blocks fall.
    """
    height, width = image.shape[2:]
    bands, found = image.reshape(-1, height, width), np.zeros((height, width))
    step = max(1, BLOCK_PX // max(width, 1))
    for top in range(0, height, step):
        lines = slice(top, top + step)
        block = bands[:, lines].astype(np.float64)
        variate, term = np.empty((2, *block.shape[1:]))
        for row, start in zip(matrix, offset, strict=True):
            variate.fill(start)
            for weight, band in zip(row, block, strict=True):
                if weight:
                    variate += np.multiply(band, weight, out=term)
            found[lines] += np.multiply(variate, variate, out=term)
    return found
