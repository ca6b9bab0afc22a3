"""How bright the scenes of a region are, and how a pair differs where nothing changed: from a fixed
sample of windows, whoever asks."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.composite import read_date
from noise2map_core.imagery.moments import robust_light
from noise2map_core.imagery.pair_quality import sample_windows
from noise2map_core.imagery.recipe import PixelRecipe, scene_key
from noise2map_core.learning.alteration import pair_alteration
from noise2map_core.models.spec import note_size
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
    alteration: tuple[tuple[float, ...], ...] = ()
    """[variate + 1][number] of MAD variates, see `pair_alteration`, where the network sees these;
    NaN where too little is observed at both dates."""

    @property
    def digest(self) -> str:
        """Of the numbers, whatever they were measured on."""
        return digest_of(repr((self.dates, self.alteration) if self.alteration else self.dates))

    @property
    def unknown(self) -> list[int]:
        """Numbers of the dates of which too little is observed."""
        return [n for n, date in enumerate(self.dates) if not all(map(math.isfinite, date[0]))]

    @property
    def is_alteration_unknown(self) -> bool:
        """True if the network wants variates, and nobody can say them."""
        return bool(self.alteration) and not all(map(math.isfinite, self.alteration[0]))


def read_light(
    dates: Sequence[Sequence[Scene]],
    grid: RegionGrid,
    recipe: PixelRecipe,
    identities: dict[str, str],
    output: Path,
    *,
    with_alteration: bool = False,
) -> SceneLight:
    """Of each date of a region; what `output` holds is taken if it is of the same scenes, pixels
    and region. Raises AssetReadError."""
    key = _key(dates, grid, recipe, identities, with_alteration)
    kept = _load(output / FILE)
    if kept is not None and kept.key == key:
        return kept
    windows = [
        [_pixels(scenes, grid, window, recipe, last=scenes is dates[-1]) for scenes in dates]
        for window in sample_windows(grid, SAMPLE)
    ]
    return replace(scene_light(windows, with_alteration=with_alteration), key=key)


def keep_light(light: SceneLight, output: Path) -> None:
    """Write it beside the map that is made with it."""
    if _load(output / FILE) == light:
        return
    numbers: dict[str, Any] = {"key": light.key, "dates": [_plain(date) for date in light.dates]}
    if light.alteration:
        numbers["alteration"] = _plain(light.alteration)
    write_atomically(output / FILE, json.dumps(numbers) + "\n")


DateWindow = tuple[NDArray[Any], NDArray[np.bool_]]
"""One date in a window: image [band, y, x] and what of it is observed [y, x]."""


def _pixels(
    scenes: Sequence[Scene], grid: RegionGrid, window: Window, recipe: PixelRecipe, last: bool
) -> DateWindow:
    pixels = read_date(scenes, grid.geobox(window), recipe, last=last)
    return pixels.image, pixels.valid


def scene_light(
    windows: Sequence[Sequence[DateWindow]], *, with_alteration: bool = False
) -> SceneLight:
    """Of windows with all dates each; `with_alteration` of the pair of dates, too."""
    lights = tuple(
        _light([image[:, valid] for image, valid in date]) for date in zip(*windows, strict=True)
    )
    return SceneLight(lights, alteration=_alteration(windows) if with_alteration else ())


def _light(windows: Sequence[NDArray[Any]]) -> DateLight:
    """Centre and spread [2][band] of the observed pixels [band, pixel] of windows."""
    return _rows(robust_light(_few(windows)))


def _alteration(windows: Sequence[Sequence[DateWindow]]) -> tuple[tuple[float, ...], ...]:
    """Of the pixels that are observed at both dates."""
    both = [valid[0] & valid[-1] for valid in ([valid for _, valid in dates] for dates in windows)]
    pairs = [
        (np.stack([dates[0][0], dates[-1][0]]), seen)
        for dates, seen in zip(windows, both, strict=True)
    ]
    before, after = (_few([image[n][:, seen] for image, seen in pairs]) for n in (0, 1))
    return _rows(pair_alteration(before, after, windows=pairs))


def _few(windows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """At most `MAX_PIXELS` or so of their pixels [band, pixel], evenly."""
    every = np.concatenate(windows, axis=1)
    return every[:, :: max(1, every.shape[1] // MAX_PIXELS)]


def _rows(numbers: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in numbers.tolist())


def _plain(rows: DateLight) -> list[list[float | None]]:
    return [[value if math.isfinite(value) else None for value in row] for row in rows]


def _numbers(rows: list[list[float | None]]) -> DateLight:
    return tuple(tuple(math.nan if v is None else float(v) for v in row) for row in rows)


def _load(file: Path) -> SceneLight | None:
    """None for what is missing or damaged: it is measured anew."""
    try:
        found: dict[str, Any] = json.loads(read_bytes(file))
        dates = tuple(map(_numbers, found["dates"]))
        return SceneLight(dates, found["key"], _numbers(found.get("alteration", [])))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _key(
    dates: Sequence[Sequence[Scene]],
    grid: RegionGrid,
    recipe: PixelRecipe,
    identities: dict[str, str],
    with_alteration: bool,
) -> str:
    region = grid.region
    return digest_of(
        ({"alteration": note_size(1)} if with_alteration else {})
        | {
            "algorithm": ALGORITHM_VERSION,
            "sample": [SAMPLE.model_dump(mode="json"), MAX_PIXELS],
            "scenes": [[scene_key(one, identities, recipe) for one in date] for date in dates],
            "pixels": recipe.key(),
            "grid": [grid.crs, grid.resolution, grid.x_origin, grid.y_origin],
            "region": [region.row, region.col, region.height, region.width],
            "outline": grid.outline.wkt,
        }
    )
