"""The state of an area's alerts, as products read it."""

from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import shapely
from numpy.typing import NDArray

from noise2map_core.alerts.fold import ALGORITHM_VERSION
from noise2map_core.alerts.store import NAME, About, StateStore, damaged, read_about
from noise2map_core.alerts.tables import ALERTS
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.runtime.digest import digest_of, file_sha256
from noise2map_core.runtime.errors import OutputMismatchError

FOLDER = "alerts"
"""Of an area's folder."""


@dataclass(frozen=True)
class AlertState:
    """An area's `alerts.zarr`, to be read by windows."""

    folder: Path
    """The area's folder `alerts`."""
    grid: RegionGrid
    """Its outline is the region's box."""
    about: About
    as_of: date
    """The last day that the state has taken up."""

    def read(self, name: str, window: Window) -> NDArray[Any]:
        """The pixels of one array in a window of the grid. Raises OutputError if damaged."""
        return self._store.read_array(name, window)

    @property
    def facts(self) -> dict[str, Any]:
        """What the state says of itself, but for its grid."""
        facts = self.about.rules.attributes()
        del facts["noise2map"]
        looks = [[str(look.day), look.key] for look in self.about.looks]
        return facts | {"as_of": str(self.as_of), "looks": looks}

    @cached_property
    def key(self) -> str:
        """Changes with whatever products show: parameters, looks, objects."""
        return digest_of([self.facts, file_sha256(self.table)])[:16]

    @property
    def table(self) -> Path:
        """Where its objects lie."""
        return self.folder / ALERTS

    @cached_property
    def _store(self) -> StateStore:
        return StateStore(self.folder / NAME, self.grid)


def has_alerts(area: Path) -> bool:
    """True if the state in an area's folder has taken up a look. Raises OutputError if damaged."""
    about = read_about(area / FOLDER / NAME)
    return about is not None and about.as_of is not None


def open_state(area: Path) -> AlertState:
    """The state of the alerts in an area's folder.

    Raises OutputMismatchError if there is none or one of another version, OutputError if damaged.
    """
    folder = area / FOLDER
    about = read_about(folder / NAME)
    if about is None or about.as_of is None:
        raise OutputMismatchError(
            f"{area} has no alerts (no look in {folder / NAME}). Give the folder of an area that "
            "run-nightly maps with the setting alerts."
        )
    _require_version(folder, about.rules.algorithm)
    try:
        return AlertState(folder, _grid(about.rules.grid), about, about.as_of)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder / NAME, error) from error


def _require_version(folder: Path, version: object) -> None:
    if version != ALGORITHM_VERSION:
        raise OutputMismatchError(
            f"{folder / NAME} is of version {str(version)[:20]!r} of the alerts, and this program "
            f"reads {ALGORITHM_VERSION}. Run run-nightly, which makes it anew, or use the "
            "noise2map that wrote it."
        )


def _grid(about: dict[str, Any]) -> RegionGrid:
    """The grid that a mosaic says it has."""
    region, (x_origin, y_origin) = Window(*about["region"]), about["origin"]
    grid = RegionGrid(
        about["crs"], about["resolution"], x_origin, y_origin, about["tile_px"], region,
        shapely.Polygon(),
    )  # fmt: skip
    return replace(grid, outline=grid.bounds_polygon(region))
