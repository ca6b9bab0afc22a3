"""A detector: fitted once to samples of a pair of dates, then applied to any window of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noise2map_core.detectors.null import NullModel, Posterior, fit_null, fit_posterior
from noise2map_core.detectors.parts import (
    NOWHERE,
    Part,
    Sample,
    fit_parts,
    lengths_of,
    part_numbers,
    pixels_of,
    standing_out,
)
from noise2map_core.detectors.statistic import (
    Rows,
    fit_rows,
    halo_px,
    log_length,
    varied_bands,
)
from noise2map_core.learning.alteration import Floats
from noise2map_core.runtime.errors import PairRejectedError
from noise2map_core.settings.detector import Kind

MIN_PIXELS = 1_000
MIN_SHARE = 0.01
"""With fewer pixels of the sample seen at both dates nothing is estimated."""
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
    matrix: Rows
    offset: tuple[float, ...]
    """[variate]"""
    null: NullModel
    """With parts: of how far pixels stand out in their own."""
    posterior: Posterior
    pixels: int
    """Pixels that it was fitted to."""
    mean: tuple[tuple[float, ...], ...]
    """[date][band] of these, raw numbers."""
    std: tuple[tuple[float, ...], ...]
    """[date][band]"""
    outstanding: float
    """Share of these that stand out as one in a hundred would without any change."""
    parts: tuple[Part, ...] = ()
    """Where scenes change within the region: statistics of all, then of each pair of overpasses."""

    @classmethod
    def fit(cls, kind: Kind, samples: Sequence[SamplePair]) -> Self:
        """From windows of the pair.

        Raises PairRejectedError if too few pixels are observed at both dates, or no band varies.
        """
        before, after = pixels_of(samples)
        _require_enough(len(before), sum(valid.size for _, valid in samples))
        _require_varied(varied_bands(before, after))
        matrix, offset = fit_rows(kind, before, after)
        sample = lengths_of(kind, matrix, offset, samples)
        null = fit_null(sample)
        return cls(
            kind, matrix, offset, null, fit_posterior(sample, null), len(before),
            mean=_nested(before.mean(axis=0), after.mean(axis=0)),
            std=_nested(before.std(axis=0), after.std(axis=0)),
            outstanding=_outstanding(sample, null),
        )  # fmt: skip

    @classmethod
    def fit_by_pairs(cls, kind: Kind, samples: Sequence[Sample]) -> Self:
        """From windows of a pair of dates whose pixels may come from several overpasses.

        Raises as `fit` does.
        """
        whole = cls.fit(kind, [(image, valid) for image, valid, _ in samples])
        others = Part(-1, whole.matrix, whole.offset, whole.null, whole.pixels)
        parts = fit_parts(kind, samples, others)
        if len(parts) < 2:
            return whole
        found = []
        for image, valid, pairs in samples:
            numbers = part_numbers(parts, pairs, valid)
            found.append(standing_out(kind, parts, image, numbers)[valid])
        sample = np.concatenate(found)
        null = NullModel(0.0, 1.0, fit_null(sample).share)
        return replace(
            whole, null=null, posterior=fit_posterior(sample, null), parts=parts,
            outstanding=_outstanding(sample, null),
        )  # fmt: skip

    def probability(
        self,
        image: NDArray[Any],
        valid: NDArray[np.bool_],
        part: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.float32]:
        """Probability of change [H, W] of image [date, band, H, W], where `valid` [H, W].

        `part` [H, W]: of a detector with parts, as `part_numbers` has them. A pixel's value depends
        on it and on what is valid within `halo_px`, and on nothing else, to the last bit.
        """
        if self.parts:
            assert part is not None
            numbers = np.where(valid, part, np.uint8(NOWHERE))
            return self.posterior.of(standing_out(self.kind, self.parts, image, numbers))
        return self.posterior.of(log_length(self.kind, self.matrix, self.offset, image, valid))

    @property
    def halo_px(self) -> int:
        """How far a pixel's value looks."""
        return halo_px(self.kind)

    def threshold(self, false_alarms: float) -> float:
        """The probability that so large a share of unchanged pixels has, or more."""
        return float(self.posterior.of(np.array([self.null.value_of(false_alarms)]))[0])


def _outstanding(sample: Floats, null: NullModel) -> float:
    return float((sample > null.value_of(ONE_IN_A_HUNDRED)).mean())


def _nested(*dates: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(numbers.tolist()) for numbers in dates)


def _require_enough(pixels: int, of: int) -> None:
    if pixels < max(MIN_PIXELS, MIN_SHARE * of):
        raise PairRejectedError(
            f"only {pixels:,} of {of:,} pixels of the sample are observed at both dates, too few "
            "for statistics. Set other dates, mask less, or name a checkpoint."
        )


def _require_varied(varied: NDArray[np.bool_]) -> None:
    if not varied.any():
        raise PairRejectedError(
            "no band varies at both dates, so nothing can be compared. Set other dates or bands."
        )
