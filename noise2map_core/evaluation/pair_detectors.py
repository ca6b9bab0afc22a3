"""Detectors of the pairs of dates in a chip store, each fitted to its pair, without labels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from noise2map_core.chips.order import Int64
from noise2map_core.chips.store import ChipStore
from noise2map_core.detectors.detector import Detector
from noise2map_core.detectors.statistic import log_length
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.runtime.errors import PairRejectedError
from noise2map_core.settings.detector import Kind

SAMPLE_PX = 1 << 20
"""Pixels of a pair that its detector is fitted to, about."""
NEVER = 2.0
"""A probability that nothing reaches."""

Floats = NDArray[np.float32]
Said = Callable[[Detector, NDArray[Any], NDArray[np.bool_]], NDArray[np.floating]]
"""What a detector says [H, W] of an image [2, band, H, W], where it is seen [H, W]."""


@dataclass
class PairDetectors:
    """One of a kind for each pair of grid and dates, fitted when it is asked for; first against
    last date."""

    kind: Kind
    pair: Int64
    """[chip] number of its pair."""
    chips: Int64
    """Those that are fitted to."""
    reader: ChipReader
    refusal: PairRejectedError | None = None
    """Why the last one that could not be fitted was not."""
    _found: dict[int, Detector | None] = field(default_factory=dict)

    @classmethod
    def of(cls, store: ChipStore, kind: Kind, chips: Int64 | None = None) -> Self:
        """For the chips of a store; fitted to `chips` alone, None: to all."""
        columns = np.column_stack([store.read("crs"), store.read("datetime"), store.read("scene")])
        pair = np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)
        fitted_to = np.arange(store.num_chips) if chips is None else chips
        return cls(kind, np.asarray(pair, np.int64), fitted_to, ChipReader(store, ()))

    @property
    def fitted(self) -> list[Detector]:
        """Those that were asked for and could be fitted."""
        return [one for one in self._found.values() if one is not None]

    def detector(self, chip: int) -> Detector | None:
        """That of a chip's pair; None where too little of it is seen."""
        pair = int(self.pair[chip])
        if pair not in self._found:
            self._found[pair] = self._fit(self.chips[self.pair[self.chips] == pair])
        return self._found[pair]

    def probability(self, chips: Int64, image: NDArray[Any], valid: NDArray[np.bool_]) -> Floats:
        """Of change [chip, y, x]; NaN where it is not known.

        `image` [chip, date, band, y, x], `valid` [chip, date, y, x].
        """
        return self._said(chips, image, valid, Detector.probability)

    def length(self, chips: Int64, image: NDArray[Any], valid: NDArray[np.bool_]) -> Floats:
        """Length of the change vector: its order is that of the probabilities, which are all one
        far out. As `probability`."""
        return np.exp(self._said(chips, image, valid, _log_length))

    def thresholds(self, chips: Int64, false_alarms: float) -> Floats:
        """[chip, 1, 1] the probability from which change is called; `NEVER` where none is known."""
        found = [
            NEVER if (one := self.detector(chip)) is None else one.threshold(false_alarms)
            for chip in chips.tolist()
        ]
        return np.array(found, np.float32)[:, None, None]

    def longest_unchanged(self, chips: Int64, false_alarms: float) -> NDArray[np.float64]:
        """[chip, 1, 1] length that so large a share of unchanged pixels surpasses; NaN where none
        is known.

        Squares of standardised MAD variates add up to a chi-squared number (Nielsen, Conradsen,
        Simpson 1998), of as many degrees of freedom as bands vary at both dates.
        """
        found = [
            np.nan if (one := self.detector(chip)) is None else len(one.offset)
            for chip in chips.tolist()
        ]
        return np.sqrt(chi2.isf(false_alarms, found))[:, None, None]

    def _said(
        self, chips: Int64, image: NDArray[Any], valid: NDArray[np.bool_], what: Said
    ) -> Floats:
        seen = seen_at_both(valid)
        found = np.full(seen.shape, np.nan, np.float32)
        for index, chip in enumerate(chips.tolist()):
            if (detector := self.detector(chip)) is not None:
                found[index] = what(detector, image[index][[0, -1]], seen[index])
        found[~seen] = np.nan
        return found

    def _fit(self, chips: Int64) -> Detector | None:
        """To chips evenly from all of a pair's."""
        size = self.reader.read(chips[:1]).image[0, 0, 0].size
        most = min(len(chips), max(1, SAMPLE_PX // size))
        batch = self.reader.read(chips[np.arange(most) * len(chips) // most])
        samples = zip(batch.image[:, [0, -1]], seen_at_both(batch.valid), strict=True)
        try:
            return Detector.fit(self.kind, list(samples))
        except PairRejectedError as error:
            self.refusal = error
            return None


def seen_at_both(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[chip, y, x] observed at the first and the last date."""
    return np.asarray(valid[:, [0, -1]].all(axis=1))


def _log_length(
    detector: Detector, image: NDArray[Any], seen: NDArray[np.bool_]
) -> NDArray[np.floating]:
    return log_length(detector.kind, detector.matrix, detector.offset, image, seen)
