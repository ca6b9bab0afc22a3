"""Draw a stratified sample of a map for interpreters: `noise2map sample MAP --output DIR`.

Writes sample.gpkg and sample.geojson, with an empty column `reference` for the class that is truly
there, and strata.json, which tells what the map says: keep it from the interpreters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.cli.application import application
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.numbers import MAX_COUNT, PositiveFloat, Seed

if TYPE_CHECKING:
    from noise2map_core.assessment.sample_files import SampledClass, SampleDesign
    from noise2map_core.assessment.sampling import Stratum

MAPS = ("change.tif", "classes.tif")
"""Maps in an output directory."""

Accuracy = Annotated[float, Field(gt=0, lt=1)]


class SampleConfig(BaseModel):
    """What to sample, and how closely."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    map: LocalPath
    """GeoTIFF of classes, or the output directory of a map; the first argument, too."""

    output: LocalPath
    """Directory of the sample. A sample that is filled in is never overwritten."""

    target_error: PositiveFloat = 0.01
    """Standard error of overall accuracy to aim at; half of a 95 % interval is about twice that."""

    expected_accuracy: Accuracy | dict[int, Accuracy] = 0.85
    """User's accuracy to expect of every class, or of each: `{0: 0.95, 1: 0.7}`. It decides the
    sample's size, not the result."""

    minimum: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 50
    """Least sample units of a class; the rest is shared in proportion to area."""

    seed: Seed = 0
    """Another seed draws another sample."""


@dataclass(frozen=True)
class DrawnSample:
    """A sample that was written."""

    output: Path
    design: SampleDesign
    expected_error: float
    """Standard error of overall accuracy if user's accuracies are as expected."""

    def summary(self) -> list[str]:
        """What was drawn, and what to do with it."""
        return [
            f"{len(self.design.units):,} points, expected standard error of overall accuracy "
            f"{self.expected_error:.4f}",
            *(
                f"  class {entry.value:3} {entry.name:16} {entry.samples:6,} of "
                f"{entry.pixels:14,} pixels, {entry.area_m2 / 1e4:16,.1f} ha"
                for entry in self.design.classes
            ),
            f"points  {self.output / 'sample.gpkg'} (or sample.geojson): fill in `reference`",
            f"strata  {self.output / 'strata.json'}: keep it from the interpreters",
            f"then    noise2map assess {self.output / 'sample.gpkg'}",
        ]


def main() -> None:
    """The command `noise2map sample`."""
    application(SampleConfig, run, operand="map")


def run(config: SampleConfig) -> DrawnSample:
    """Measure the map's classes, size the sample, draw it and write it."""
    from noise2map_core.assessment import sampling
    from noise2map_core.assessment.sample_files import require_unfilled, write_sample

    require_unfilled(config.output)
    path = find_map(config.map)
    strata = sampling.measure_strata(path)
    _require_two_pixels(strata, path)
    accuracy = _expected_accuracy(config, strata)
    size = sampling.sample_size(strata, accuracy, config.target_error)
    sizes = sampling.allocate(strata, size, config.minimum)
    design = _design(config, path, strata, sizes)
    write_sample(config.output, design)
    return DrawnSample(config.output, design, sampling.expected_error(strata, accuracy, sizes))


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
        entry["value"]: entry["name"]
        for asset in assets.values()
        if Path(asset["href"]).name == path.name
        for entry in asset.get("classification:classes", ())
    }


def _require_two_pixels(strata: list[Stratum], path: Path) -> None:
    for stratum in strata:
        if stratum.pixels < 2:
            raise ConfigError(
                f"map {path}: class {stratum.value} has a single pixel, of which no interval can "
                "be told. Merge it with another class, or set it to 255."
            )


def _expected_accuracy(config: SampleConfig, strata: list[Stratum]) -> dict[int, float]:
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


def _design(
    config: SampleConfig, path: Path, strata: list[Stratum], sizes: dict[int, int]
) -> SampleDesign:
    from noise2map_core.assessment.sample_files import SampleDesign
    from noise2map_core.assessment.sampling import draw_sample, open_map
    from noise2map_core.runtime.digest import file_sha256

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
    from noise2map_core.assessment.sample_files import SampledClass
    from noise2map_core.assessment.sampling import Stratum

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
