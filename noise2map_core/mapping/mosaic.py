"""The mosaic: a region-sized Zarr that workers fill tile by tile.

The store is created whole before the work, each tile is one shard of each array, and a worker
writes only its own: no locks, any order, the same bytes.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from shapely import to_wkt
from zarr.core.buffer import Buffer, cpu
from zarr.storage import MemoryStore

from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.mapping.conventions import DECLARED
from noise2map_core.mapping.levels import Level, levels_of
from noise2map_core.mapping.shards import Shards, digest_over, stated
from noise2map_core.mapping.template import (
    ROOT,
    ArrayTemplate,
    documents_of,
    make_template,
    write_template,
)
from noise2map_core.mapping.tile_store import TileObjects, nothing, tile_objects, tile_store
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.consolidated import consolidated
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import OutputError, OutputMismatchError
from noise2map_core.runtime.lease import require_fence
from noise2map_core.runtime.storage import (
    files_in,
    is_local,
    is_web,
    read_bytes,
    read_if_there,
    zarr_store,
)

FORMAT_VERSION = 1
NO_DECISION = 255
PROBABILITY_SCALE = 10_000
"""Probabilities are stored as uint16 in units of 1e-4; classes are cut from the stored numbers."""
NO_PROBABILITY = 65_535
CHUNKS_AT_ONCE = 64
"""That Zarr hands from codec to codec: one by one, handing them on takes longer than packing."""


class Reason(IntEnum):
    """Why a pixel has no decision: the codes of the `reason` array."""

    DECIDED = 0
    OUTSIDE = 1
    NODATA_BEFORE = 2
    NODATA_AFTER = 3
    MASKED_BEFORE = 4
    MASKED_AFTER = 5
    PAIR_REJECTED = 6
    READ_FAILED = 7
    SUSPECTED_BEFORE = 8
    SUSPECTED_AFTER = 9
    SHADOW_BEFORE = 10
    SHADOW_AFTER = 11


@dataclass(frozen=True, slots=True)
class TileMap:
    """The finished pixels of one tile, each [tile_px, tile_px]."""

    classes: NDArray[np.uint8]
    probability: NDArray[np.uint16]
    valid: NDArray[np.bool_]
    reason: NDArray[np.uint8]
    disagreement: NDArray[np.uint16] | None = None
    """Highest less lowest probability over several forward passes, in units of 1e-4."""
    direction: NDArray[np.uint8] | None = None
    """The kind of change, whether it is decided or not, of a map that compares two maps."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The pixels under the names of the mosaic's arrays."""
        found: dict[str, NDArray[Any]] = {
            "class": self.classes,
            "probability": self.probability,
            "valid": self.valid,
            "reason": self.reason,
        }
        layers = {"disagreement": self.disagreement, "direction": self.direction}
        return found | {name: values for name, values in layers.items() if values is not None}

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]]) -> "TileMap":
        """The pixels that `arrays` gave names to."""
        return cls(arrays["class"], **{n: values for n, values in arrays.items() if n != "class"})


_ARRAYS: dict[str, tuple[str, Any]] = {
    "class": ("uint8", NO_DECISION),
    "probability": ("uint16", NO_PROBABILITY),
    "valid": ("bool", False),
    "reason": ("uint8", Reason.OUTSIDE),
}

_LAYERS: dict[str, tuple[str, Any]] = {
    "disagreement": ("uint16", NO_PROBABILITY),
    "direction": ("uint8", NO_DECISION),
}
"""Arrays that only those have who ask for them."""


class WrittenTile(NamedTuple):
    """What was written of a tile."""

    digest: str
    """SHA-256 over its objects, as `Mosaic.digest` reads it from them."""
    objects: str
    """What holds its pixels, as `Shards.stated` says it."""
    hash_s: float
    """Seconds that the digest took."""


class Mosaic:
    """An existing `mosaic.zarr` on a region grid."""

    def __init__(self, path: Path, grid: RegionGrid, fence: int | None = None) -> None:
        """`fence`: number of the run that writes to it, which ends if it loses its lease."""
        self.path = path
        self.grid = grid
        self._require = partial(require_fence, path.parent, fence) if fence else nothing
        mode: Literal["r", "r+"] = "r" if is_web(path) else "r+"
        self._group = zarr.open_group(zarr_store(path), mode=mode, zarr_format=3)

    @classmethod
    def create(
        cls,
        path: Path,
        grid: RegionGrid,
        classes: list[dict[str, Any]],
        layers: Sequence[str] = (),
        fence: int | None = None,
    ) -> "Mosaic":
        """Open the mosaic for `grid`, making its template first if there is none.

        `layers` are arrays besides those that every mosaic has: "disagreement", "direction".
        """
        if not (path / ROOT).exists():
            write_template(path, grid, *_contents(grid, identity(grid, classes, layers)))
        elif not _declares(path):  # an early one: its pixels are as they would be now
            return cls.renew(path, grid, classes, layers, fence)
        return cls(path, grid, fence)

    @classmethod
    def renew(
        cls,
        path: Path,
        grid: RegionGrid,
        classes: list[dict[str, Any]],
        layers: Sequence[str] = (),
        fence: int | None = None,
    ) -> "Mosaic":
        """As `create`, and whatever of its documents and coordinates is not as it was made is made
        anew; the pixels stay."""
        with _template(path, grid, identity(grid, classes, layers)) as made:
            finished = consolidated(documents_of(made))
            for file in files_in(made):
                target = path / file.relative_to(made).as_posix()
                known = (
                    {file.read_bytes(), finished} if file == made / ROOT else {file.read_bytes()}
                )
                if read_if_there(target) not in known:
                    if is_local(target):
                        target.parent.mkdir(parents=True, exist_ok=True)
                    with whole_file(target) as unfinished:
                        shutil.copyfile(file, unfinished)
        return cls(path, grid, fence)

    def finish(self) -> None:
        """Write the document by which readers find all there is without listing: the last thing
        that is done to a mosaic. It stays when tiles are made anew."""
        with _template(self.path, self.grid, read_identity(self.path)) as made:
            document = consolidated(documents_of(made))
        if read_bytes(self.path / ROOT) != document:
            with whole_file(self.path / ROOT) as unfinished:
                unfinished.write_bytes(document)
                self._require()

    @cached_property
    def targets(self) -> zarr.Group:
        """The arrays to be written to."""
        return zarr.open_group(tile_store(self.path, self._require), mode="r+", zarr_format=3)

    @cached_property
    def arrays(self) -> frozenset[str]:
        """Names of the pixel arrays; which there are depends on what was asked for."""
        about = cast(dict[str, Any], self._group.attrs["noise2map"])
        return frozenset({*_ARRAYS, *about.get("layers", ())})

    @cached_property
    def shards(self) -> Shards:
        """The objects that hold its tiles."""
        return Shards(self.path, self.grid, self.arrays)

    def digest(self, tile: Tile) -> str:
        """SHA-256 over the objects that hold one tile; an object that is not there counts as empty.

        Zarr writes none for pixels that all have the fill value.
        """
        return self.shards.digest(tile)

    def metadata_digest(self) -> str:
        """SHA-256 over everything but pixels: the documents and the coordinates, those of overviews
        too. They are known by the documents, so that nothing is listed."""
        keys = [ROOT]
        for name, node in self._group.members(max_depth=None):
            keys.append(f"{name}/{ROOT}")
            if isinstance(node, zarr.Array) and node.ndim < 2:  # coordinates are of one chunk
                keys.append(f"{name}/c/0" if node.ndim else f"{name}/c")
        found = sha256()
        for key in sorted(keys):
            if (body := read_if_there(self.path / key)) is not None:
                found.update(f"{key} {sha256(body).hexdigest()}\n".encode())
        return found.hexdigest()

    def write(
        self, tile: Tile, pixels: TileMap, before: Callable[[], None] = nothing
    ) -> "WrittenTile":
        """Write one tile; safe to repeat. `before` is called before what is there is replaced."""
        bodies, keys = self._encoded(tile, pixels), dict(self.shards.keys(tile))
        found = self._objects.replace({keys[name]: body for name, body in bodies.items()}, before)
        began = time.perf_counter()
        said = stated({name: found[keys[name]] for name in bodies if keys[name] in found})
        return WrittenTile(digest_over(bodies), said, time.perf_counter() - began)

    def _encoded(self, tile: Tile, pixels: TileMap) -> dict[str, bytes | None]:
        """The objects of one tile, by array; None where all pixels have the fill value."""
        rows_cols = self.grid.window(tile).slices_in(self.grid.tile_frame)
        keys, held = dict(self.shards.keys(tile)), self._documents
        store = MemoryStore(held)
        with zarr.config.set({"codec_pipeline.batch_size": CHUNKS_AT_ONCE}):
            for name, values in pixels.arrays().items():
                array = zarr.open_array(store, path=name, mode="r+", zarr_format=3)
                array[rows_cols] = values
        made = {name: held.pop(keys[name], None) for name in pixels.arrays()}
        return {name: None if body is None else body.to_bytes() for name, body in made.items()}

    @cached_property
    def _documents(self) -> dict[str, Buffer]:
        """The documents of the arrays of pixels, read once: tiles are encoded in memory."""
        keys = [f"{name}/{ROOT}" for name in self.arrays]
        return {key: cpu.Buffer.from_bytes(read_bytes(self.path / key)) for key in keys}

    @cached_property
    def _objects(self) -> TileObjects:
        return tile_objects(self.path, self._require)

    def copy(self, tile: Tile, source: "Mosaic") -> None:
        """Take a tile's objects from another mosaic of the same grid; both lie on a disk."""
        for _, key in self.shards.keys(tile):
            target = self.path / key
            self._require()
            if (source.path / key).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(target) as unfinished:
                    shutil.copyfile(source.path / key, unfinished)
            else:
                target.unlink(missing_ok=True)

    def read(self, name: str, window: Window) -> NDArray[Any]:
        """The pixels of one array in a window of the grid, which must lie in the tile frame.

        Raises OutputError if their bytes are damaged.
        """
        try:
            values = self._array(name)[window.slices_in(self.grid.tile_frame)]
        except (ValueError, RuntimeError) as error:  # of a checksum, of a decoder
            raise OutputError(
                f"{self.path / name} is damaged ({' '.join(str(error).split())}). `noise2map "
                f"verify --repair {self.path.parent}` makes it again; or delete {self.path} and "
                "run the same command again."
            ) from error
        return np.asarray(values)

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        return array


def read_identity(path: Path) -> dict[str, Any]:
    """What a mosaic says of itself, as `identity` made it. Raises OSError, ValueError, KeyError."""
    about: dict[str, Any] = _attributes(path)["noise2map"]
    return about


def _attributes(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_bytes(path / ROOT))["attributes"]
    return found


def _declares(path: Path) -> bool:
    """True if a mosaic says by which conventions it is to be read."""
    try:
        return DECLARED in _attributes(path)
    except (OSError, ValueError, KeyError, TypeError):
        return True  # what is damaged is not old: who reads it says so


def is_legible(path: Path) -> bool:
    """True if a mosaic says what it is, or if there is none."""
    try:
        read_identity(path)
    except FileNotFoundError:
        return not path.exists()
    except (ValueError, KeyError, TypeError):
        return False
    return True


def identity(
    grid: RegionGrid, classes: list[dict[str, Any]], layers: Sequence[str] = ()
) -> dict[str, Any]:
    """What an output must share with a run that continues it."""
    region = grid.region
    extra = {"layers": list(layers)} if layers else {}
    return extra | {
        "format_version": FORMAT_VERSION,
        "crs": grid.crs,
        "resolution": grid.resolution,
        "origin": [grid.x_origin, grid.y_origin],
        "tile_px": grid.tile_px,
        "region": [region.row, region.col, region.height, region.width],
        "outline": digest_of(to_wkt(grid.outline, rounding_precision=3)),
        "classes": classes,
    }


def require_same_output(
    path: Path, grid: RegionGrid, classes: list[dict[str, Any]], layers: Sequence[str] = ()
) -> None:
    """Raise OutputMismatchError if a mosaic is there for another grid, class table or format."""
    if not path.exists():
        return
    try:
        found = read_identity(path)
    except (OSError, ValueError, KeyError):
        found = None
    if found != identity(grid, classes, layers):
        raise OutputMismatchError(
            f"{path} is of another area, grid, class table, set of layers or format. Set another "
            "--output, or --overwrite to replace it."
        )


@contextmanager
def _template(path: Path, grid: RegionGrid, about: dict[str, Any]) -> Iterator[Path]:
    """What a mosaic would be created as, on a disk, for the time of the body."""
    with TemporaryDirectory(prefix="noise2map-") as folder:
        made = Path(folder) / path.name
        make_template(made, grid, *_contents(grid, about))
        yield made


def _contents(
    grid: RegionGrid, about: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, ArrayTemplate], list[Level]]:
    """Attributes, arrays and overviews of a mosaic."""
    arrays = _ARRAYS | {name: _LAYERS[name] for name in about.get("layers", ())}
    made = {
        name: ArrayTemplate(dtype, fill, _array_attributes(name, about["classes"]))
        for name, (dtype, fill) in arrays.items()
    }
    return {"noise2map": about}, made, levels_of(grid)[1:]


def _array_attributes(name: str, classes: list[dict[str, Any]]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if name in ("class", "direction"):
        attributes |= class_flags(classes)
    if name in ("probability", "disagreement"):
        attributes["scale_factor"] = 1 / PROBABILITY_SCALE
        attributes["_FillValue"] = NO_PROBABILITY
    if name == "reason":
        attributes["flag_values"] = [int(reason) for reason in Reason]
        attributes["flag_meanings"] = " ".join(reason.name.lower() for reason in Reason)
    return attributes


def class_flags(classes: list[dict[str, Any]]) -> dict[str, Any]:
    """A class table as CF has it, in attributes."""
    return {
        "flag_values": [entry["value"] for entry in classes],
        "flag_meanings": " ".join(_flag(entry) for entry in classes),
    }


def _flag(entry: dict[str, Any]) -> str:
    """Kinds of change are named in several words, which blanks would part."""
    name: str = entry["name"]
    return name.replace(" ", "_") if "after" in entry else name
