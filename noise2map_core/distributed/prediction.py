"""Tiles of a region through Ray Data: read, predicted and written, each in a stage of its own.

A predictor waits for nothing but pixels: who writes works beside it, and if a writer is lost, the
tile is written by another one, from the pixels that are in Ray's object store.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from numpy.typing import NDArray
from obstore.exceptions import BaseError
from ray.data import ActorPoolStrategy, DataContext, Dataset

from noise2map_core.detectors.spec import DetectorSpec
from noise2map_core.distributed.cluster.memory import shares_of_region
from noise2map_core.distributed.cluster.needs import predictor_gpus, predictor_pool
from noise2map_core.distributed.cluster.notices import new_board, noticed, shown
from noise2map_core.distributed.metrics import Idleness, count_tile
from noise2map_core.distributed.out_of_memory import within_memory
from noise2map_core.distributed.work import WorkSource, unread_because
from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.inference.model import predictor_of
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.region_run import hole
from noise2map_core.inference.tile import predict_tile
from noise2map_core.inference.tile_image import TileImage, read_tile, unread_tile
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import Mosaic, TileMap
from noise2map_core.runtime.atomic import unwritable
from noise2map_core.runtime.errors import (
    AssetReadError,
    BatchMemoryError,
    OutputError,
    TileMemoryError,
)
from noise2map_core.runtime.lease import require_fence
from noise2map_core.runtime.redact import redacted
from noise2map_core.runtime.storage import reason
from noise2map_core.settings.resources import ResourcesConfig

MOST_AT_ONCE, ROUNDS_AT_LEAST = 4, 16
"""Of tiles that take little each."""
MAP = "map/"
"""Begins the names of columns that hold the pixels of maps."""
UNFIT = "unfit"
"""Column: whether a batch did not fit into memory."""
Batch = dict[str, NDArray[Any]]
_FIELDS = [field.name for field in fields(TileRecord)]
CUT_SHORT = "its run ended while its pixels were replaced"


def predict_tiles(
    job: RegionJob, tiles: NDArray[np.int32], resources: ResourcesConfig
) -> Generator[TileRecord]:
    """Make `tiles` [tile, (row, col)] on the connected cluster; yields what became of each.

    Pixels and ledger records are written by the workers, pixels first. Order is not defined.
    Raises OutputError if the output cannot be written, BatchMemoryError if a batch of the job's
    does not fit into the memory of a predictor's GPU.
    """
    board = new_board()
    made = _made_whole if isinstance(job.spec, DetectorSpec) else _read_then_predicted
    dataset = made(job, tiles, resources, board)
    with shown(board):
        for row in dataset.iter_rows():
            if row.pop("unwritten"):
                raise OutputError(row["reason"])
            if row.pop(UNFIT):
                raise BatchMemoryError(row["reason"])
            record = TileRecord(**row)
            count_tile(job.output, record, job.grid.tile_px)
            yield record


def _read_then_predicted(
    job: RegionJob, tiles: NDArray[np.int32], resources: ResourcesConfig, board: str
) -> Dataset:
    """Readers hand tiles on to actors, each of which holds a network, and these to writers, which
    are tasks as readers are, and take the place of readers that are done."""
    row_bytes, cpus = _tile_bytes(job, tiles), resources.reader_cpus
    shares = shares_of_region(job, row_bytes, resources)
    fewest, most = predictor_pool(resources, len(tiles))
    source = WorkSource("Tiles", tiles, partial(_read_row, job, board), row_bytes, cpus)
    with _block_size(row_bytes):  # a dataset keeps a copy of the settings that it was made under
        return (
            ray.data.read_datasource(source, num_cpus=cpus, **shares.of("reader"))
            .map_batches(
                PredictingWorker,
                batch_size=resources.tiles_per_task,
                fn_constructor_kwargs={"job": job},
                compute=ActorPoolStrategy(min_size=fewest, max_size=most),
                num_cpus=resources.predictor_cpus,
                **predictor_gpus(resources),
                **shares.of("predictor"),
            )
            .map_batches(
                writer_of(job).__call__,
                batch_size=resources.tiles_per_task,
                num_cpus=cpus,
                **shares.of("reader"),  # pixels and a copy to encode, as a reader has
            )
        )


def _made_whole(
    job: RegionJob, tiles: NDArray[np.int32], resources: ResourcesConfig, board: str
) -> Dataset:
    """Each task reads, maps and writes its tiles: a detector takes less time than handing pixels
    from process to process. As many at once as there are CPUs, or `predictors`, if that is set."""
    asked = resources.model_fields_set
    cpus = resources.predictor_cpus if "predictor_cpus" in asked else resources.reader_cpus
    count = resources.tiles_per_task if "tiles_per_task" in asked else _super_tile(len(tiles))
    starts = np.arange(0, len(tiles), count)[:, None]
    source = WorkSource("Tiles", starts, TileMaker(job, tiles, count, board), num_cpus=cpus)
    memory = shares_of_region(job, _tile_bytes(job, tiles), resources).of("predictor")
    everywhere = max(1, int(ray.cluster_resources().get("CPU", 1)))
    at_once = resources.predictors if "predictors" in asked else everywhere
    return ray.data.read_datasource(source, num_cpus=cpus, concurrency=at_once, **memory)


def _super_tile(tiles: int) -> int:
    """Tiles that are handed to a worker at once, if nothing is said: the last ones are to keep all
    workers busy."""
    return max(1, min(MOST_AT_ONCE, tiles // ROUNDS_AT_LEAST))


@contextmanager
def _block_size(size: int) -> Iterator[None]:
    """Ray Data's size of blocks, bytes, for the time of the body."""
    context = DataContext.get_current()
    before = context.target_max_block_size
    context.target_max_block_size = size
    try:
        yield
    finally:
        context.target_max_block_size = before


def _tile_bytes(job: RegionJob, tiles: NDArray[np.int32]) -> int:
    """Size of one tile's pixels: a block of the stream holds about one."""
    cover = job.cover(Tile(int(tiles[0, 0]), int(tiles[0, 1])))
    of_date = len(job.spec.bands) * np.dtype(job.dtype).itemsize + 2  # valid, hidden
    return cover.height * cover.width * len(job.dates) * of_date


def _read_row(job: RegionJob, board: str, row: int, col: int) -> dict[str, Any]:
    """Pixels of one tile; a tile that cannot be read goes on as a row with its reason."""
    tile, start = Tile(row, col), time.perf_counter()
    try:
        with noticed(board):
            pixels, error = read_tile(job, tile), ""
    except (AssetReadError, MemoryError) as failure:
        pixels, error = unread_tile(job, tile), unread_because(failure)
    part = {} if pixels.part is None else {"part": pixels.part[None]}
    return {
        "tile_row": [row], "tile_col": [col], "image": pixels.image[None],
        "valid": pixels.valid[None], "hidden": pixels.hidden[None], "error": [error],
        **part,
        "read_s": [time.perf_counter() - start],
    }  # fmt: skip


class PredictingWorker:
    """An actor that holds the model."""

    def __init__(self, job: RegionJob) -> None:
        self._job = job
        self._predict = partial(predict_tile, job, predictor_of(job))
        self._within_memory = partial(within_memory, batch=job.path.batch)
        self._idleness, self._begun = Idleness(job.output, "predict"), False

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """The maps of the tiles of a super-tile, and what they took; to be written."""
        waited = self._idleness.end()
        made = [self._make(batch, index) for index in range(len(batch["tile_row"]))]
        if self._begun:  # before the first one, readers start
            made[0] = made[0]._replace(record=replace(made[0].record, wait_s=round(waited, 4)))
        self._begun = True
        self._idleness.begin()
        return to_be_written(made)

    def _unmade(self, tile: Tile, why: str, unfit: bool = False) -> "MadeTile":
        record = TileRecord(tile.row, tile.col, self._job.key(tile), "failed", reason=why)
        return MadeTile(record, hole(self._job, tile), unfit)

    def _make(self, batch: Batch, index: int) -> "MadeTile":
        tile = Tile(int(batch["tile_row"][index]), int(batch["tile_col"][index]))
        if batch["error"][index]:
            return self._unmade(tile, str(batch["error"][index]))
        names = [name for name in ("image", "valid", "hidden", "part") if name in batch]
        pixels = TileImage(*(batch[name][index] for name in names))
        start = time.perf_counter()
        try:
            made = self._within_memory(partial(self._predict, tile, pixels))
        except TileMemoryError as error:
            return self._unmade(tile, str(error), isinstance(error, BatchMemoryError))
        record = TileRecord(
            tile.row, tile.col, self._job.key(tile), "done",
            chips=made.chips, decided_px=made.decided_px, strange_px=made.strange_px,
            unlike_px=made.unlike_px, part_edges=made.part_edges, pixel_bytes=pixels.image.nbytes,
            read_s=round(float(batch["read_s"][index]), 4),
            predict_s=round(time.perf_counter() - start, 4),
        )  # fmt: skip
        return MadeTile(record, made.map)


class MadeTile(NamedTuple):
    """A tile on its way to be written."""

    record: TileRecord
    map: TileMap
    unfit: bool = False
    """Whether it was not made because a batch did not fit into memory."""

    def row(self) -> dict[str, Any]:
        """The fields of the record, and the pixels of the map."""
        pixels = {f"{MAP}{name}": values for name, values in self.map.arrays().items()}
        return {**asdict(self.record), **pixels, UNFIT: self.unfit}


def to_be_written(made: Sequence[MadeTile]) -> dict[str, Any]:
    """Tiles as a batch of rows."""
    rows = [one.row() for one in made]
    return {name: _stacked([row[name] for row in rows]) for name in rows[0]}


def _stacked(values: list[Any]) -> Any:
    if not isinstance(values[0], np.ndarray):
        return values
    return values[0][None] if len(values) == 1 else np.stack(values)


@dataclass(frozen=True)
class TileWriter:
    """Writes tiles, then records them; what it holds open, all tasks of a process share."""

    output: Path
    grid: RegionGrid
    fence: int
    layers: tuple[str, ...] = ()
    """Arrays besides those that every mosaic has."""

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """What became of the tiles of a super-tile: fields of records, and whether storage took
        neither pixels nor records.

        Raises LeaseLostError if another run has taken the output over: nothing is changed then.
        """
        records = [_row(batch, index, _FIELDS) for index in range(len(batch["row"]))]
        try:
            done = [self._written(TileRecord(**one), batch, n) for n, one in enumerate(records)]
            told = [one for one, unfit in zip(done, batch[UNFIT], strict=True) if not unfit]
            if told:  # the others are made again, with a smaller batch
                self._record(told)
            unwritten = False
        except (OSError, OutputError, BaseError) as error:
            failed = {"status": "failed", "reason": redacted(str(_refusal(self.output, error)))}
            done, unwritten = [TileRecord(**{**one, **failed}) for one in records], True
        columns = {name: [getattr(record, name) for record in done] for name in _FIELDS}
        return {**columns, "unwritten": [unwritten] * len(done), UNFIT: list(batch[UNFIT])}

    def _written(self, record: TileRecord, batch: Batch, index: int) -> TileRecord:
        if record.status != "done":
            return record
        start = time.perf_counter()
        names = [name for name in batch if name.startswith(MAP)]
        pixels = {name.removeprefix(MAP): batch[name][index] for name in names}
        written = _mosaic(self.output, self.grid, self.fence, self.layers).write(
            record.tile, TileMap.of(pixels), partial(self._revoke, record)
        )
        seconds = time.perf_counter() - start - written.hash_s
        return replace(
            record, digest=written.digest, objects=written.objects,
            write_s=round(seconds, 4), hash_s=round(written.hash_s, 6),
        )  # fmt: skip

    def _revoke(self, record: TileRecord) -> None:
        """Before a tile's pixels are replaced: no record may go on to vouch for them."""
        self._record([TileRecord(record.row, record.col, record.key, "failed", reason=CUT_SHORT)])

    def _record(self, records: list[TileRecord]) -> None:
        require_fence(self.output, self.fence)
        Ledger(self.output).append(records, self.fence)


def _refusal(output: Path, error: Exception) -> Exception:
    """What storage said, in one line with the way out."""
    if isinstance(error, OSError):
        return unwritable(output, error)
    if isinstance(error, BaseError):
        return OutputError(
            f"cannot write {output}: {reason(error)}. See to the storage and run the same command "
            "again; what is done is kept."
        )
    return error


@lru_cache(maxsize=2)
def _mosaic(output: Path, grid: RegionGrid, fence: int, layers: tuple[str, ...]) -> Mosaic:
    """The mosaic that a process writes to: its documents are read once. Another one at the same
    place has another fence, or other layers."""
    return Mosaic(output / "mosaic.zarr", grid, fence)


def _row(batch: Batch, index: int, names: Sequence[str]) -> dict[str, Any]:
    """Plain values of one row."""
    values = ((name, batch[name][index]) for name in names)
    return {name: one.item() if isinstance(one, np.generic) else one for name, one in values}


class TileMaker:
    """Reads, predicts and writes tiles in one process. Picklable: the predictor is made where it
    works."""

    def __init__(self, job: RegionJob, tiles: NDArray[np.int32], count: int, board: str) -> None:
        self._job, self._tiles, self._count, self._board = job, tiles, count, board
        self._predictor: PredictingWorker | None = None

    def __call__(self, start: int) -> dict[str, Any]:
        """What became of the super-tile that begins with tile `start`; see `TileWriter`."""
        self._predictor = self._predictor or PredictingWorker(self._job)
        mine = self._tiles[start : start + self._count].tolist()
        rows = [_read_row(self._job, self._board, *tile) for tile in mine]
        read = {name: np.concatenate([np.asarray(row[name]) for row in rows]) for name in rows[0]}
        return writer_of(self._job)(self._predictor(read))


def writer_of(job: RegionJob) -> TileWriter:
    """Who writes the tiles of a job."""
    return TileWriter(job.output, job.grid, job.fence, job.layers)
