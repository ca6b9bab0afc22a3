"""Settings of export-alerts."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.workflows.launch import Workflow


class ExportAlertsConfig(BaseModel):
    """Which alerts, and as what."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    area: LocalPath
    """Folder of an area that run-nightly watches with alerts; the first argument, too."""

    to: Literal["gfw", "radd", "dist", "status"]
    """gfw: 2 (provisional) or 3 (confirmed) × 10,000 + days since 2014-12-31, to 2042-05-17. radd:
    year and day of the year, YYDOY, of 2000 to 2065. dist: days since 2020-12-31. Each has the
    first day of alerts that are provisional or confirmed, and 0 elsewhere. status: 0 no alert, 1
    provisional, 2 confirmed, 3 ended, 255 not seen."""

    output: LocalPath
    """GeoTIFF to be made (cloud-optimised); one that exists is not replaced."""

    as_of: date | None = None
    """Show the alerts as of this day: provisional ones that began more than T days before are left
    out. The state is not changed by it. None: as it is after its last look."""


WORKFLOW = Workflow(ExportAlertsConfig, operands=("area",))
