"""How the clouds of scenes are detected: decided once, from what their items and files say."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from noise2map_core.catalog.scene import BandSource, Detection, Optics, Scene
from noise2map_core.clouds.detector import CloudDetector, load_detector
from noise2map_core.geo.ground import ground_side
from noise2map_core.geo.turns import centre_of_grid
from noise2map_core.rasters.files import inspect
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.imagery import NO_DETECTOR, SceneMaskConfig

NO_OPTICS = Optics("", "", ())

SENTINEL_2_SCALE = 0.0001
OFFSET_SINCE = datetime(2022, 1, 25, tzinfo=UTC)
"""From then on numbers of Sentinel-2 may hold an offset; before, all products had none."""

Dates = Sequence[Sequence[Scene]]


def plan_detection(dates: Dates, mask: SceneMaskConfig) -> list[list[Scene]]:
    """The scenes, with how their clouds are detected if the settings name a detector.

    Opens their files. Raises ConfigError for a detector that is not installed, and for scenes that
    it does not know: of another sensor or level, without its bands or the scale of their numbers,
    with pixels of another size.
    """
    if mask.detector == NO_DETECTOR:
        return [[replace(scene, optics=None) for scene in scenes] for scenes in dates]
    detector = load_detector(mask.detector)
    bands = _bands(detector, [scene for scenes in dates for scene in scenes])
    planned = [[_planned(scene, detector, bands, mask) for scene in scenes] for scenes in dates]
    _require_scale_used(dates, bands, mask)
    return planned


def _optics(scene: Scene) -> Optics:
    return scene.optics or NO_OPTICS


def _bands(detector: CloudDetector, scenes: Sequence[Scene]) -> tuple[str, ...]:
    """The first set of bands that all scenes have: dates are judged in one way."""
    for bands in detector.bands:
        if all(set(bands) <= _names(scene) for scene in scenes):
            return bands
    fewest = min(detector.bands, key=len)
    scene = next(one for one in scenes if not set(fewest) <= _names(one))
    lacking = ", ".join(name for name in fewest if name not in _names(scene))
    raise ConfigError(
        f"item {scene.id} has no band {lacking}: mask.detector {detector.name} needs "
        f"{', '.join(fewest)}. Leave mask.detector out."
    )


def _names(scene: Scene) -> set[str]:
    return {band.name for band in _optics(scene).bands}


def _planned(
    scene: Scene, detector: CloudDetector, bands: tuple[str, ...], mask: SceneMaskConfig
) -> Scene:
    _require_sensor(scene, detector, mask)
    level = _level(scene, detector, mask)
    found = {band.name: band for band in _optics(scene).bands}
    sources = [found[name] for name in bands]
    _require_files(scene, detector, sources)
    scaled = tuple(_scaled(scene, band, mask.detector_scale) for band in sources)
    detection = Detection(mask.detector, detector.version, level, scaled, mask.dilate_px)
    return replace(scene, optics=None, detection=detection)


def _require_sensor(scene: Scene, detector: CloudDetector, mask: SceneMaskConfig) -> None:
    sensor = _optics(scene).sensor
    vouched = not sensor and mask.detector_level != "auto"
    if detector.sensors and sensor not in detector.sensors and not vouched:
        raise ConfigError(
            f"item {scene.id} does not say that it is of {_either(detector.sensors)}, whose clouds "
            f"mask.detector {detector.name} knows. Leave mask.detector out; if it is, name its "
            "level by mask.detector_level."
        )


def _level(scene: Scene, detector: CloudDetector, mask: SceneMaskConfig) -> str:
    stated, asked = _optics(scene).level, mask.detector_level
    if stated and asked not in ("auto", stated):
        raise ConfigError(
            f"item {scene.id} says that it is {stated}, and mask.detector_level is {asked}. Leave "
            "mask.detector_level out."
        )
    level = stated or (asked if asked != "auto" else "")
    if detector.levels and level not in detector.levels:
        what = f"is {level}, and" if level else "does not say whether it is l1c or l2a:"
        way = "Leave mask.detector out." if level else "Set mask.detector_level."
        raise ConfigError(
            f"item {scene.id} {what} mask.detector {detector.name} is for "
            f"{_either(detector.levels)}. {way}"
        )
    return level


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)


def _require_files(scene: Scene, detector: CloudDetector, sources: Sequence[BandSource]) -> None:
    """Raise ConfigError for pixels of a size that the detector was not made for, and for bands of
    unlike numbers, which could not be read together."""
    types = dict.fromkeys(inspect(source).dtype for source in sources)
    if len(types) > 1:
        raise ConfigError(
            f"item {scene.id} has bands of {' and '.join(types)}: mask.detector reads bands of one "
            "type. Leave mask.detector out."
        )
    low, high = detector.pixel_range_m
    side = min(pixel_m(source) for source in sources)
    if not low <= side <= high:
        raise ConfigError(
            f"item {scene.id} has pixels of {side:.3g} m: mask.detector {detector.name} is for "
            f"{low:g} to {high:g} m. Leave mask.detector out."
        )


def pixel_m(source: BandSource) -> float:
    """Side of a file's pixels, metres on the ground."""
    info = inspect(source)
    return ground_side(info.crs, info.transform, *centre_of_grid(info.geobox))


def _scaled(scene: Scene, band: BandSource, scale: float | None) -> BandSource:
    """A band with what makes reflectance of its numbers."""
    if band.scale is not None:
        return band
    early = _optics(scene).sensor == "sentinel-2" and scene.datetime < OFFSET_SINCE
    if scale is None and early and inspect(band).dtype == "uint16":
        scale = SENTINEL_2_SCALE
    if scale is None:
        raise ConfigError(
            f"item {scene.id} does not say which reflectance the numbers of its band {band.name} "
            "stand for. Set mask.detector_scale to that of the number 1, or leave mask.detector "
            "out."
        )
    return replace(band, scale=scale, offset=0.0)


def _require_scale_used(dates: Dates, bands: tuple[str, ...], mask: SceneMaskConfig) -> None:
    read = [
        band for scenes in dates for scene in scenes for band in _optics(scene).bands
        if band.name in bands
    ]  # fmt: skip
    if mask.detector_scale is not None and all(band.scale is not None for band in read):
        raise ConfigError("mask.detector_scale is not used: items state theirs. Leave it out.")
