"""Whether two dates can be compared: measured on a few windows before anything is made of them."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.sun import angle_deg, sun_direction
from noise2map_core.geo.turns import centre_of_grid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.composite import DatePixels, read_date
from noise2map_core.imagery.convention import band_convention
from noise2map_core.imagery.radiometry import Normalisation, Samples, estimate_normalisation
from noise2map_core.imagery.reader import inspect
from noise2map_core.imagery.recipe import PixelRecipe
from noise2map_core.imagery.shift import Shift, median_shift
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.settings.imagery import PairQualityConfig

MAX_SAMPLES = 60_000
"""Pixels that the radiometry is estimated from."""

MAX_SCENES = 8
"""Scenes of each date whose files are compared with their items."""

OFFSET_DN, OFFSET_TOLERANCE_DN = 1000, 300
"""A difference of about this in every band: Sentinel-2's offset in one date only."""

SAME_GRID_PX = 0.01
DAYS_OF_YEAR = 365.25

Verdict = Literal["ok", "warn", "reject"]


@dataclass(frozen=True, slots=True)
class PairSamples:
    """Windows of a region, as both dates show them."""

    windows: tuple[tuple[DatePixels, DatePixels], ...]
    unread: tuple[str, ...] = ()
    """Why others could not be read."""

    def invariant_input(self) -> tuple[Samples, Samples]:
        """Samples [pixel, band] of before and after, seen at both, at most MAX_SAMPLES."""
        both = [one.valid & other.valid for one, other in self.windows]
        step = max(1, sum(int(seen.sum()) for seen in both) // MAX_SAMPLES)
        before, after = (
            np.concatenate(
                [pair[date].image[:, seen].T for pair, seen in zip(self.windows, both, strict=True)]
            )[::step].astype(np.float64)
            for date in (0, 1)
        )
        return before, after


@dataclass(frozen=True, slots=True)
class PairQuality:
    """The numbers of a pair, and what they amount to; plain values, None where not known."""

    verdict: Verdict
    reasons: tuple[str, ...]
    """Which limits are passed, for people."""
    valid_overlap: float
    """Share of the sampled pixels that is observed at both dates."""
    masked_before: float
    masked_after: float
    """Shares that are observed, but masked."""
    shift_px: tuple[float, float] | None
    """Rows and columns by which the second date lies off the first."""
    shift_windows: tuple[int, int] | None
    """Windows that agree on the shift, of those that could."""
    radiometry: float | None
    """Largest root mean square difference of unchanged pixels over the bands, standard deviations
    of the band before."""
    gain: tuple[float, ...] | None
    offset: tuple[float, ...] | None
    """Per band: before = gain · after + offset, over unchanged pixels."""
    offset_suspected: bool
    """The numbers of one date seem to hold Sentinel-2's offset, though nothing says so."""
    sun_deg: float | None
    """Angle between the directions to the sun; None if one time of day is none of daylight."""
    season_days: float
    """Distance of the days in the year."""
    grid_mismatch: tuple[str, ...]
    """Items that place their file elsewhere than the file does; the file is trusted."""
    convention: tuple[dict[str, Any], ...]
    """Scale and offset of each band as read, alike at both dates."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for manifests and stores."""
        return asdict(self)


def sample_pair(
    before: Sequence[Scene],
    after: Sequence[Scene],
    grid: RegionGrid,
    recipe: PixelRecipe,
    config: PairQualityConfig,
    resampling: str = "bilinear",
    *,
    strict: bool = False,
) -> PairSamples:
    """Read up to `windows`² windows, spread over the region, at both dates.

    What cannot be read is listed; with `strict` AssetReadError is raised.
    """
    found, unread = [], []
    for window in sample_windows(grid, config):
        geobox = grid.geobox(window)
        try:
            found.append(
                (
                    read_date(before, geobox, recipe, resampling),
                    read_date(after, geobox, recipe, resampling, last=True),
                )
            )
        except AssetReadError as error:
            if strict:
                raise
            unread.append(str(error))
    return PairSamples(tuple(found), tuple(dict.fromkeys(unread)))


def sample_windows(grid: RegionGrid, config: PairQualityConfig) -> list[Window]:
    """Windows evenly over the region that touch the area of interest; one at least."""
    windows = spread_windows(grid.region, config)
    touching = [w for w in windows if grid.bounds_polygon(w).intersects(grid.outline)]
    return touching or windows[len(windows) // 2 :][:1]


def spread_windows(region: Window, config: PairQualityConfig) -> list[Window]:
    """Up to `windows`² windows evenly over a region, by rows."""
    height, width = min(config.window_px, region.height), min(config.window_px, region.width)
    rows, cols = (
        _starts(first, length, side, config.windows)
        for first, length, side in (
            (region.row, region.height, height), (region.col, region.width, width)
        )
    )  # fmt: skip
    return [Window(row, col, height, width) for row in rows for col in cols]


def _starts(first: int, length: int, side: int, count: int) -> list[int]:
    """Starts of at most `count` windows that do not overlap, in the middles of equal parts."""
    fit = max(1, min(count, length // side))
    part = length / fit
    return [first + round(number * part + (part - side) / 2) for number in range(fit)]


def measure_pair(
    samples: PairSamples,
    before: Sequence[Scene],
    after: Sequence[Scene],
    grid: RegionGrid,
    config: PairQualityConfig,
) -> PairQuality:
    """The numbers of a pair and their verdict."""
    light = normalisation_of(samples)
    shift = shift_of(samples)
    quality = PairQuality(
        verdict="ok",
        reasons=samples.unread,
        valid_overlap=_share(one.valid & other.valid for one, other in samples.windows),
        masked_before=_share(one.masked for one, _ in samples.windows),
        masked_after=_share(other.masked for _, other in samples.windows),
        shift_px=None if shift is None else (round(shift.rows, 3), round(shift.cols, 3)),
        shift_windows=None if shift is None else (shift.windows, shift.of),
        radiometry=None if light is None else _radiometry(samples, light),
        gain=None if light is None else light.gain,
        offset=None if light is None else light.offset,
        offset_suspected=light is not None and _looks_like_offset(samples, light),
        sun_deg=_sun_deg(before[0], after[0], grid),
        season_days=_season_days(before[0], after[0]),
        grid_mismatch=_grid_mismatch([*before[:MAX_SCENES], *after[:MAX_SCENES]]),
        convention=tuple({"name": band.name, **band_convention(band)} for band in before[0].bands),
    )
    return judged(quality, config)


def shift_of(samples: PairSamples) -> Shift | None:
    """The shift between the dates, from the mean of the bands; None if windows do not agree."""
    return median_shift(
        [
            (one.image.mean(axis=0), other.image.mean(axis=0), one.valid & other.valid)
            for one, other in samples.windows
        ]
    )


def normalisation_of(samples: PairSamples) -> Normalisation | None:
    """Gain and offset of the second date, from unchanged pixels; None if these are not found."""
    return estimate_normalisation(*samples.invariant_input()) if samples.windows else None


def judged(quality: PairQuality, config: PairQualityConfig) -> PairQuality:
    """The same numbers with verdict and reasons."""
    rejects: list[str] = []
    warns = [f"not all windows could be read: {text} See to the files." for text in quality.reasons]
    length = math.hypot(*quality.shift_px) if quality.shift_px else 0.0
    text = f"the dates lie {length:.2f} px apart; radiometry.correct_shift auto takes that back"
    if length > config.reject_shift_px:
        rejects.append(text)
    elif length > config.warn_shift_px:
        warns.append(text)
    text = (
        f"{quality.valid_overlap:.1%} of the pixels are observed at both dates; longer ranges of "
        "dates show more"
    )
    if quality.valid_overlap < config.reject_overlap:
        rejects.append(text)
    elif quality.valid_overlap < config.warn_overlap:
        warns.append(text)
    if quality.offset_suspected:
        warns.append(
            f"numbers differ by about {OFFSET_DN} in every band, as by a sensor's offset; see to "
            "the items' offsets, or set radiometry.use to auto"
        )
    if (quality.radiometry or 0) > config.warn_radiometry:
        warns.append(
            f"unchanged ground differs by {quality.radiometry:.2f} standard deviations; "
            "radiometry.use auto evens that out"
        )
    if (quality.sun_deg or 0) > config.warn_sun_deg:
        warns.append(
            f"the sun stands {quality.sun_deg:.0f} degrees apart, and shadows differ; choose dates "
            "of one season and time of day"
        )
    if quality.season_days > config.warn_season_days:
        warns.append(
            f"the seasons are {quality.season_days:.0f} days apart, and plants differ; choose "
            "dates of one season"
        )
    warns += quality.grid_mismatch
    verdict: Verdict = "reject" if rejects else "warn" if warns else "ok"
    return replace(quality, verdict=verdict, reasons=(*rejects, *warns))


def _share(masks: Any) -> float:
    parts = [mask.ravel() for mask in masks]
    return round(float(np.concatenate(parts).mean()), 6) if parts else 0.0


def _radiometry(samples: PairSamples, light: Normalisation) -> float:
    before, _ = samples.invariant_input()
    spread: NDArray[np.float64] = np.maximum(before.std(axis=0), 1e-9)
    return round(float((np.asarray(light.rmse_before) / spread).max()), 4)


def _looks_like_offset(samples: PairSamples, light: Normalisation) -> bool:
    if samples.windows[0][0].image.dtype != np.uint16:
        return False
    before, after = samples.invariant_input()
    apart = np.median(after[light.invariant] - before[light.invariant], axis=0)
    near = np.abs(np.abs(apart) - OFFSET_DN) < OFFSET_TOLERANCE_DN
    return bool(near.all() and len(set(np.sign(apart))) == 1)


def _sun_deg(before: Scene, after: Scene, grid: RegionGrid) -> float | None:
    lon, lat = centre_of_grid(grid.geobox(grid.region))
    one, other = (sun_direction(scene.datetime, lon, lat) for scene in (before, after))
    return None if min(one[2], other[2]) <= 0 else round(angle_deg(one, other), 2)


def _season_days(before: Scene, after: Scene) -> float:
    apart = abs(before.datetime - after.datetime).total_seconds() / 86_400 % DAYS_OF_YEAR
    return round(min(apart, DAYS_OF_YEAR - apart), 2)


def _grid_mismatch(scenes: Sequence[Scene]) -> tuple[str, ...]:
    texts = [text for scene in scenes if (text := _mismatch(scene))]
    return tuple(dict.fromkeys(texts))


def _mismatch(scene: Scene) -> str:
    """How an item's projection differs from its first file's; empty if it does not."""
    info = inspect(scene.bands[0])
    if scene.proj_code and info.crs.startswith("EPSG:") and scene.proj_code != info.crs:
        return f"item {scene.id} states {scene.proj_code}, its file {info.crs}; mend the catalogue"
    if scene.proj_transform is None:
        return ""
    to_file = ~info.transform @ Affine(*scene.proj_transform)
    corners = ((0, 0), (0, info.shape[0]), (info.shape[1], 0), info.shape[::-1])
    off = max(math.dist(to_file @ corner, corner) for corner in corners)
    if off <= SAME_GRID_PX:
        return ""
    return f"item {scene.id} lies {off:.2f} px off its file; mend the catalogue"
