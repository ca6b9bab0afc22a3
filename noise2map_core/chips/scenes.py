"""How bright the scenes of a chip store are, and how pairs of them differ where nothing changed.

A scene is one place at one time. What it is normalised by follows from its own pixels, whatever the
light, the haze, the season or the sensor: a fixed sample of them, so that any run finds the same.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from noise2map_core.chips.store import CHIPS_PER_SHARD
from noise2map_core.imagery.moments import robust_light
from noise2map_core.learning.alteration import PairWindow, pair_alteration
from noise2map_core.models.spec import note_size

SAMPLE_CHIPS = 64
"""Chips of a scene that are looked at, evenly over all."""
SAMPLE_SIDE = 32
"""Rows and columns of a chip that are looked at, evenly over all."""

Codes = NDArray[np.uint32]
Float64 = NDArray[np.float64]


def scene_lights(group: zarr.Group, kept: Float64 | None = None) -> Float64:
    """Centre and spread [scene, 2, band] of the scenes by their codes; NaN where too little of one
    is observed.

    The lights in `kept` stay as they are, and nothing is read of them: an append leaves their chips
    where they are.
    """
    scene, bands = np.asarray(_array(group, "scene")[:]), _array(group, "image").shape[2]
    kept = np.empty((0, 2, bands)) if kept is None else kept
    found: dict[int, list[NDArray[np.generic]]] = {}
    for code, values in _samples(group, scene, len(kept)):
        found.setdefault(code, []).append(values)
    lights = np.full((int(scene.max()) + 1, 2, bands), np.nan)
    lights[: len(kept)] = kept
    for code, parts in found.items():
        lights[code] = robust_light(np.concatenate(parts, axis=1))
    return lights


def pair_alterations(
    group: zarr.Group, kept: tuple[Codes, Float64] | None = None
) -> tuple[Codes, Float64]:
    """Codes [pair, date] of the scenes of every pair, and what is noted of it [pair, variate + 1,
    number], see `pair_alteration`; NaN where too little is observed at both dates.

    Pairs in `kept` stay first and as they are, and nothing is read of them.
    """
    scene = np.asarray(_array(group, "scene")[:])
    pixels = _array(group, "image"), _array(group, "valid")
    bands = pixels[0].shape[2]
    if kept is None:
        kept = np.empty((0, 2), np.uint32), np.empty((0, *note_size(bands)))
    known = set(map(tuple, kept[0].tolist()))
    fresh = [pair for pair in np.unique(scene, axis=0).tolist() if tuple(pair) not in known]
    pairs = np.concatenate([kept[0], np.asarray(fresh, np.uint32).reshape(-1, 2)])
    found = [_alteration(*pixels, np.flatnonzero((scene == pair).all(axis=1))) for pair in fresh]
    return pairs, np.concatenate([kept[1], np.reshape(found, (-1, *kept[1].shape[1:]))])


def _alteration(
    image: "zarr.Array[Any]", valid: "zarr.Array[Any]", chips: NDArray[np.intp]
) -> Float64:
    """Of the chips of one pair, by a sample that is even over them."""
    few = _few(chips)
    step = _step(image.shape[-1], len(few))
    rows = (..., slice(step // 2, None, step), slice(step // 2, None, step))
    windows: list[PairWindow] = [
        (np.asarray(image[one]), np.asarray(np.asarray(valid[one]).all(axis=0)))
        for one in few.tolist()
    ]
    before, after = np.concatenate([dates[rows][..., seen[rows]] for dates, seen in windows], -1)
    return pair_alteration(before, after, windows=windows)


def _samples(
    group: zarr.Group, scene: NDArray[np.uint32], known: int
) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """Codes, and observed pixels [band, pixel] of the chips that speak for them."""
    image, valid = _array(group, "image"), _array(group, "valid")
    wanted = _chosen(scene, known)
    for shard in sorted({chip // CHIPS_PER_SHARD for chip, _ in wanted}):
        start = shard * CHIPS_PER_SHARD
        rows = slice(start, min(start + CHIPS_PER_SHARD, len(scene)))
        pixels, seen = np.asarray(image[rows]), np.asarray(valid[rows])
        step = max(1, pixels.shape[-1] // SAMPLE_SIDE)
        for chip, date in sorted(wanted):
            if chip // CHIPS_PER_SHARD == shard:
                few = (chip - start, date, ..., slice(step // 2, None, step),
                       slice(step // 2, None, step))  # fmt: skip
                yield int(scene[chip, date]), pixels[few][:, seen[few]]


def _chosen(scene: NDArray[np.uint32], known: int) -> set[tuple[int, int]]:
    """Chips and dates of every scene from `known` on, evenly over those that show it."""
    chosen = set()
    chips, dates = np.nonzero(scene >= known)
    codes = scene[chips, dates]
    for code in np.unique(codes).tolist():
        few = _few(np.flatnonzero(codes == code))
        chosen |= set(zip(chips[few].tolist(), dates[few].tolist(), strict=True))
    return chosen


def _step(side: int, count: int) -> int:
    """Every which row and column of `count` chips is looked at: more of each where they are few."""
    return max(1, int(side * math.sqrt(count / SAMPLE_CHIPS)) // SAMPLE_SIDE)


def _few(chips: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most `SAMPLE_CHIPS` of them, evenly."""
    return chips[:: -(-len(chips) // SAMPLE_CHIPS)]


def _array(group: zarr.Group, name: str) -> "zarr.Array[Any]":
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array
