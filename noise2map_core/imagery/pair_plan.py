"""How the pixels of a pair will be read: decided once, by the driver, from bounded reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.composite import order_scenes
from noise2map_core.imagery.convention import require_one_convention
from noise2map_core.imagery.pair_quality import (
    PairQuality,
    PairSamples,
    measure_pair,
    normalisation_of,
    sample_pair,
    shift_of,
)
from noise2map_core.imagery.radiometry import match_histograms
from noise2map_core.imagery.recipe import Correction, PixelRecipe, plan_recipe
from noise2map_core.runtime.errors import AssetReadError, ConfigError, PairRejectedError
from noise2map_core.settings.imagery import (
    CompositeConfig,
    MaskConfig,
    PairQualityConfig,
    RadiometryConfig,
)
from noise2map_core.settings.unused import changed

COARSE_PX = 256
"""Longer side of the grid on which scenes are ordered by their masks."""


@dataclass(frozen=True, slots=True)
class PairPlan:
    """Scenes in the order in which they are preferred, and how they are read."""

    before: tuple[Scene, ...]
    after: tuple[Scene, ...]
    recipe: PixelRecipe
    quality: PairQuality | None
    """None: not measured, or not to be reported."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Lines for people; none if all is well."""
        if self.quality is None or self.quality.verdict == "ok":
            return ()
        return tuple(f"warning: pair of dates: {reason}" for reason in self.quality.reasons)


def require_used(quality: PairQualityConfig, radiometry: RadiometryConfig, dates: int) -> None:
    """Raise ConfigError for settings of pairs that nothing would read."""
    comparing = radiometry.use != "off" or radiometry.correct_shift != "off"
    if dates < 2:
        unread, why = [*_set("pair_quality", quality), *_set("radiometry", radiometry)], "one date"
    elif quality.action == "off":
        read = _read_by(radiometry) if comparing else {"action"}
        unread = [f"pair_quality.{name}" for name in changed(quality) if name not in read]
        why = "nothing to be reported or rejected (pair_quality.action off)"
    else:
        return
    if unread:
        raise ConfigError(
            f"{', '.join(unread)} is not used: there is {why}. Leave it out, or set what uses it."
        )


def _read_by(radiometry: RadiometryConfig) -> set[str]:
    """What a correction takes of the settings of pair_quality."""
    limits = {"warn_radiometry"} if radiometry.use == "auto" else set()
    limits |= {"warn_shift_px"} if radiometry.correct_shift == "auto" else set()
    return {"action", "windows", "window_px"} | limits


def _set(section: str, settings: PairQualityConfig | RadiometryConfig) -> list[str]:
    return [f"{section}.{name}" for name in changed(settings)]


def plan_pair(
    before: Sequence[Scene],
    after: Sequence[Scene],
    grid: RegionGrid,
    composite: CompositeConfig,
    mask: MaskConfig,
    quality: PairQualityConfig,
    radiometry: RadiometryConfig,
    resampling: str = "bilinear",
) -> PairPlan:
    """Order the scenes, measure the pair, and estimate the correction that is asked for.

    Without scenes before, there is no pair: only the order and the mask are decided. Raises
    ConfigError for a mask that cannot be had, AssetReadError for numbers of unlike conventions or,
    where it has to be estimated, pixels that cannot be read; PairRejectedError.
    """
    scenes = [*before, *after]
    require_one_convention(scenes)
    recipe = plan_recipe(composite, mask, scenes)
    coarse = _coarse(grid)
    if not before and composite.before is not None:
        raise ConfigError("composite.before is not used: there is one date. Leave it out.")
    first, second = (
        tuple(order_scenes(part, recipe, coarse, last=last))
        for part, last in ((before, False), (after, True))
    )
    wanted = radiometry.use != "off" or radiometry.correct_shift != "off"
    if not first or (quality.action == "off" and not wanted):
        return PairPlan(first, second, recipe, None)
    strict = wanted or quality.action == "reject"
    samples = sample_pair(first, second, grid, recipe, quality, resampling, strict=strict)
    measured = measure_pair(samples, first, second, grid, quality)
    if quality.action == "reject" and measured.verdict == "reject":
        raise PairRejectedError(
            f"pair {first[0].id}, {second[0].id} is rejected: {'; '.join(measured.reasons)}. Set "
            "other dates, or pair_quality.action to report."
        )
    shift = _shift(samples, measured, quality, radiometry)
    if shift.shift_px != (0.0, 0.0):
        recipe = recipe.model_copy(update={"correction": shift})
        samples = sample_pair(first, second, grid, recipe, quality, resampling, strict=True)
    light = _light(samples, measured, quality, radiometry)
    correction = light.model_copy(update={"shift_px": shift.shift_px})
    recipe = recipe.model_copy(update={"correction": correction})
    return PairPlan(first, second, recipe, None if quality.action == "off" else measured)


def _coarse(grid: RegionGrid) -> GeoBox:
    geobox = grid.geobox(grid.region)
    factor = max(1.0, max(geobox.shape) / COARSE_PX)
    return geobox.zoom_out(factor)


def _shift(
    samples: PairSamples,
    measured: PairQuality,
    quality: PairQualityConfig,
    radiometry: RadiometryConfig,
) -> Correction:
    """The shift to be taken back; none if the dates lie as the setting allows."""
    if radiometry.correct_shift == "off":
        return Correction()
    shift = shift_of(samples)
    if shift is None:
        if radiometry.correct_shift == "on":
            raise AssetReadError(
                "the shift between the dates cannot be measured: the windows do not agree. Set "
                "radiometry.correct_shift to off or auto."
            )
        return Correction()
    if radiometry.correct_shift == "auto" and shift.length <= quality.warn_shift_px:
        return Correction()
    return Correction(shift_px=(round(shift.rows, 3), round(shift.cols, 3)))


def _light(
    samples: PairSamples,
    measured: PairQuality,
    quality: PairQualityConfig,
    radiometry: RadiometryConfig,
) -> Correction:
    """Gain and offset, or knots, of the second date; none if they are not asked for."""
    asked = (measured.radiometry or 0) > quality.warn_radiometry or measured.offset_suspected
    if radiometry.use == "off" or (radiometry.use == "auto" and not asked):
        return Correction()
    if radiometry.method == "histogram":
        before, after = samples.invariant_input()
        if len(before):
            return Correction(knots=match_histograms(before, after))
    elif light := normalisation_of(samples):
        return Correction(gain=light.gain, offset=light.offset)
    raise AssetReadError(
        "the radiometry of the dates cannot be compared: too few pixels are observed at both, or "
        "they do not correlate. Set radiometry.use to off."
    )
