"""Settings of infer-region."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ConfigDict, model_validator

from noise2map_core.runtime.storage import LocalPath, Target
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.network import Checkpoint, Task
from noise2map_core.workflows.launch import Workflow
from noise2map_core.workflows.pixels import RegionConfig

EARLIER = {"plan": False, "price_per_hour": None}
"""Settings that this command had, and their defaults: manifests of that time hold them."""

PLAN_IT = "`noise2map plan`, with the same arguments, says what a run would take."


class InferRegionConfig(RegionConfig):
    """Map one area of interest, change between two dates or the classes of one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    aoi: LocalPath
    """Area of interest: a file of polygons (GeoJSON, GeoParquet, GeoPackage, FlatGeobuf, Shapefile)
    in any CRS that it states, or a box in degrees: "west,south,east,north"."""

    search: SearchConfig
    """Where the imagery is."""

    task: Task | None = None
    """change or segment. None: what the checkpoint does; change, if it does both. Asked for change,
    one that only segments has its maps of the two dates compared (inference.compare)."""

    before: str | None = None
    """First date or date range, "2000-03-01/2000-03-31", or "best 2000-03-01/2000-05-31": of that
    range, the day with the least cloud over the area. Several ranges have commas between: of each
    year its summer, with composite.before median. Segmentation has none."""

    after: str
    """Second date or date range; of segmentation, the only one. "best …" prefers the season of
    `before` among days with about as little cloud."""

    checkpoint: Checkpoint | None = None
    """Directory that finetune-maps wrote, the name of a checkpoint that ships (buildings, land), or
    a detector, which needs no labels and finds any change: mad, irmad, cva. None: the detector that
    suits the number of bands."""

    output: Target
    """Directory of the bundle, or s3://bucket/prefix; a rerun continues it."""

    overwrite: bool = False
    """Replace an output of another grid, class table or format."""

    allow_incomplete: bool = False
    """Make products even if tiles failed: holes get no decision and the reason "read failed". The
    run still ends with exit code 3, and a rerun tries these tiles again."""

    moved: ClassVar[dict[str, str]] = {"plan": PLAN_IT, "price_per_hour": PLAN_IT}
    """What to do in place of settings that are no more."""

    @model_validator(mode="before")
    @classmethod
    def _as_earlier_manifests_say(cls, settings: Any) -> Any:
        """Without settings that are no more, where they say what was their default."""
        if not isinstance(settings, dict):
            return settings
        return {name: value for name, value in settings.items()
                if name not in EARLIER or value is not EARLIER[name]}  # fmt: skip


WORKFLOW = Workflow(InferRegionConfig)
