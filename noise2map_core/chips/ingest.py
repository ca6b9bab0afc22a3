"""An ingest of a region: what it sets out to bring into a store, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noise2map_core.catalog.interval import Interval
from noise2map_core.catalog.pairing import search_pair
from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.search import search_scenes
from noise2map_core.chips.append import adopt_tiles
from noise2map_core.chips.header import plan_header
from noise2map_core.chips.plan import ChipTable, plan_chips
from noise2map_core.chips.sources import Ingest
from noise2map_core.chips.store import open_store
from noise2map_core.chips.summary import split_line
from noise2map_core.chips.writer import StoreHeader
from noise2map_core.geo.aoi import AreaOfInterest, read_aoi
from noise2map_core.geo.grid import ChipLattice, RegionGrid
from noise2map_core.imagery.best_day import choose_dates, with_chosen
from noise2map_core.imagery.detection import plan_detection
from noise2map_core.imagery.pair_plan import PairPlan, plan_pair, require_used
from noise2map_core.imagery.region import plan_grid
from noise2map_core.imagery.usable import usable_scenes
from noise2map_core.labels.sources import open_labels
from noise2map_core.labels.splits import SplitWindow, plan_splits
from noise2map_core.labels.survey import LabelSurvey
from noise2map_core.rasters.identity import pin_scenes
from noise2map_core.report.notebook import Shown
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.ingest_region import IngestRegionConfig

Dates = tuple[tuple[Scene, ...], ...]
"""Scenes of each date, the preferred one first."""


@dataclass(frozen=True)
class IngestPlan:
    """Everything that is decided before the first pixel is written."""

    ingest: Ingest
    windows: list[SplitWindow]
    header: StoreHeader
    warnings: tuple[str, ...]
    chosen: tuple[str, ...] = ()
    """Lines on dates that were left to the imagery."""

    def fits(self, config: IngestRegionConfig) -> bool:
        """True if the tiles are still those of the store: a run may have made one meanwhile."""
        grid = self.ingest.grid
        if config.grid.tile_px != "auto":
            return True
        return adopt_tiles(config.output, grid).tile_px == grid.tile_px

    def table(self) -> tuple[ChipTable, list[str]]:
        """The chips, and what does not look right of their labels, which are read.

        Raises ConfigError for settings that do not fit the labels.
        """
        ingest, lattice = self.ingest, ChipLattice(self.header.chip_px, self.header.stride_px)
        labels, survey = ingest.labels, LabelSurvey()
        table = plan_chips(ingest.grid, lattice, self.windows, ingest.dates, labels, survey)
        return table, survey.warnings(labels) if labels is not None else []


def plan_ingest(config: IngestRegionConfig) -> IngestPlan:
    """Search the scenes, lay the grid, open the labels; nothing is written.

    Raises ConfigError, CatalogError or AssetReadError for what cannot be ingested, and
    OutputMismatchError for an output that is no store.
    """
    if not config.search.bands:
        raise ConfigError("no bands were asked for. Set search.bands, in the order to be stored.")
    require_used(config.pair_quality, config.radiometry, 1 if config.before is None else 2)
    aoi = read_aoi(config.aoi)
    chosen = choose_dates(
        config.search, aoi, config.before, config.after, config.search.bands, config.mask
    )
    config = with_chosen(config, chosen)
    found = _find(config, aoi)
    grid = _lay_grid(config, aoi, found)
    pair = _plan_pixels(config, grid, found)
    dates = (pair.before, pair.after) if len(found) > 1 else (pair.after,)
    labels = open_labels(config.labels, config.search, aoi, list(map(_interval, dates)), grid)
    windows = plan_splits(config.split, grid)
    header = plan_header(
        grid, config.chips, config.split.buffer_px, windows, labels, dates,
        config.place or aoi.name, pair.recipe, named=config.place is not None,
    )  # fmt: skip
    quality = pair.quality.as_dict() if pair.quality else None
    ingest = Ingest(
        0, 0, grid, config.chips, dates, labels, header.identities, pair.recipe, quality,
        header.labels_key,
    )  # fmt: skip
    lines = tuple(one.line for one in chosen)
    return IngestPlan(ingest, windows, header, pair.warnings, lines)


def _find(config: IngestRegionConfig, aoi: AreaOfInterest) -> Dates:
    search, masks = config.search, config.mask.use != "off"
    found: Sequence[Sequence[Scene]]
    if config.before is None:
        found = [search_scenes(search, aoi, config.after, search.bands)[::-1]]
    else:
        found = search_pair(search, aoi, config.before, config.after, search.bands)
    planned = plan_detection(usable_scenes(found, aoi), config.mask)
    return tuple(tuple(pin_scenes(scenes, masks=masks)) for scenes in planned)


def _lay_grid(config: IngestRegionConfig, aoi: AreaOfInterest, found: Dates) -> RegionGrid:
    grid = plan_grid(aoi, config.grid, [scene for scenes in found for scene in scenes])
    adopted = adopt_tiles(config.output, grid)  # refuses what is no store, whatever the tiles
    return adopted if config.grid.tile_px == "auto" else grid


def _plan_pixels(config: IngestRegionConfig, grid: RegionGrid, found: Dates) -> PairPlan:
    """How the pixels are read; of a single date, as the later one."""
    return plan_pair(
        found[0] if len(found) > 1 else (), found[-1], grid, config.composite,
        config.mask.of_scenes,
        config.pair_quality, config.radiometry, config.chips.resampling,
    )  # fmt: skip


def _interval(scenes: Sequence[Scene]) -> str:
    """From the first to the last scene."""
    times = sorted(scene.datetime for scene in scenes)
    return str(Interval(times[0], times[-1]))


@dataclass(frozen=True)
class IngestRegionResult(Shown):
    """What a run did, and what the store holds."""

    output: Path
    shards: int
    """Shards of the store."""
    written: int
    """Shards that this run wrote."""
    counts: dict[str, dict[str, Any]]
    """Per split: chips, pixels, valid pixels per date, labelled pixels per task and class."""
    bytes: int
    """Size of the store."""
    seconds: dict[str, float]
    """Seconds per stage."""
    warnings: tuple[str, ...] = ()
    """What does not look right."""
    dates: tuple[str, ...] = ()
    """Lines on dates that were chosen."""

    @classmethod
    def of(
        cls,
        output: Path,
        written: int,
        seconds: dict[str, float],
        warnings: Sequence[str],
        dates: tuple[str, ...] = (),
    ) -> "IngestRegionResult":
        """What a run did to a store that is finished."""
        store = open_store(output)
        size = sum(length for length, _ in store.objects.values())
        counts = store.attributes["counts"]
        return cls(output, store.num_shards, written, counts, size, seconds, tuple(warnings), dates)

    def files(self) -> Mapping[str, Path]:
        """What was written."""
        return {"chips": self.output}

    def summary(self) -> list[str]:
        """Lines for people."""
        lines = [*self.dates, *(split_line(*one) for one in self.counts.items())]
        lines += self.warnings
        if not self.written:
            return [*lines, f"nothing new: {self.output} is complete and current"]
        kept = self.shards - self.written
        return [
            *lines,
            f"{self.written} of {self.shards} shards written, {kept} kept from earlier runs, "
            f"in {sum(self.seconds.values()):.1f} s",
            f"chips     {self.output} ({self.bytes / 1e6:,.1f} MB)",
        ]
