"""What a chip store says about the model that can be trained on it."""

import numpy as np
import shapely
from numpy.typing import NDArray

from noise2map_core import __version__
from noise2map_core.diffusion.config import DiffusionConfig
from noise2map_core.errors import ChipStoreError, ConfigError
from noise2map_core.imagery.chip_store import ChipStore
from noise2map_core.imagery.moments import Moments
from noise2map_core.inference.chip_batches import ChipReader, iter_batches
from noise2map_core.models.config import ModelConfig
from noise2map_core.models.spec import CheckpointSpec, ClassSpec, Normalisation
from noise2map_core.models.unet import network_of

COLORS = ("#d9d9d9", "#d7301f")
"""Unchanged, changed."""

VALUE_SPREAD = 10.0
"""Values this many standard deviations from the mean are still expected."""


def require_trainable(store: ChipStore) -> None:
    """Raise ChipStoreError unless a model can be trained and judged on the store."""
    if not store.has_labels:
        raise ChipStoreError(
            f"chip store {store.path} has no labels. Ingest it with `labels` set to a raster or to "
            "polygons."
        )
    for split in ("train", "val"):
        if split not in store.splits:
            raise ChipStoreError(
                f"chip store {store.path} has no chips of split {split!r}. Ingest it with "
                f"split.boxes that has boxes for train and val."
            )
    _require_apart(store)
    for split in ("train", "val"):
        _require_both_classes(store, split)


def plan_spec(
    store: ChipStore,
    model: ModelConfig,
    diffusion: DiffusionConfig,
    gsd_range: tuple[float, float] | None,
) -> CheckpointSpec:
    """The spec of a model for the store's bands; normalised by its training part.

    The threshold is 0.5 until validation chooses one. Raises ConfigError or ChipStoreError if chip
    size, timestep or bands cannot be used.
    """
    network = network_of(model)
    chip_px, gsd = int(store.attributes["chip_px"]), float(store.attributes["gsd"])
    if chip_px % network.stride:
        raise ChipStoreError(
            f"chip store {store.path} has chips of {chip_px} pixels; preset {model.preset} needs a "
            f"multiple of {network.stride}. Ingest it with another chips.chip_px."
        )
    steps = diffusion.schedule.num_timesteps
    timestep = steps - 1 if diffusion.inference_timestep is None else diffusion.inference_timestep
    if timestep >= steps:
        raise ConfigError(f"diffusion.inference_timestep {timestep} is not below {steps}.")
    moments = store.statistics("train")
    std = band_spread(store, moments)
    return CheckpointSpec(
        bands=tuple(store.bands),
        gsd=gsd,
        gsd_range=gsd_range or (gsd / 2, gsd * 2),
        value_range=_value_range(store, moments, std),
        normalisation=Normalisation(mean=_nested(moments.mean), std=_nested(std)),
        corruption=diffusion.corruption,
        schedule=diffusion.schedule,
        inference_timesteps=(timestep,),
        classes=tuple(
            ClassSpec(value=entry["value"], name=entry["name"], color=color)
            for entry, color in zip(store.attributes["classes"]["change"], COLORS, strict=True)
        ),
        threshold={"changed": 0.5},
        chip_px=chip_px,
        stride_px=max(1, chip_px // 2),
        preset=model.preset,
        network=network,
        code_version=__version__,
    )


def band_spread(store: ChipStore, moments: Moments) -> NDArray[np.float64]:
    """Standard deviations [date, band]. Raises ChipStoreError if a band is constant."""
    std = np.sqrt(moments.m2 / np.maximum(moments.count, 1))
    for date, band in np.argwhere(std == 0):
        raise ChipStoreError(
            f"chip store {store.path}: band {store.bands[band]} has one single value at date "
            f"{date + 1} in the training part. Ingest without it, or from other scenes."
        )
    return std


def _require_apart(store: ChipStore) -> None:
    """Splits must lie `buffer_px` apart, whoever made the store."""
    gsd, buffer_px = float(store.attributes["gsd"]), store.attributes["buffer_px"]
    # A thousandth of a pixel for the rounding of coordinates.
    margin = (buffer_px - 1e-3) * gsd * np.array([-1, -1, 1, 1])
    footprints, crs, splits = store.read("footprint"), store.read("crs"), store.splits
    grown = shapely.box(*(footprints + margin).T)
    one, other = shapely.STRtree(shapely.box(*footprints.T)).query(grown, predicate="intersects")
    near = (splits[one] != splits[other]) & (crs[one] == crs[other])
    if near.any():
        first = int(np.argmax(near))
        raise ChipStoreError(
            f"chip store {store.path} has chips of {splits[one[first]]} and {splits[other[first]]} "
            f"nearer than {buffer_px} pixels: training would see what it is judged on. Ingest it "
            "with boxes further apart."
        )


def _require_both_classes(store: ChipStore, split: str) -> None:
    reader = ChipReader(store, cache_bytes=0)
    seen: set[int] = set()
    for batch in iter_batches(reader, store.chips_of(split), 32):
        seen |= set(np.unique(batch.truth()).tolist())
        if {0, 1} <= seen:
            return
    missing = "changed" if 1 not in seen else "unchanged"
    raise ChipStoreError(
        f"chip store {store.path}: split {split!r} has no observed pixel labelled {missing}. Move "
        "its boxes to where there are both."
    )


def _value_range(
    store: ChipStore, moments: Moments, std: NDArray[np.float64]
) -> tuple[float, float]:
    """Raw numbers that are within reach of the training part's and that the dtype can hold."""
    low = float((moments.mean - VALUE_SPREAD * std).min())
    high = float((moments.mean + VALUE_SPREAD * std).max())
    dtype = store.array("image").dtype
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        low, high = max(low, float(limits.min)), min(high, float(limits.max))
    return low, high


def _nested(values: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in date) for date in values)
