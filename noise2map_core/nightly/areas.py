"""The areas of a night, each judged by itself: one that is wrong does not stop the others."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from noise2map_core.runtime.errors import ConfigError, Noise2MapError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.reading import build_config
from noise2map_core.workflows.run_nightly import AreaConfig, NightlyConfig


@dataclass(frozen=True, slots=True)
class Area:
    """An area with all that its entry refers to."""

    config: AreaConfig
    search: SearchConfig
    output: Path
    """Absolute."""

    @property
    def id(self) -> str:
        """The area's name."""
        return self.config.id

    def slice_path(self, day: object) -> Path:
        """The bundle of a slice."""
        return self.output / "slices" / str(day)

    def objects_path(self, day: object) -> Path:
        """The objects of a slice: its polygons with their object_id."""
        return self.output / "objects" / f"{day}.parquet"

    def changes_path(self, day: object) -> Path:
        """What a slice changed."""
        return self.output / "changes" / f"{day}.parquet"

    @property
    def alerts_path(self) -> Path:
        """The folder of its alerts."""
        return self.output / "alerts"

    def look_path(self, day: object) -> Path:
        """What is remembered of a slice, for alerts."""
        return self.output / "looks" / f"{day}.json"

    @property
    def collection(self) -> Path:
        """The STAC collection of all slices."""
        return self.output / "collection.json"


def day_of(name: str) -> date | None:
    """The day that a slice's folder or table is called after; None for what is none of these."""
    try:
        day = date.fromisoformat(name)
    except ValueError:
        return None
    return day if str(day) == name else None


def iter_areas(config: NightlyConfig) -> Iterator[tuple[str, Area | Noise2MapError]]:
    """Each entry of `areas` in order: its id, and the area or what is wrong with it."""
    ids = [_id(number, entry) for number, entry in enumerate(config.areas, start=1)]
    counts = Counter(ids)
    outputs: dict[Path, str] = {}
    for name, entry in zip(ids, config.areas, strict=True):
        try:
            if counts[name] > 1:
                raise ConfigError(
                    f"area {name}: {counts[name]} areas have this id. Give each its own."
                )
            area = _area(config, name, entry)
            if other := outputs.get(area.output):
                raise ConfigError(
                    f"area {name}: area {other} has the same output {area.output}. Set another."
                )
            outputs[area.output] = name
            yield name, area
        except Noise2MapError as error:
            yield name, error


def _id(number: int, entry: dict[str, Any]) -> str:
    return str(entry.get("id", f"number {number}"))


def _area(config: NightlyConfig, name: str, entry: dict[str, Any]) -> Area:
    try:
        found = build_config(AreaConfig, config.defaults, entry)
    except ConfigError as error:
        raise ConfigError(f"area {name}: {error}") from None
    if found.sensor not in config.sensors:
        known = ", ".join(config.sensors)
        raise ConfigError(
            f"area {name}: sensor {found.sensor!r} is unknown. Set one of: {known}; or add it to "
            "sensors."
        )
    output = (found.output or config.output / found.id).resolve()
    return Area(found, config.sensors[found.sensor], output)
