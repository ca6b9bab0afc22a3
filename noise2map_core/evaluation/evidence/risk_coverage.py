"""Whether a number of doubt finds the pixels that are wrong: risk–coverage, by counts that add up.

Pixels are left to people from the most doubted on; the share that is kept is the coverage, the part
of these that is wrong the risk (El-Yaniv & Wiener 2010).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.learning.metrics import IGNORE, ScoreHistogram

NUM_BINS = 2000
"""Of doubt, which lies within [0, 1]; pixels of one bin are left out in a random order."""


@dataclass(frozen=True)
class RiskCoverage:
    """Right and wrong pixels by their doubt. Counts of disjoint pixels add up."""

    counts: NDArray[np.int64]
    """int64 [2, bins]: row 0 = right, row 1 = wrong."""

    @classmethod
    def of(
        cls,
        doubt: NDArray[np.floating],
        truth: NDArray[np.uint8],
        decided: NDArray[np.uint8],
        num_bins: int = NUM_BINS,
    ) -> "RiskCoverage":
        """Counts of pixels [...]; those whose truth is 255 do not count."""
        wrong = np.where(truth == IGNORE, np.uint8(IGNORE), (truth != decided).astype(np.uint8))
        return cls(ScoreHistogram.of(doubt, wrong, num_bins).counts)

    def __add__(self, other: "RiskCoverage") -> "RiskCoverage":
        return RiskCoverage(self.counts + other.counts)

    @property
    def roc_auc(self) -> float | None:
        """How often a wrong pixel has more doubt than a right one; None without either."""
        return ScoreHistogram(self.counts).roc_auc

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coverage and risk, both rising from the least doubted bin to all pixels."""
        right, wrong = np.cumsum(self.counts, axis=1)
        kept = right + wrong
        some = kept > 0
        return kept[some] / max(int(kept[-1]), 1), wrong[some] / kept[some]

    @property
    def area(self) -> float:
        """Area under the curve of risk over coverage, mean risk over all coverages; 0 is perfect.

        Within a bin the risk goes over to that with the whole bin as it does in a random order.
        """
        right, wrong = self.counts.astype(np.float64)
        pixels = right + wrong
        before, wrong_before = np.cumsum(pixels) - pixels, np.cumsum(wrong) - wrong
        some = pixels > 0
        n, n_0, w, w_0 = pixels[some], before[some], wrong[some], wrong_before[some]
        share = w / n
        # ∫ (w_0 + share · (x − n_0)) / x dx from n_0 to n_0 + n
        base = w_0 - share * n_0
        grown = np.log1p(n / np.where(n_0 > 0, n_0, 1.0))
        whole = share * n + np.where(n_0 > 0, base * grown, 0.0)
        return float(whole.sum() / max(pixels.sum(), 1.0))

    def risk_at(self, coverage: float) -> float:
        """Risk where this share is kept, between the bins around it."""
        shares, risks = self.curve()
        return float(np.interp(coverage, shares, risks))
