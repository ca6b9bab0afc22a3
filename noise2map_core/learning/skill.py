"""Whether a classification tells more than chance would: one rule, for training, search and scores.

F1 alone does not say so: who calls every pixel changed where half of them are has an F1 of 0.67.
"""

from collections.abc import Sequence

from noise2map_core.learning.calibration import TEMPERATURE_RANGE
from noise2map_core.learning.metrics import ConfusionCounts

CHANCE_KAPPA = 0.02
"""Up to here agreement is that of chance: at 0 exactly, if one class is given to every pixel."""
CHANCE_AUC = 0.55
WEAK_KAPPA = 0.1
"""Below it an area under the ROC curve up to `CHANCE_AUC` counts, too. (Scores that are rarely
anything but 0 have such an area, and may be right where they are.)"""
ALMOST_ALL = 0.99
RARELY = 0.05
"""A class with more than `ALMOST_ALL` has all, if the others get less than this part of theirs."""
MIN_BLOCKS = 5
"""With fewer, a bootstrap of blocks says nothing."""

NO_BETTER = "no better than chance"
WAY_OUT = (
    "Do not map with it: train longer, lower the learning rate, check labels and classes, or set "
    "another noise or loss."
)


def doubts_about(
    counts: ConfusionCounts,
    names: Sequence[str],
    *,
    roc_auc: float | None = None,
    kappa_low: float | None = None,
    temperature: float = 1.0,
) -> str:
    """Why a classification is no better than chance, in words; empty: it is better.

    `counts` are of the classes as decided, `names` by class; `kappa_low` is the lower end of the
    95 % interval of kappa, `temperature` the one of the highest likelihood. Where the truth has a
    single class there is nothing to tell apart, and no doubt.
    """
    true, given = counts.matrix.sum(axis=1), counts.matrix.sum(axis=0)
    if (true > 0).sum() < 2:
        return ""
    shares = zip(names, given / given.sum(), true / true.sum(), strict=True)
    found = [
        f"{name} is given to {share:.2%} of the pixels, and is true of {truly:.2%}"
        for name, share, truly in shares
        if share > ALMOST_ALL and 1 - share < RARELY * (1 - truly)
    ]
    if counts.kappa <= CHANCE_KAPPA:
        found.append(f"kappa is {counts.kappa:.3f}")
    elif kappa_low is not None and kappa_low <= 0:
        found.append(f"the 95 % interval of kappa, {counts.kappa:.3f}, holds 0")
    if roc_auc is not None and (
        roc_auc <= 0.5 or (roc_auc < CHANCE_AUC and counts.kappa < WEAK_KAPPA)
    ):
        found.append(f"the area under the ROC curve is {roc_auc:.3f}")
    if temperature > 0.99 * TEMPERATURE_RANGE[1]:
        found.append(f"the best temperature lies at its bound, {TEMPERATURE_RANGE[1]:g}")
    return "; ".join(found)


def warning(what: str, doubts: str) -> str:
    """A line for people."""
    return f"WARNING: {what} is {NO_BETTER}: {doubts}. {WAY_OUT}"
