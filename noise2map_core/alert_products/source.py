"""The state of an area's alerts, as products read it."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import zarr
from numpy.typing import NDArray

from noise2map_core.alerts.tables import ALERTS
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import ROOT
from noise2map_core.runtime.errors import OutputError, OutputMismatchError
from noise2map_core.runtime.storage import zarr_store

STATE = "alerts.zarr"
ALGORITHM = 1
"""The version of the state machine whose arrays these products understand."""
FACTS = ("epoch", "k", "n", "m", "t", "minimum_m2", "algorithm", "as_of", "looks")
"""What the state says of itself."""


@dataclass(frozen=True)
class AlertState:
    """An area's `alerts.zarr`, to be read by windows."""

    folder: Path
    """The area's folder `alerts`."""
    grid: RegionGrid
    facts: dict[str, Any]
    """`FACTS` by name."""

    @property
    def as_of(self) -> date:
        """The last day that the state has taken up."""
        return date.fromisoformat(self.facts["as_of"])

    @property
    def table(self) -> Path:
        """Where its objects lie."""
        return self.folder / ALERTS

    def read(self, name: str, window: Window) -> NDArray[Any]:
        """The pixels of one array in a window of the grid. Raises OutputError if damaged."""
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        try:
            return np.asarray(array[window.slices_in(self.grid.tile_frame)])
        except (ValueError, RuntimeError) as error:  # of a checksum, of a decoder
            raise _damaged(self.folder, error) from error

    @cached_property
    def _group(self) -> zarr.Group:
        store = zarr_store(self.folder / STATE, read_only=True)
        return zarr.open_group(store, mode="r", zarr_format=3)


def open_state(folder: Path) -> AlertState:
    """The state in the folder `alerts` of an area.

    Raises OutputMismatchError if there is none or one of another version, OutputError if damaged.
    """
    if not (folder / STATE / ROOT).is_file():
        raise OutputMismatchError(
            f"{folder.parent} has no alerts ({folder / STATE} is missing). Give the folder of an "
            "area that run-nightly maps with the setting alerts."
        )
    try:
        group = zarr.open_group(folder / STATE, mode="r", zarr_format=3)
        facts = dict(group.attrs)
        _require_version(folder, facts)
        return AlertState(folder, _grid(facts), {name: facts[name] for name in FACTS})
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, error) from error


def _require_version(folder: Path, facts: dict[str, Any]) -> None:
    if facts["algorithm"] != ALGORITHM:
        raise OutputMismatchError(
            f"{folder / STATE} is of version {str(facts['algorithm'])[:20]!r} of the alerts, and "
            f"this program writes {ALGORITHM}. Run run-nightly, which makes it anew, or use the "
            "noise2map that wrote it."
        )


def _grid(facts: dict[str, Any]) -> RegionGrid:
    about = facts["noise2map"]
    region, (x_origin, y_origin) = Window(*about["region"]), about["origin"]
    grid = RegionGrid(
        about["crs"], about["resolution"], x_origin, y_origin, about["tile_px"], region,
        shapely.Polygon(),
    )  # fmt: skip
    return RegionGrid(
        grid.crs, grid.resolution, x_origin, y_origin, grid.tile_px, region,
        grid.bounds_polygon(region),
    )  # fmt: skip


def _damaged(folder: Path, error: Exception) -> OutputError:
    return OutputError(
        f"{folder / STATE} is damaged ({' '.join(str(error).split())}). Delete it and run "
        "run-nightly: alerts are made anew from the slices that are kept."
    )
