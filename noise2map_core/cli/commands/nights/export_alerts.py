"""Write alerts for other programs: `noise2map export-alerts AREA --to gfw --output FILE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noise2map_core.alert_products.export import export_alerts
from noise2map_core.workflows.tools.nights.export_alerts import ExportAlertsConfig


@dataclass(frozen=True)
class ExportedAlerts:
    """What was written."""

    files: list[Path]

    def summary(self) -> list[str]:
        """Lines for people."""
        return [f"alerts   {path}" for path in self.files]


def run(config: ExportAlertsConfig) -> ExportedAlerts:
    """Write the raster; it appears whole or not at all."""
    return ExportedAlerts(export_alerts(config.area, config.to, config.output, config.as_of))
