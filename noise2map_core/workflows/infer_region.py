"""Settings of infer-region."""

from __future__ import annotations

from pydantic import ConfigDict, model_validator

from noise2map_core.runtime.storage import LocalPath, Location
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.network import Task
from noise2map_core.settings.numbers import NonNegativeFloat
from noise2map_core.settings.unused import require_unset
from noise2map_core.workflows.launch import Workflow
from noise2map_core.workflows.pixels import RegionConfig


class InferRegionConfig(RegionConfig):
    """Map one area of interest, change between two dates or the classes of one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    aoi: LocalPath
    """Area of interest: GeoJSON in EPSG:4326."""

    search: SearchConfig
    """Where the imagery is."""

    task: Task | None = None
    """change or segment. None: what the checkpoint does; change, if it does both."""

    before: str | None = None
    """First date or date range, "2000-03-01/2000-03-31". Segmentation has none."""

    after: str
    """Second date or date range; of segmentation, the only one."""

    checkpoint: Location
    """Directory that finetune-maps wrote, or the name of a checkpoint that ships: buildings."""

    output: Location
    """Directory of the bundle, or s3://bucket/prefix; a rerun continues it."""

    overwrite: bool = False
    """Replace an output of another grid, class table or format."""

    plan: bool = False
    """Only say what a run would do and take: tiles, bytes, time, memory. Makes three tiles to
    measure, and writes nothing. `noise2map plan` is the same."""

    price_per_hour: NonNegativeFloat | None = None
    """What an hour of the machine or cluster costs; with `plan`, the costs of the run."""

    allow_incomplete: bool = False
    """Make products even if tiles failed: holes get no decision and the reason "read failed". The
    run still ends with exit code 3, and a rerun tries these tiles again."""

    @model_validator(mode="after")
    def _all_used(self) -> InferRegionConfig:
        if not self.plan:
            require_unset(self, ("price_per_hour",), "without plan")
        return self


WORKFLOW = Workflow(InferRegionConfig)
