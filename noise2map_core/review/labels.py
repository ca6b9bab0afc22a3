"""Verdicts as labels to learn from: confirmed is changed, rejected unchanged, all else unknown.

Each alert is a label of the pair of dates that best shows it: the slice whose later date holds its
after item. Of each such slice there is a file of polygons, and settings by which ingest-region
makes chips of that very pair; chips without a labelled pixel are not stored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd

from noise2map_core.review.parts import plan_parts
from noise2map_core.review.scenes import SliceScenes, read_scenes
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.documents import read_text
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.places import anywhere
from noise2map_core.settings.places import placed as placed_in
from noise2map_core.settings.reading import section_of
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.pixels import PixelsConfig

LABELS = ("confirmed", "rejected")
COLUMNS = ["object_id", "verdict", "geometry"]
DATES = ("aoi", "search", "before", "after")
"""Settings of a slice that its chips take over, besides those of pixels."""


@dataclass(frozen=True)
class LabelFiles:
    """What was written for one slice."""

    day: date
    polygons: Path
    settings: Path
    """YAML for ingest-region."""
    confirmed: int
    rejected: int
    parted: bool
    """Whether some are val; else all are train."""


def write_labels(
    area: Path, judged: gpd.GeoDataFrame, folder: Path, store: str
) -> list[LabelFiles]:
    """Write labels and settings of every slice with verdicts, by day; the chips go to `store`.

    `judged` is as of `queue.alerts_with_verdicts`. Raises ConfigError if there is nothing to learn
    from, or if the settings of a slice are gone.
    """
    slices = read_scenes(area)
    chosen = judged[judged["verdict"].isin(LABELS)]
    of = [_slice_of(row, slices) for row in chosen.itertuples(index=False)]
    days = sorted({one.day for one in of if one is not None})
    if not days:
        raise ConfigError(
            f"no alert of {area} is confirmed or rejected whose imagery is known: there is nothing "
            "to label. Take verdicts in first: noise2map review AREA --apply FILE."
        )
    folder.mkdir(parents=True, exist_ok=True)
    by_day = {one.day: one for one in slices}
    known = chosen[[one is not None for one in of]]
    split = plan_parts(known, by_day[days[0]])
    about: dict[str, Any] = {"output": store, "place": area.name}
    if split is not None:
        about["split"] = {"blocks": split.model_dump(mode="json")}
    return [
        _write(area, chosen[[one is by_day[day] for one in of]], by_day[day], folder, about)
        for day in days
    ]


def _slice_of(alert: Any, slices: list[SliceScenes]) -> SliceScenes | None:
    """The first slice of the alert's time with its after item; without one, the first that shows
    it."""
    later = [one for one in slices if one.day >= alert.first_seen]
    with_item = (one for one in later if alert.after_item in {scene.id for scene in one.after})
    return next(with_item, later[0] if later and not alert.after_item else None)


def _write(
    area: Path, chosen: gpd.GeoDataFrame, shown: SliceScenes, folder: Path, about: dict[str, Any]
) -> LabelFiles:
    polygons, settings = folder / f"{shown.day}.geojson", folder / f"{shown.day}.yaml"
    placed = chosen[COLUMNS].to_crs("EPSG:4326").sort_values("object_id")
    write_atomically(polygons, placed.to_json(drop_id=True) + "\n")
    found = ingest_settings(_slice_settings(area, shown.day), shown, polygons.resolve())
    written = placed_in(IngestRegionConfig, found | about, anywhere)
    write_atomically(settings, json.dumps(written, indent=1) + "\n")
    counts = chosen["verdict"].value_counts()
    confirmed, rejected = (int(counts.get(name, 0)) for name in LABELS)
    return LabelFiles(shown.day, polygons, settings, confirmed, rejected, "split" in about)


def _slice_settings(area: Path, day: date) -> dict[str, Any]:
    path = area / "settings" / f"{day}.yaml"
    try:
        found: dict[str, Any] = json.loads(read_text(path))  # JSON is YAML
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing, by which the slice of {day} was made. Restore it, or run "
            "run-nightly, which writes it with the slice."
        ) from None
    return found


def ingest_settings(
    settings: Mapping[str, Any], shown: SliceScenes, polygons: Path
) -> dict[str, Any]:
    """Settings of ingest-region for the dates and pixels of a slice: of what infer-region was told,
    all that chips know, too."""
    bands = [band.name for band in shown.after[0].bands]
    pixels = {
        name: _known(IngestRegionConfig, name, settings[name]) for name in PixelsConfig.model_fields
    }
    dates = {name: settings[name] for name in DATES}
    return {
        **dates,
        **pixels,
        "search": {**settings["search"], "bands": bands},
        "labels": {
            "kind": "polygons", "path": str(polygons), "column": "verdict",
            "classes": ["confirmed"], "unchanged": ["rejected"],
        },
    }  # fmt: skip


def _known(config: Any, name: str, values: Any) -> Any:
    """Of a section, the settings that chips have, too."""
    section = section_of(config.model_fields[name].annotation)
    if section is None or not isinstance(values, Mapping):
        return values
    return {key: value for key, value in values.items() if key in section.model_fields}
