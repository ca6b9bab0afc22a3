"""Settings of scenes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.workflows.launch import Workflow


class ScenesConfig(BaseModel):
    """An area, dates and a catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    aoi: LocalPath
    """Area of interest: a file of polygons (GeoJSON, GeoParquet, GeoPackage, FlatGeobuf, Shapefile)
    in any CRS that it states, or a box in degrees: "west,south,east,north"."""

    search: SearchConfig
    """Where the imagery is. Of its bands, the first three, or the first, are shown; without any,
    red, green and blue where there are such."""

    dates: str
    """Date or date range: "2023-06-01/2023-08-31"."""

    sort: Literal["date", "cloud"] = "date"
    """Order of the dates: in time, or the least cloud first."""

    output: LocalPath | None = None
    """Folder for scenes.png, a sheet of small pictures, and scenes.json. None: only lines."""


WORKFLOW = Workflow(ScenesConfig)
