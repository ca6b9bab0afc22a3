"""Settings of view."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noise2map_core.runtime.storage import Location
from noise2map_core.settings.unused import require_unset
from noise2map_core.workflows.launch import Workflow


class ViewConfig(BaseModel):
    """Which map is shown, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output: Location
    """Directory that infer-region wrote, or that of an area of run-nightly."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8090
    """Port of this machine that the map is shown on; 0: any that is free."""

    open: bool = True
    """Open a browser, too."""

    basemap: str = ""
    """URL of map tiles below the map, such as https://HOST/{z}/{x}/{y}.png; none: the page asks
    nothing of the internet."""

    write: bool = False
    """Put the page and what it loads into the directory, for any web server, and show nothing."""

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.write:
            require_unset(self, ("port", "open"), "where the page is written")
        return self


WORKFLOW = Workflow(ViewConfig, operands=("output",))
