"""List the imagery of an area: dates, cloud over the area, and how much of it each shows.

With --output, also a sheet of small pictures, and the same facts as JSON.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noise2map_core.catalog.search import picture_bands
from noise2map_core.geo.aoi import AreaOfInterest, read_aoi
from noise2map_core.imagery.days import CoarseArea, Day, find_days
from noise2map_core.imagery.preview import write_days
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.settings.imagery import MaskConfig
from noise2map_core.workflows.tools.scenes import ScenesConfig

FORMAT_VERSION = 1
SHEET, FACTS = "scenes.png", "scenes.json"
HEADER = ("date", "scenes", "sensor", "cloud over the area", "area shown", "pixels")


@dataclass(frozen=True)
class FoundScenes:
    """The days of a search, in the order that was asked for."""

    days: list[Day]
    output: Path | None

    def summary(self) -> list[str]:
        """A table for people, and what was written."""
        rows = [HEADER, *map(_row, self.days)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        if self.output is None:
            return lines
        return [
            *lines, f"pictures  {self.output / SHEET}", f"facts     {self.output / FACTS}"
        ]  # fmt: skip


def run(config: ScenesConfig) -> FoundScenes:
    """Search, look at the masks, and draw. Raises what a search raises."""
    aoi = read_aoi(config.aoi)
    bands = config.search.bands or picture_bands(config.search, aoi, config.dates)
    coarse = CoarseArea.of(aoi)
    days = find_days(config.search, aoi, config.dates, bands, MaskConfig(), coarse)
    if config.sort == "cloud":
        days.sort(key=lambda day: (math.inf if day.cloud is None else day.cloud, day.day))
    if config.output is not None:
        config.output.mkdir(parents=True, exist_ok=True)
        _write(config.output, config, aoi, bands, days, coarse)
    return FoundScenes(days, config.output)


def _row(day: Day) -> tuple[str, ...]:
    gsd = "?" if day.gsd is None else f"{day.gsd:g} m"
    shown = f"{100 * day.coverage:.0f} %"
    return (str(day.day), str(len(day.scenes)), day.sensor, day.cloud_text, shown, gsd)


def _write(
    folder: Path, config: ScenesConfig, aoi: AreaOfInterest, bands: Sequence[str],
    days: Sequence[Day], coarse: CoarseArea,
) -> None:  # fmt: skip
    facts = {
        "format_version": FORMAT_VERSION, "area": aoi.name,
        "collection": config.search.collection, "asked": config.dates, "bands": list(bands),
        "dates": [_facts(day) for day in days],
    }  # fmt: skip
    write_atomically(folder / FACTS, json.dumps(facts, indent=2) + "\n")
    named = [(str(day.day), day) for day in days]
    write_days(folder / SHEET, named, coarse, f"{aoi.name}, {config.search.collection}")


def _facts(day: Day) -> dict[str, Any]:
    return {
        "date": str(day.day),
        "scenes": [scene.id for scene in day.scenes],
        "sensor": day.sensor,
        "cloud_percent": None if day.cloud is None else round(100 * day.cloud, 2),
        "cloud_of": day.cloud_of,
        "coverage_percent": round(100 * day.coverage, 2),
        "gsd_m": day.gsd,
    }
