"""Settings of review."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.numbers import PositiveInt
from noise2map_core.settings.unused import require_unset
from noise2map_core.workflows.launch import Workflow


class ReviewConfig(BaseModel):
    """Whose alerts are looked at, and what people said of them. Without apply, labels and chips:
    make the page and the GeoPackage for reviewers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    area: LocalPath
    """Folder of an area that run-nightly watches with alerts; the first argument, too."""

    output: LocalPath | None = None
    """Folder of review.html and review.gpkg. None: `review` in the area's folder."""

    most: PositiveInt = 200
    """Alerts on the page, with about 60 kB of pictures each; the GeoPackage has all."""

    apply: LocalPath | None = None
    """Take in the verdicts of this file: review.gpkg filled in, the file that the page saves, or
    other GeoPackage, GeoJSON or GeoParquet with object_id, verdict (confirmed, rejected, unsure,
    blank), reject_reason and reviewer. All of it or nothing."""

    reviewer: str | None = None
    """Who judged, where the file does not say."""

    labels: LocalPath | None = None
    """Folder for labels of all verdicts so far: of every slice polygons and the settings by which
    ingest-region makes chips of them. Confirmed is changed, rejected unchanged, all else is not
    labelled."""

    chips: LocalPath | None = None
    """Make chips of these labels at once, in this store, which finetune-maps takes. Labels go to
    `labels` or, without, to `review/labels` in the area's folder."""

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.apply is None:
            require_unset(self, ("reviewer",), "without apply")
        if self.apply or self.labels or self.chips:
            require_unset(self, ("output", "most"), "where no page is made")
        return self

    @property
    def folder(self) -> LocalPath:
        """Where the page and the GeoPackage go."""
        return self.output or self.area / "review"


WORKFLOW = Workflow(ReviewConfig, operands=("area",))
