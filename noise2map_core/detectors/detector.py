"""A detector: fitted once to samples of a pair of dates, then applied to any window of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.detectors.alteration import (
    Floats,
    alteration_matrix,
    no_change_weights,
    t_weights,
    vector_matrix,
)
from noise2map_core.detectors.null import NullModel, Posterior, fit_null, fit_posterior
from noise2map_core.runtime.errors import PairRejectedError
from noise2map_core.settings.detector import Kind

SIGMA_PX: dict[Kind, float] = {"mad": 1.0, "irmad": 1.0, "cva": 1.5}
"""Standard deviation of the Gaussian mean over neighbours; change is rarely one pixel wide."""
TRUNCATE = 3.0
MIN_PIXELS = 1_000
MIN_SHARE = 0.01
"""With fewer pixels of the sample seen at both dates nothing is estimated."""
LEAST_LENGTH = 1e-6
ONE_IN_A_HUNDRED = 0.01
MULTISPECTRAL = 4
"""Bands from which mixtures of bands tell change from light better than each band by itself."""

SamplePair = tuple[NDArray[Any], NDArray[np.bool_]]
"""Image [date, band, H, W] in raw numbers, and what is observed at both dates [H, W]."""


def default_kind(num_bands: int) -> Kind:
    """The detector for two dates of so many bands."""
    return "mad" if num_bands >= MULTISPECTRAL else "cva"


@dataclass(frozen=True)
class Detector:
    """Statistics of one pair of dates."""

    kind: Kind
    matrix: tuple[tuple[float, ...], ...]
    """[variate, date · band] of raw numbers; rows of zeros in bands that do not vary."""
    offset: tuple[float, ...]
    """[variate]"""
    null: NullModel
    posterior: Posterior
    pixels: int
    """Pixels that it was fitted to."""
    mean: tuple[tuple[float, ...], ...]
    """[date][band] of these, raw numbers."""
    std: tuple[tuple[float, ...], ...]
    """[date][band]"""
    outstanding: float
    """Share of these that stand out as one in a hundred would without any change."""

    @classmethod
    def fit(cls, kind: Kind, samples: Sequence[SamplePair]) -> Self:
        """From windows of the pair.

        Raises PairRejectedError if too few pixels are observed at both dates, or no band varies.
        """
        seen = np.concatenate([image[..., valid] for image, valid in samples], axis=-1)
        before, after = np.moveaxis(seen.astype(np.float64), -1, 1)
        varied = (before.std(axis=0) > 0) & (after.std(axis=0) > 0)
        _require_enough(len(before), sum(valid.size for _, valid in samples), varied)
        matrix, offset = _fitted(kind, before[:, varied], after[:, varied])
        wide = np.zeros((len(offset), 2, before.shape[1]))
        wide[:, :, varied] = matrix.reshape(len(offset), 2, -1)
        rows = wide.reshape(len(offset), -1)
        logs = [_log_length(rows, offset, SIGMA_PX[kind], *sample) for sample in samples]
        sample = np.concatenate([log[valid] for log, (_, valid) in zip(logs, samples, strict=True)])
        null = fit_null(sample)
        return cls(
            kind, tuple(map(tuple, rows.tolist())), tuple(offset.tolist()), null,
            fit_posterior(sample, null), len(before),
            mean=_nested(before.mean(axis=0), after.mean(axis=0)),
            std=_nested(before.std(axis=0), after.std(axis=0)),
            outstanding=float((sample > null.value_of(ONE_IN_A_HUNDRED)).mean()),
        )  # fmt: skip

    def probability(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Probability of change [H, W] of image [date, band, H, W], where `valid` [H, W].

        A pixel's value depends on it and on what is valid within `halo_px`, and on nothing else, to
        the last bit.
        """
        return self.posterior.of(self.log_length(image, valid))

    def log_length(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> Floats:
        """Logarithm of the length of the change vector [H, W], of which the probability is a
        function; see `probability`."""
        rows, offset = np.asarray(self.matrix), np.asarray(self.offset)
        return _log_length(rows, offset, SIGMA_PX[self.kind], image, valid)

    @property
    def halo_px(self) -> int:
        """How far a pixel's value looks."""
        return halo_px(self.kind)

    def threshold(self, false_alarms: float) -> float:
        """The probability that so large a share of unchanged pixels has, or more."""
        return float(self.posterior.of(np.array([self.null.value_of(false_alarms)]))[0])


def _nested(*dates: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(numbers.tolist()) for numbers in dates)


def halo_px(kind: Kind) -> int:
    """How far a pixel's value looks."""
    return int(TRUNCATE * SIGMA_PX[kind] + 0.5)


def _fitted(kind: Kind, before: Floats, after: Floats) -> tuple[Floats, Floats]:
    if kind == "cva":
        return vector_matrix(before, after)
    return alteration_matrix(before, after, t_weights if kind == "mad" else no_change_weights)


def _require_enough(pixels: int, of: int, varied: NDArray[np.bool_]) -> None:
    if pixels < max(MIN_PIXELS, MIN_SHARE * of):
        raise PairRejectedError(
            f"only {pixels:,} of {of:,} pixels of the sample are observed at both dates, too few "
            "for statistics. Set other dates, mask less, or name a checkpoint."
        )
    if not varied.any():
        raise PairRejectedError(
            "no band varies at both dates, so nothing can be compared. Set other dates or bands."
        )


def _log_length(
    matrix: Floats,
    offset: Floats,
    sigma_px: float,
    image: NDArray[Any],
    valid: NDArray[np.bool_],
) -> Floats:
    """Logarithm [H, W] of the mean length of the change vector around each pixel.

    Sums are written out: products of matrices are rounded as the library's blocks fall.
    """
    pixels = image.reshape(-1, *image.shape[2:]).astype(np.float64)
    squares = np.zeros(image.shape[2:])
    for row, start in zip(matrix, offset, strict=True):
        variate = np.full(image.shape[2:], start)
        for weight, band in zip(row, pixels, strict=True):
            variate += weight * band
        squares += variate * variate
    length = np.where(valid, np.sqrt(squares), 0.0)
    total, weight = (
        ndimage.gaussian_filter(part, sigma_px, mode="constant", truncate=TRUNCATE)
        for part in (length, valid.astype(np.float64))
    )
    return np.log(np.where(valid, total / np.maximum(weight, 1e-12), 0.0) + LEAST_LENGTH)
