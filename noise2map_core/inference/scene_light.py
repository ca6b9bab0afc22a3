"""How bright the scenes of a region are: from a fixed sample of windows, whoever asks."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.composite import read_date
from noise2map_core.imagery.moments import robust_light
from noise2map_core.imagery.pair_quality import sample_windows
from noise2map_core.imagery.recipe import PixelRecipe, scene_key
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.storage import read_bytes
from noise2map_core.settings.imagery import PairQualityConfig

FILE = "scene_light.json"
SAMPLE = PairQualityConfig(windows=8, window_px=128)
"""Up to 64 windows, a million pixels; of a small region nearly all."""
MAX_PIXELS = 1 << 16
"""Of them, as many pixels, evenly, say what the scene is like."""
ALGORITHM_VERSION = 1

DateLight = tuple[tuple[float, ...], ...]
"""[centre, spread][band] of one date; NaN where too little is observed."""


@dataclass(frozen=True)
class SceneLight:
    """Centre and spread of every date of a region. Picklable and small."""

    dates: tuple[DateLight, ...]
    key: str = ""
    """Digest of what it was measured on."""

    @property
    def unknown(self) -> list[int]:
        """Numbers of the dates of which too little is observed."""
        return [n for n, date in enumerate(self.dates) if not all(map(math.isfinite, date[0]))]


def read_light(
    dates: Sequence[Sequence[Scene]],
    grid: RegionGrid,
    recipe: PixelRecipe,
    identities: dict[str, str],
    output: Path,
) -> SceneLight:
    """Of each date of a region; what `output` holds is taken if it is of the same scenes, pixels
    and region. Raises AssetReadError."""
    key = _key(dates, grid, recipe, identities)
    kept = _load(output / FILE)
    if kept is not None and kept.key == key:
        return kept
    lights = (_read(scenes, grid, recipe, last=scenes is dates[-1]) for scenes in dates)
    return SceneLight(tuple(lights), key)


def keep_light(light: SceneLight, output: Path) -> None:
    """Write it beside the map that is made with it."""
    if _load(output / FILE) == light:
        return
    numbers = [[[_plain(v) for v in row] for row in date] for date in light.dates]
    write_atomically(output / FILE, json.dumps({"key": light.key, "dates": numbers}) + "\n")


def _read(scenes: Sequence[Scene], grid: RegionGrid, recipe: PixelRecipe, last: bool) -> DateLight:
    read = (
        read_date(scenes, grid.geobox(window), recipe, last=last)
        for window in sample_windows(grid, SAMPLE)
    )
    return light_of(pixels.image[:, pixels.valid] for pixels in read)


def light_of(windows: Iterable[NDArray[Any]]) -> DateLight:
    """Centre and spread [2][band] of the observed pixels [band, pixel] of windows."""
    every = np.concatenate(list(windows), axis=1)
    step = max(1, every.shape[1] // MAX_PIXELS)
    return tuple(tuple(row) for row in robust_light(every[:, ::step]).tolist())


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _load(file: Path) -> SceneLight | None:
    """None for what is missing or damaged: it is measured anew."""
    try:
        found: dict[str, Any] = json.loads(read_bytes(file))
        dates = tuple(
            tuple(tuple(math.nan if v is None else float(v) for v in row) for row in date)
            for date in found["dates"]
        )
        return SceneLight(dates, found["key"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _key(
    dates: Sequence[Sequence[Scene]],
    grid: RegionGrid,
    recipe: PixelRecipe,
    identities: dict[str, str],
) -> str:
    region = grid.region
    return digest_of(
        {
            "algorithm": ALGORITHM_VERSION,
            "sample": [SAMPLE.model_dump(mode="json"), MAX_PIXELS],
            "scenes": [[scene_key(one, identities, recipe) for one in date] for date in dates],
            "pixels": recipe.key(),
            "grid": [grid.crs, grid.resolution, grid.x_origin, grid.y_origin],
            "region": [region.row, region.col, region.height, region.width],
            "outline": grid.outline.wkt,
        }
    )
