"""Mean and spread of a store's bands, refused where nothing can be learnt from them."""

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.store import ChipStore
from noise2map_core.imagery.moments import Moments
from noise2map_core.runtime.errors import ChipStoreError


def band_spread(store: ChipStore, moments: Moments) -> NDArray[np.float64]:
    """Standard deviations [date, band]. Raises ChipStoreError if nothing was observed, a band is
    constant, or has pixels that are no numbers."""
    for date in np.flatnonzero((moments.count == 0).any(axis=1)):
        raise ChipStoreError(
            f"chip store {store.path}: no pixel of the training part is observed at date "
            f"{date + 1}: all are nodata or masked. Ingest other scenes, or mask less."
        )
    std = np.sqrt(moments.m2 / np.maximum(moments.count, 1))
    require_numbers(store, moments, "train")
    for date, band in np.argwhere(std == 0):
        raise ChipStoreError(
            f"chip store {store.path}: band {store.bands[band]} has one single value at date "
            f"{date + 1} in the training part. Ingest without it, or from other scenes."
        )
    return std


def require_numbers(store: ChipStore, moments: Moments, split: str) -> None:
    """Neither NaN nor infinity may count as observed."""
    for date, band in np.argwhere(~np.isfinite(moments.mean)):
        raise ChipStoreError(
            f"chip store {store.path}: band {store.bands[band]} has observed pixels that are no "
            f"numbers (NaN or infinity) at date {date + 1} of split {split!r}. Give the scenes a "
            "nodata value that says so, and ingest them anew."
        )
