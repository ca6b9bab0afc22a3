"""`alerts.zarr`: the state of every pixel of an area, on the grid and in the tiles of its maps.

Its attributes say by which rules it was made and of which looks, so that another state is never
continued by mistake.
"""

import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from noise2map_core.alerts.fold import ALGORITHM_VERSION, Rules
from noise2map_core.alerts.state import ARRAYS, EPOCH, PixelState, Status
from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import identity
from noise2map_core.mapping.template import ROOT, ArrayTemplate, write_template
from noise2map_core.mapping.tile_store import tile_store
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import zarr_store
from noise2map_core.settings.alerts import AlertsConfig

NAME = "alerts.zarr"


@dataclass(frozen=True, slots=True)
class LookKey:
    """One look of a state."""

    day: date
    key: str
    """Digest of its pixels."""


@dataclass(frozen=True, slots=True)
class StateRules:
    """All that says what a state and its objects are, besides the looks."""

    k: int
    n: int
    m: int
    t: int
    minimum_m2: float
    algorithm: int
    grid: dict[str, Any]
    """As a mosaic has it."""

    @classmethod
    def of(cls, config: AlertsConfig, grid: RegionGrid) -> "StateRules":
        """Those of an area's settings on its grid."""
        return cls(
            config.k, config.n, config.m, config.t_days, config.minimum_m2, ALGORITHM_VERSION,
            identity(grid, []),
        )  # fmt: skip

    @property
    def pixels(self) -> Rules:
        """What `fold` takes."""
        return Rules(self.k, self.n, self.m, self.t)

    def attributes(self) -> dict[str, Any]:
        """As the state's attributes have it."""
        return {
            "epoch": str(EPOCH), "k": self.k, "n": self.n, "m": self.m, "t": self.t,
            "minimum_m2": self.minimum_m2, "algorithm": self.algorithm, "noise2map": self.grid,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """What a state says of itself."""

    rules: StateRules
    looks: tuple[LookKey, ...]
    """In the order of their days."""

    @property
    def as_of(self) -> date | None:
        """Day of the latest look."""
        return self.looks[-1].day if self.looks else None


class StateStore:
    """An existing `alerts.zarr` on a region grid."""

    def __init__(self, path: Path, grid: RegionGrid) -> None:
        self.path, self.grid = path, grid
        self._arrays: dict[str, zarr.Array[Any]] = {}

    @classmethod
    def create(cls, path: Path, grid: RegionGrid, rules: StateRules) -> "StateStore":
        """Write the template of a state without looks."""
        status = {"flag_values": [int(one) for one in Status],
                  "flag_meanings": " ".join(one.name.lower() for one in Status)}  # fmt: skip
        days = {"units": f"days since {EPOCH}"}
        dated = {"prior", "first", "last", "confirmed", "seen"}
        about = {name: status if name == "status" else days if name in dated else {}
                 for name in ARRAYS}  # fmt: skip
        arrays = {name: ArrayTemplate(kind, 0, about[name]) for name, kind in ARRAYS.items()}
        write_template(path, grid, rules.attributes() | {"as_of": None, "looks": []}, arrays)
        return cls(path, grid)

    def read(self, tile: Tile) -> PixelState:
        """The state of a tile. Raises OutputError if its bytes are damaged."""
        window = self.grid.window(tile)
        return PixelState(**{name: self.read_array(name, window) for name in ARRAYS})

    def read_array(self, name: str, window: Window) -> NDArray[Any]:
        """One array in a window of the grid, which must lie in the tile frame."""
        try:
            return np.asarray(self._array(name)[window.slices_in(self.grid.tile_frame)])
        except (ValueError, RuntimeError) as error:  # of a checksum, of a decoder
            raise damaged(self.path, error) from error

    def write(self, tile: Tile, before: PixelState, after: PixelState) -> None:
        """Write those arrays of a tile that are not as `before`; safe to repeat."""
        rows_cols = self.grid.window(tile).slices_in(self.grid.tile_frame)
        old = before.arrays()
        for name, values in after.arrays().items():
            if values is not old[name] and not np.array_equal(values, old[name]):
                array = self._targets[name]
                assert isinstance(array, zarr.Array)
                array[rows_cols] = values

    def note(self, looks: tuple[LookKey, ...]) -> None:
        """Say of which looks the state is."""
        listed = [{"day": str(look.day), "key": look.key} for look in looks]
        self._targets.attrs.update({"as_of": listed[-1]["day"], "looks": listed})

    def _array(self, name: str) -> "zarr.Array[Any]":
        if name not in self._arrays:
            array = zarr.open_array(zarr_store(self.path / name), mode="r", zarr_format=3)
            self._arrays[name] = array
        return self._arrays[name]

    @cached_property
    def _targets(self) -> zarr.Group:
        """The arrays to be written to."""
        return zarr.open_group(tile_store(self.path, _nothing), mode="r+", zarr_format=3)


def _nothing() -> None:
    """What is asked of who writes to a copy that nobody else knows."""


def read_about(path: Path) -> About | None:
    """What a state says of itself; None if there is none. Raises OutputError if it is damaged."""
    try:
        found = json.loads((path / ROOT).read_text(encoding="utf-8"))["attributes"]
        stated = {name: found[name] for name in ("k", "n", "m", "t", "minimum_m2", "algorithm")}
        rules = StateRules(**stated, grid=found["noise2map"])
        looks = tuple(LookKey(date.fromisoformat(one["day"]), one["key"]) for one in found["looks"])
    except FileNotFoundError as error:
        if not path.exists():
            return None
        raise damaged(path, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from error
    return About(rules, looks)


def damaged(path: Path, error: Exception) -> OutputError:
    """The error to raise for a state that cannot be read."""
    return OutputError(
        f"{path} is damaged ({' '.join(str(error).split())}). Delete it and run the same command "
        "again: it is made again from a snapshot, or from the slices that are kept."
    )
