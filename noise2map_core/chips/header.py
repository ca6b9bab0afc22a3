"""What a chip store says of itself: its key, bands, classes and source items."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import shapely

from noise2map_core.catalog.scene import Scene
from noise2map_core.chips.writer import StoreHeader
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.convention import band_convention
from noise2map_core.imagery.reader import inspect, pixel_type
from noise2map_core.imagery.recipe import UNCHANGED, PixelRecipe, scene_key
from noise2map_core.labels.sources import LabelSource
from noise2map_core.labels.splits import SplitWindow
from noise2map_core.rasters.identity import asset_identities
from noise2map_core.runtime.digest import digest_of
from noise2map_core.settings.chips import ChipsConfig

ALGORITHM_VERSION = 3
"""Raised when the same inputs give other chips; a store made before is then another store."""

COMMON_NAMES = {
    "coastal", "blue", "green", "yellow", "red", "rededge", "rededge071", "rededge075",
    "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11",
    "lwir12", "pan",
}  # fmt: skip
"""Band names that STAC's eo extension gives a meaning."""


def plan_header(
    grid: RegionGrid,
    chips: ChipsConfig,
    buffer_px: int,
    windows: Sequence[SplitWindow],
    labels: LabelSource | None,
    dates: Sequence[Sequence[Scene]],
    place: str,
    recipe: PixelRecipe = UNCHANGED,
    *,
    named: bool = False,
) -> StoreHeader:
    """The header of the store that these settings make of these scenes of a place, `named` by its
    user: another name is another store.

    Asks once for the identity of every asset. Raises AssetReadError.
    """
    scenes = [scene for of_date in dates for scene in of_date]
    identities = asset_identities(scenes, masks=recipe.masked)
    of_labels: list[Any] = [_meaning(labels), labels.identity()] if labels else [None, []]
    key = {
        "algorithm": ALGORITHM_VERSION,
        "grid": [grid.crs, grid.resolution, grid.x_origin, grid.y_origin, grid.tile_px],
        "outline": shapely.to_wkt(grid.outline, rounding_precision=3),
        "chips": chips.model_dump(mode="json"),
        "split": [buffer_px, *map(_window, windows)],
        "labels": of_labels[0],
        "label_assets": of_labels[1],
        "dates": [
            [[scene.id, scene_key(scene, identities, recipe)] for scene in scenes]
            for scenes in dates
        ],
        "recipe": recipe.key(),
        **({"place": place} if named else {}),
    }
    return StoreHeader(
        key=digest_of(key),
        grid=grid,
        chip_px=chips.chip_px,
        stride_px=chips.stride_px,
        dtype=str(pixel_type(scenes)),
        bands=_band_table(scenes),
        classes=labels.classes if labels else {},
        splits=tuple(dict.fromkeys(window.split for window in windows)),
        buffer_px=buffer_px,
        items=[_item(scene) for scene in scenes],
        places=(place,) * len(dates),
        identities=identities,
        labels_key=digest_of(of_labels),
        ground_gsd=_ground_gsd(grid),
        labels_from=(labels.attribution,) if labels and labels.attribution else (),
    )


def _ground_gsd(grid: RegionGrid) -> float | None:
    """None where the grid's metres are those of the ground, as in UTM."""
    return None if grid.ground_m == grid.resolution else round(grid.ground_m, 4)


def _window(part: SplitWindow) -> list[Any]:
    area = None if part.within is None else shapely.to_wkt(part.within, rounding_precision=3)
    return [part.split, *astuple(part.window), area]


def _meaning(labels: LabelSource) -> dict[str, Any]:
    """What the values of labels mean, wherever they are from."""
    layers = [layer.to_json() for layer in labels.layers]
    always, if_set = ("kind", "values", "column", "classes"), ("unchanged", "layer", "merged")
    return {
        "tables": labels.classes,
        "difference": labels.difference,
        "layers": [
            {name: layer.get(name) for name in always}
            | {name: layer[name] for name in if_set if layer.get(name)}
            for layer in layers
        ],
    }


def _band_table(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """The bands of the first scene; scale and offset of the first that states them."""
    sources = [
        next((band for band in of_scenes if band.scale is not None), of_scenes[0])
        for of_scenes in zip(*(scene.bands for scene in scenes), strict=True)
    ]
    return [
        {
            "name": band.name,
            "common_name": band.name if band.name in COMMON_NAMES else None,
            **band_convention(source),
            "nodata": inspect(band).nodata,
        }
        for band, source in zip(scenes[0].bands, sources, strict=True)
    ]


def _item(scene: Scene) -> dict[str, Any]:
    return {
        "id": scene.id,
        "collection": scene.collection,
        "datetime": f"{scene.datetime:%Y-%m-%dT%H:%M:%SZ}",
        "href": scene.href.partition("?")[0],
        "attribution": scene.attribution,
    }
