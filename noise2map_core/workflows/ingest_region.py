"""Settings of ingest-region."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath, Target
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.chips import ChipsConfig
from noise2map_core.settings.labels import LabelsConfig, NoLabels, SplitConfig
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.workflows.launch import Workflow
from noise2map_core.workflows.pixels import PixelsConfig


class IngestRegionConfig(PixelsConfig):
    """Make a chip store: scenes, grid, chips, labels, splits."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    aoi: LocalPath
    """Area of interest: a file of polygons (GeoJSON, GeoParquet, GeoPackage, FlatGeobuf, Shapefile)
    in any CRS that it states, or a box in degrees: "west,south,east,north"."""

    search: SearchConfig
    """Where the imagery is."""

    before: str | None = None
    """First date or date range, "2000-03-01/2000-03-31", or "best 2000-03-01/2000-05-31": of that
    range, the day with the least cloud over the area. None: chips of one date, `after`."""

    after: str
    """Second date or date range. "best …" prefers the season of `before` among days with about as
    little cloud."""

    place: str | None = Field(default=None, min_length=1)
    """Name of the area, by which trainings and tables tell places apart; None: the file's, or the
    box."""

    output: Target
    """The chip store, a Zarr directory or s3://bucket/chips.zarr. A rerun continues it; another
    area or other dates are appended to it."""

    chips: ChipsConfig = Field(default_factory=ChipsConfig)
    """Size and distance of the chips."""

    labels: LabelsConfig = Field(default_factory=NoLabels)
    """Labels of change, or of every date: kind raster, polygons or none."""

    split: SplitConfig = Field(default_factory=SplitConfig)
    """Places for training, validation and testing."""

    resources: ClusterConfig = Field(default_factory=lambda: ClusterConfig(reader_cpus=1.0))
    """Workers and what each takes."""


WORKFLOW = Workflow(IngestRegionConfig)
