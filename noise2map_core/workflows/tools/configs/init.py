"""Settings of init."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.network import Checkpoint
from noise2map_core.settings.numbers import PositiveFloat
from noise2map_core.settings.places import PathText
from noise2map_core.workflows.launch import Workflow
from noise2map_core.workflows.tools.configs.catalogues import EARTH_SEARCH, PLANETARY

Imagery = Literal["sentinel-2", "landsat", "naip"]

OPEN_IMAGERY: dict[Imagery, tuple[str, str]] = {
    "sentinel-2": (EARTH_SEARCH, "sentinel-2-l2a"),
    "landsat": (PLANETARY, "landsat-c2-l2"),
    "naip": (PLANETARY, "naip"),
}
"""Catalogue and collection of open imagery."""


class InitConfig(BaseModel):
    """What the config is to be of. In a terminal, what is needed and not given is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    what: Literal["map", "train", "nightly"] = "map"
    """map: one area at two dates (map.yaml). train: chips of an area, or of folders of images, and
    a training on them (chips.yaml, train.yaml). nightly: an area that is watched (nightly.yaml).
    The first argument, too."""

    folder: LocalPath = Path(".")
    """Where the YAML goes; what is there is never overwritten."""

    aoi: LocalPath | None = None
    """Area of interest: a file of polygons, or a box in degrees: "west,south,east,north"."""

    imagery: Imagery = "sentinel-2"
    """Open imagery, worldwide (sentinel-2 at 10 m since 2016, landsat at 30 m since 1982) or of the
    USA (naip at 0.6 to 1 m); catalog, collection and bands go before it."""

    catalog: PathText | None = None
    """STAC API, or catalog.json, in place of the imagery's."""

    collection: str | None = None
    """Collection, in place of the imagery's."""

    bands: tuple[str, ...] | None = None
    """Bands, in place of those that the collection is known by, or else the imagery's. Of a
    checkpoint that is named, its own are taken."""

    before: str | None = None
    """First date or range of dates, or "best 2023-06-01/2023-08-31"; of nightly the baseline, which
    every new image is compared with."""

    after: str | None = None
    """Second date or range; of nightly the first day that may be mapped."""

    checkpoint: Checkpoint | None = None
    """What makes the map: a checkpoint directory, the name of one that ships, or a detector. None:
    mad, a detector, which needs no labels."""

    labels: LocalPath | None = None
    """Of train: polygons or a raster of what changed, or a folder with {train,val,test}/{A,B,label}
    of images."""

    resolution: PositiveFloat | None = None
    """Metres a pixel of the images in such a folder."""


WORKFLOW = Workflow(InitConfig, operands=("what",))
