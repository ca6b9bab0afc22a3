"""What the chips of a store were read from, kept in it: for appends, and for repair.

`sources.json` lists the scenes, each once, and the ingests: runs of consecutive chips, each read in
one way from one list of scenes for every date.
"""

import json
from dataclasses import astuple, dataclass
from typing import Any

import shapely

from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.scene_json import scene_from_json, scene_to_json
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.recipe import UNCHANGED, PixelRecipe
from noise2map_core.labels.layers import layer_from_json
from noise2map_core.labels.sources import LabelSource
from noise2map_core.settings.chips import ChipsConfig


@dataclass(frozen=True)
class Ingest:
    """Consecutive chips that were read together. Picklable, read-only."""

    first: int
    stop: int
    """The chips are first, …, stop - 1."""
    grid: RegionGrid
    """With the area of interest of this ingest; CRS, pixels and tiles are those of the store."""
    chips: ChipsConfig
    dates: tuple[tuple[Scene, ...], ...]
    """Scenes of each date, the preferred one first."""
    labels: LabelSource | None
    identities: dict[str, str]
    """Which bytes each asset held, by its address."""
    recipe: PixelRecipe = UNCHANGED
    """How the scenes become pixels."""
    quality: dict[str, Any] | None = None
    """What was measured of the pair of dates; None: it was not."""
    labels_key: str = ""
    """Digest of what the labels are read from and mean; empty: not known."""

    @property
    def scenes(self) -> list[Scene]:
        """Of all dates, in order."""
        return [scene for scenes in self.dates for scene in scenes]

    @property
    def detection(self) -> str:
        """What clouds were detected by, for people."""
        found = self.scenes[0].detection
        return f"{found.detector} ({found.version}), {found.grow_px} px" if found else "none"


def dump_sources(ingest: Ingest, before: bytes | None = None) -> bytes:
    """The file of an ingest, after those of the file `before`; files of labels are listed only."""
    document = json.loads(before) if before else {"scenes": [], "ingests": []}
    scenes = [*map(scene_from_json, document["scenes"]), *ingest.scenes]
    number = {scene: index for index, scene in enumerate(dict.fromkeys(scenes))}
    document["scenes"] = [scene_to_json(scene) for scene in number]
    document["ingests"].append(_dump(ingest, number))
    return json.dumps(document, indent=1).encode()


def load_sources(body: bytes, *, labels: bool = True) -> list[Ingest]:
    """The ingests of a file; their labels only if asked for, for these are opened.

    Raises ConfigError if label files are gone or are not those that were ingested.
    """
    document = json.loads(body)
    scenes = [scene_from_json(scene) for scene in document["scenes"]]
    return [_load(found, scenes, labels) for found in document["ingests"]]


def _dump(ingest: Ingest, number: dict[Scene, int]) -> dict[str, Any]:
    grid = ingest.grid
    return {
        "first": ingest.first,
        "stop": ingest.stop,
        "grid": [grid.crs, grid.resolution, grid.x_origin, grid.y_origin, grid.tile_px],
        "region": astuple(grid.region),
        "outline": shapely.to_wkb(grid.outline, hex=True),
        "chips": ingest.chips.model_dump(mode="json"),
        "dates": [[number[scene] for scene in scenes] for scenes in ingest.dates],
        "labels": _dump_labels(ingest.labels),
        "identities": ingest.identities,
        "recipe": ingest.recipe.model_dump(mode="json"),
        "quality": ingest.quality,
        "labels_key": ingest.labels_key,
    }


def _load(found: dict[str, Any], scenes: list[Scene], labels: bool) -> Ingest:
    crs, resolution, x_origin, y_origin, tile_px = found["grid"]
    region, outline = Window(*found["region"]), shapely.from_wkb(found["outline"])
    grid = RegionGrid(crs, resolution, x_origin, y_origin, tile_px, region, outline)
    return Ingest(
        found["first"],
        found["stop"],
        grid,
        ChipsConfig.model_validate(found["chips"]),
        tuple(tuple(scenes[number] for number in date) for date in found["dates"]),
        _load_labels(found["labels"], grid) if labels else None,
        found["identities"],
        PixelRecipe.model_validate(found.get("recipe", {})),
        found.get("quality"),
        found.get("labels_key", ""),
    )


def _dump_labels(labels: LabelSource | None) -> dict[str, Any] | None:
    if labels is None:
        return None
    return {
        "change": labels.change.to_json() if labels.change else None,
        "dates": [layer.to_json() if layer else None for layer in labels.dates],
        "difference": labels.difference,
        "classes": labels.classes,
    }


def _load_labels(found: dict[str, Any] | None, grid: RegionGrid) -> LabelSource | None:
    if found is None:
        return None
    return LabelSource(
        layer_from_json(found["change"], grid),
        tuple(layer_from_json(layer, grid) for layer in found["dates"]),
        found["difference"],
        found["classes"],
    )
