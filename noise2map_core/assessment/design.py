"""The design of a sample: of which map, of which classes, which pixels."""

from __future__ import annotations

import json
from pathlib import Path

from noise2map_core.assessment.sample_files import SampledClass, SampleDesign
from noise2map_core.assessment.sampling import Stratum, draw_sample, open_map
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.tools.interpreted.sample import SampleConfig

MAPS = ("change.tif", "classes.tif")
"""Maps in an output directory."""


def find_map(path: Path) -> Path:
    """The map in an output directory, or the file itself. Raises ConfigError without one."""
    if not path.is_dir():
        return path
    for name in MAPS:
        if (path / name).is_file():
            return path / name
    raise ConfigError(f"{path} holds no {' or '.join(MAPS)}. Give the output of infer-region.")


def read_class_names(path: Path) -> dict[int, str]:
    """Classes that the map can have, by value, from the STAC item beside it; empty without one."""
    item = path.parent / "item.json"
    if not item.is_file():
        return {}
    assets = json.loads(item.read_text(encoding="utf-8")).get("assets", {})
    return {
        entry["value"]: entry.get("title", entry["name"])
        for asset in assets.values()
        if Path(asset["href"]).name == path.name
        for entry in asset.get("classification:classes", ())
        if not entry.get("nodata")
    }


def require_two_pixels(strata: list[Stratum], path: Path) -> None:
    """Raise ConfigError for a class of a single pixel: an interval needs two."""
    for stratum in strata:
        if stratum.pixels < 2:
            raise ConfigError(
                f"map {path}: class {stratum.value} has a single pixel, of which no interval can "
                "be told. Merge it with another class, or set it to 255."
            )


def expected_accuracy(config: SampleConfig, strata: list[Stratum]) -> dict[int, float]:
    """User's accuracy by class. Raises ConfigError if the config forgets one."""
    given = config.expected_accuracy
    if isinstance(given, float):
        return {stratum.value: given for stratum in strata}
    if strange := sorted(set(given) - {stratum.value for stratum in strata}):
        raise ConfigError(
            f"expected_accuracy has a value for class {strange[0]}, which the map has not a pixel "
            "of. Leave it out."
        )
    missing = [str(stratum.value) for stratum in strata if stratum.value not in given]
    if missing:
        raise ConfigError(
            f"expected_accuracy has no value for class {', '.join(missing)} of the map. Add it, or "
            "give one number for all."
        )
    return given


def draw_design(
    config: SampleConfig, path: Path, strata: list[Stratum], sizes: dict[int, int]
) -> SampleDesign:
    """Draw `sizes` pixels of each class of the map at `path`."""
    with open_map(path) as raster:
        crs, transform = raster.crs.to_wkt(), tuple(raster.transform)[:6]
    units = draw_sample(path, sizes, config.seed)
    return SampleDesign(
        map=path.name,
        map_sha256=file_sha256(path),
        crs=crs,
        transform=transform,
        seed=config.seed,
        target_error=config.target_error,
        classes=_classes(strata, sizes, read_class_names(path)),
        units=tuple((unit.row, unit.col, unit.stratum) for unit in units),
    )


def _classes(
    strata: list[Stratum], sizes: dict[int, int], names: dict[int, str]
) -> tuple[SampledClass, ...]:
    """The map's classes, those included that it could have but has not."""
    measured = {stratum.value: stratum for stratum in strata}
    absent = {value: Stratum(value, 0, 0.0) for value in names}
    return tuple(
        SampledClass(
            value=value,
            name=names.get(value, f"class {value}"),
            pixels=found.pixels,
            area_m2=found.area_m2,
            samples=sizes.get(value, 0),
        )
        for value, found in sorted((absent | measured).items())
    )
