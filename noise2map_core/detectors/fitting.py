"""A detector fitted to the scenes of a region: from a fixed sample of windows, whoever asks."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from noise2map_core.catalog.overpasses import PassPairs
from noise2map_core.detectors.detector import Detector
from noise2map_core.detectors.spec import (
    ALGORITHM_VERSION,
    DetectorSpec,
    dump_detector,
    load_detector,
)
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.pair_plan import PairPlan
from noise2map_core.imagery.pair_quality import sample_pair
from noise2map_core.imagery.recipe import scene_key
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.storage import read_bytes
from noise2map_core.settings.imagery import PairQualityConfig

FILE = "detector.json"
SAMPLE = PairQualityConfig(windows=8, window_px=128)
"""Up to 64 windows, a million pixels; of a small region nearly all."""


def fit_detector(
    spec: DetectorSpec, pair: PairPlan, grid: RegionGrid, identities: dict[str, str], output: Path
) -> DetectorSpec:
    """The detector fitted to a pair; what `output` holds is taken if it was fitted to the same.

    Raises AssetReadError, and PairRejectedError if there is too little to compare.
    """
    key = _key(spec, pair, grid, identities)
    fitted = load_detector(_read(output / FILE), key) or _fit(spec, pair, grid)
    return replace(spec, fitted=fitted, key=key)


def keep_detector(spec: DetectorSpec, output: Path) -> None:
    """Write a fitted detector beside the map that it makes."""
    text = dump_detector(spec)
    if _read(output / FILE) != text:
        write_atomically(output / FILE, text)


def _fit(spec: DetectorSpec, pair: PairPlan, grid: RegionGrid) -> Detector:
    samples = sample_pair(pair.before, pair.after, grid, pair.recipe, SAMPLE, strict=True)
    pairs, dates = PassPairs.of(pair.before, pair.after), (pair.before, pair.after)
    return Detector.fit_by_pairs(
        spec.kind,
        [
            (
                np.stack([before.image, after.image]),
                before.valid & after.valid,
                pairs.at(dates, (before.source, after.source)),
            )
            for before, after in samples.windows
        ],
    )


def _key(spec: DetectorSpec, pair: PairPlan, grid: RegionGrid, identities: dict[str, str]) -> str:
    region, pairs = grid.region, PassPairs.of(pair.before, pair.after)
    overpasses = pairs.key((pair.before, pair.after)) if pairs.several else None
    return digest_of(
        {
            "algorithm": ALGORITHM_VERSION,
            "kind": spec.kind,
            "sample": SAMPLE.model_dump(mode="json"),
            "scenes": [
                [scene_key(scene, identities, pair.recipe) for scene in scenes]
                for scenes in (pair.before, pair.after)
            ],
            "pixels": pair.recipe.key(),
            "grid": [grid.crs, grid.resolution, grid.x_origin, grid.y_origin],
            "region": [region.row, region.col, region.height, region.width],
            "outline": grid.outline.wkt,
            **({"overpasses": overpasses} if overpasses else {}),
        }
    )


def _read(file: Path) -> str:
    try:
        return read_bytes(file).decode(errors="replace")  # what is damaged is fitted anew
    except (FileNotFoundError, NotADirectoryError):
        return ""
