"""Labels on the grid of the chips, from rasters or from polygons: of change, and of every date.

0 unchanged, 1 changed; 0, 1, … the classes of a date; 255 not labelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.catalog.search import search_labels
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.turns import outline_of
from noise2map_core.imagery.reader import inspect
from noise2map_core.labels import IGNORE
from noise2map_core.labels.layers import (
    LabelLayer,
    PolygonLayer,
    PolygonNames,
    RasterLayer,
    open_polygons,
)
from noise2map_core.rasters.identity import pin_scenes
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.redact import unsigned
from noise2map_core.runtime.storage import local_path
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.labels import LabelsConfig, NoLabels, PolygonLabels, RasterLabels

CLASSES = [{"value": 0, "name": "unchanged"}, {"value": 1, "name": "changed"}]
"""Of change."""

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class LabelSource:
    """Where labels come from. Picklable, safe to read from several processes."""

    change: LabelLayer | None
    """Where there is change; None: nowhere said, or the difference of the dates."""
    dates: tuple[LabelLayer | None, ...]
    """Classes of every date, None at a date without; empty: of no date."""
    difference: bool
    """Whether change is where the classes of the dates differ."""
    classes: dict[str, list[dict[str, Any]]]
    """Class table of each task that has labels."""
    attribution: str = ""
    """Whose the labels are, and their licence."""

    @property
    def layers(self) -> list[LabelLayer]:
        """All that is read."""
        return [layer for layer in (self.change, *self.dates) if layer is not None]

    def read(self, geobox: GeoBox) -> dict[str, Labels]:
        """label_change [H, W] and label_segment [date, H, W] on `geobox`, as far as there are any.

        Raises AssetReadError.
        """
        found = {}
        if "segment" in self.classes or self.difference:
            dates = np.stack([_read(layer, geobox) for layer in self.dates])
            if "segment" in self.classes:
                found["label_segment"] = dates
            if self.difference:
                found["label_change"] = _difference(dates)
        if self.change is not None:
            found["label_change"] = _read(self.change, geobox)
        return found

    def unnamed(self, geobox: GeoBox) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """Of each layer, values [H, W] as stored and where they are there but mean nothing."""
        return [layer.unnamed(geobox) for layer in self.layers]

    @property
    def passed_over(self) -> list[str]:
        """Names of polygons in the region that mean no class."""
        layers = [layer for layer in self.layers if isinstance(layer, PolygonLayer)]
        return sorted({name for layer in layers for name in layer.passed_over})

    def identity(self) -> list[str]:
        """What the labels depend on besides the settings: digests of files."""
        return [name for layer in self.layers for name in layer.identity()]


def _read(layer: LabelLayer | None, geobox: GeoBox) -> Labels:
    return np.full(geobox.shape, IGNORE, np.uint8) if layer is None else layer.read(geobox)


def _difference(dates: Labels) -> Labels:
    """1 where the first and the last date's classes differ, 255 where one is not known."""
    first, last = dates[0], dates[-1]
    differs = (first != last).astype(np.uint8)
    return np.where((first == IGNORE) | (last == IGNORE), np.uint8(IGNORE), differs)


def open_labels(
    config: LabelsConfig,
    search: SearchConfig,
    aoi: AreaOfInterest,
    intervals: Sequence[str],
    grid: RegionGrid,
) -> LabelSource | None:
    """The configured source of labels; None if labels are not asked for.

    `intervals` are the times of the scenes of each date; label items of a date must meet its own,
    those of change the time from the first to the last. Raises CatalogError or ConfigError if there
    are no labels where the settings say, or the task has too few dates.
    """
    if isinstance(config, NoLabels):
        return None
    if config.task != "segment" and len(intervals) < 2:
        raise ConfigError(
            f"labels of {config.task} need two dates, and there is one. Set --before, or "
            "labels.task to segment."
        )
    if config.before is not None and len(intervals) < 2:
        raise ConfigError(
            "labels.before is of the first of two dates, and there is one. Leave it out, or set "
            "--before."
        )
    whole = f"{intervals[0].partition('/')[0]}/{intervals[-1].rpartition('/')[2]}"
    opener = _Opener(config, search, aoi, grid)
    if config.says_change:
        layer = opener.open_change(whole)
        return LabelSource(layer, (), False, {"change": CLASSES}, config.attribution)
    last = opener.open_date(config.asset or config.path, intervals[-1])
    first = opener.open_date(config.before, intervals[0]) if config.before else None
    layers = [first, last] if len(intervals) > 1 else [last]
    classes = {"segment": opener.class_table(layers)} if config.task != "change" else {}
    difference = config.task != "segment"
    if difference:
        classes["change"] = CLASSES
    return LabelSource(None, tuple(layers), difference, classes, config.attribution)


@dataclass(frozen=True)
class _Opener:
    """Opens the files that the settings name."""

    config: RasterLabels | PolygonLabels
    search: SearchConfig
    aoi: AreaOfInterest
    grid: RegionGrid

    def open_change(self, interval: str) -> LabelLayer:
        """What one file, or one asset, says of change."""
        place = self.config.asset or self.config.path
        if isinstance(self.config, RasterLabels):
            values = (self.config.unchanged, self.config.changed)
            return RasterLayer(self._rasters(place, interval), values, self.config.ignored)
        known = self.config.column is None or self.config.classes
        names = self._names(self.config.classes or (("changed",) if known else ()))
        layer = open_polygons(self._files(place, interval), self.grid, names)
        if not known:
            raise ConfigError(
                f"labels {', '.join(layer.files)} have {', '.join(layer.classes)} in "
                f"{self.config.column}. Set labels.classes to those that mean changed."
            )
        return layer

    def open_date(self, place: str | None, interval: str) -> LabelLayer:
        """The classes of one date."""
        if isinstance(self.config, RasterLabels):
            values = tuple(self.config.classes.values())
            return RasterLayer(self._rasters(place, interval), values, self.config.ignored)
        plain = ("object",) if self.config.column is None else ()
        names = self._names(self.config.classes or plain)
        return open_polygons(self._files(place, interval), self.grid, names)

    def _names(self, classes: tuple[str, ...]) -> PolygonNames:
        assert isinstance(self.config, PolygonLabels)
        config = self.config
        return PolygonNames(
            config.column, classes, config.unchanged, config.layer, merged=config.says_change
        )

    def class_table(self, layers: Sequence[LabelLayer | None]) -> list[dict[str, Any]]:
        """Numbers and names of the classes of a date. Raises ConfigError if the dates' differ."""
        if isinstance(self.config, RasterLabels):
            names = list(self.config.classes)
        else:
            found = {layer.classes for layer in layers if isinstance(layer, PolygonLayer)}
            if len(found) > 1:
                raise ConfigError(
                    f"labels of the two dates have different classes in {self.config.column}: "
                    f"{'; '.join(', '.join(names) for names in sorted(found))}. Set labels.classes."
                )
            names = [self.config.background, *found.pop()]
            if names[0] in names[1:]:
                raise ConfigError(
                    f"labels have a class {names[0]!r}, which is the name of class 0 too. Set "
                    "labels.background to another."
                )
        return [{"value": value, "name": name} for value, name in enumerate(names)]

    def _rasters(self, place: str | None, interval: str) -> tuple[Scene, ...]:
        assert place is not None
        if self.config.asset is not None:
            return tuple(pin_scenes(self._items(place, interval)))
        return tuple(pin_scenes([_file_scene(place, self.aoi, self.search.patience_s)]))

    def _files(self, place: str | None, interval: str) -> tuple[str, ...]:
        assert place is not None
        if self.config.asset is None:
            return (_located(place),)
        scenes = self._items(place, interval)
        return tuple(scene.bands[0].signed or scene.bands[0].href for scene in scenes)

    def _items(self, asset: str, interval: str) -> tuple[Scene, ...]:
        return tuple(search_labels(self.search, self.aoi, asset, interval)[::-1])


def _located(path: str) -> str:
    try:
        path = local_path(path)
    except ValueError as error:
        raise ConfigError(f"labels {error}. Set labels.path.") from None
    return path if "://" in path else str(Path(path).expanduser().resolve())


def _file_scene(path: str, aoi: AreaOfInterest, patience_s: float) -> Scene:
    """One raster as a scene. Raises AssetReadError, and ConfigError if it misses the area."""
    whole = _located(path)
    href = unsigned(whole)
    signed = whole if whole != href else ""
    source = BandSource("label", href, 1, None, None, patience_s=patience_s, signed=signed)
    footprint = outline_of(inspect(source).geobox)
    if not footprint.intersects(aoi.geometry):
        raise ConfigError(f"labels {path} do not cover area {aoi.name}. Set labels.path to others.")
    epoch = np.datetime64(0, "s").item()
    return Scene(
        Path(href).stem, "", epoch, shapely.to_wkb(footprint), (source,), None, None, href, ""
    )
