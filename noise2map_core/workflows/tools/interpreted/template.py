"""Settings of template."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.network import Task
from noise2map_core.settings.unused import require_unset
from noise2map_core.workflows.launch import Workflow


class TemplateConfig(BaseModel):
    """What is to be drawn, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["labels", "splits"]
    """labels: polygons of what has changed and what has not, or of classes. splits: polygons of the
    places for training, validation and testing. The first argument, too."""

    aoi: LocalPath
    """Area of interest: a file of polygons, or a box in degrees: "west,south,east,north". It is a
    layer of a template of labels, and its UTM zone is the CRS."""

    output: LocalPath
    """GeoPackage to draw into. One that has something drawn in it is never overwritten."""

    task: Task = "change"
    """change: polygons of what has changed between two dates. segment: of the classes of one."""

    classes: tuple[str, ...] = Field(default=("changed",), min_length=1)
    """What a polygon may be called: of change, what means changed; else the classes of the date."""

    unchanged: tuple[str, ...] = ("unchanged",)
    """Of change, what means unchanged: what lies outside of all polygons is not labelled then.
    Without a name, all that is outside is taken for unchanged."""

    @model_validator(mode="after")
    def _all_used(self) -> TemplateConfig:
        if self.kind == "splits":
            require_unset(self, ("task", "classes", "unchanged"), "by a template of splits")
        if self.task == "segment":
            require_unset(self, ("unchanged",), "by labels of classes, whose outside is background")
            if self.classes == ("changed",):
                raise ValueError("classes of a date are needed: set classes")
        names = [name.strip() for name in self.names]
        if "" in names or len({name.casefold() for name in names}) < len(names):
            raise ValueError("a name is empty, or stands there twice")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All that a polygon of labels may be called."""
        return self.classes if self.task == "segment" else (*self.classes, *self.unchanged)


WORKFLOW = Workflow(TemplateConfig, operands=("kind",))
