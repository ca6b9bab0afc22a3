"""Tiles of a region through Ray Data: read, predict, write."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from noise2map_core.detectors.spec import DetectorSpec
from noise2map_core.distributed.cluster.memory import shares_of_region
from noise2map_core.distributed.cluster.needs import predictor_gpus, predictor_pool
from noise2map_core.distributed.cluster.notices import new_board, noticed, shown
from noise2map_core.distributed.metrics import Idleness, count_tile
from noise2map_core.distributed.out_of_memory import within_memory
from noise2map_core.distributed.work import WorkSource, unread_because
from noise2map_core.geo.grid import Tile
from noise2map_core.inference.model import predictor_of
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.tile import predict_tile
from noise2map_core.inference.tile_image import TileImage, read_tile, unread_tile
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.mapping.shards import NONE
from noise2map_core.runtime.atomic import unwritable
from noise2map_core.runtime.errors import AssetReadError, OutputError, TileMemoryError
from noise2map_core.runtime.lease import require_fence
from noise2map_core.runtime.redact import redacted
from noise2map_core.settings.resources import ResourcesConfig

MOST_AT_ONCE, ROUNDS_AT_LEAST = 4, 16
"""Of tiles that take little each."""
CUT_SHORT = "its run ended while its pixels were replaced"


def predict_tiles(
    job: RegionJob, tiles: NDArray[np.int32], resources: ResourcesConfig
) -> Iterator[TileRecord]:
    """Make `tiles` [tile, (row, col)] on the connected cluster; yields what became of each.

    Pixels and ledger records are written by the workers, pixels first. Order is not defined.
    Raises OutputError if the output cannot be written.
    """
    board = new_board()
    made = _made_whole if isinstance(job.spec, DetectorSpec) else _read_then_predicted
    dataset = made(job, tiles, resources, board)
    with shown(board):
        for row in dataset.iter_rows():
            if row.pop("unwritten"):
                raise OutputError(row["reason"])
            record = TileRecord(**row)
            count_tile(job.output, record, job.grid.tile_px)
            yield record


def _read_then_predicted(
    job: RegionJob, tiles: NDArray[np.int32], resources: ResourcesConfig, board: str
) -> Dataset:
    """Readers hand tiles on to actors, each of which holds a network."""
    row_bytes, cpus = _tile_bytes(job, tiles), resources.reader_cpus
    shares = shares_of_region(job, row_bytes, resources)
    fewest, most = predictor_pool(resources, len(tiles))
    source = WorkSource("Tiles", tiles, partial(_read_row, job, board), row_bytes, cpus)
    with _block_size(row_bytes):  # a dataset keeps a copy of the settings that it was made under
        return ray.data.read_datasource(source, num_cpus=cpus, **shares.of("reader")).map_batches(
            TileWorker,
            batch_size=resources.tiles_per_task,
            fn_constructor_kwargs={"job": job},
            compute=ActorPoolStrategy(min_size=fewest, max_size=most),
            num_cpus=resources.predictor_cpus,
            **predictor_gpus(resources),
            **shares.of("predictor"),
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


class TileWorker:
    """An actor that holds the model, and writes the tiles that it predicts."""

    def __init__(self, job: RegionJob) -> None:
        self._job = job
        self._predict = partial(predict_tile, job, predictor_of(job))
        self._within_memory = partial(within_memory, batch=job.path.batch)
        self._mosaic = Mosaic(job.output / "mosaic.zarr", job.grid, job.fence)
        self._shards, self._ledger = job.shards, Ledger(job.output)
        self._idleness = Idleness(job.output, "predict")

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, Any]:
        """Predict and write one super-tile, then record it.

        Raises LeaseLostError if another run has taken the output over: nothing is changed then.
        """
        self._idleness.end()
        try:
            records = [self._make(batch, index) for index in range(len(batch["tile_row"]))]
            require_fence(self._job.output, self._job.fence)
            self._ledger.append(records, self._job.fence)
            unwritten = [False] * len(records)
        except (OSError, OutputError) as error:
            refused = unwritable(self._job.output, error) if isinstance(error, OSError) else error
            reason = redacted(str(refused))
            records = [_failed(batch, index, reason) for index in range(len(batch["tile_row"]))]
            unwritten = [True] * len(records)
        self._idleness.begin()
        names = [field.name for field in fields(TileRecord)]
        columns = {name: [getattr(record, name) for record in records] for name in names}
        return {**columns, "unwritten": unwritten}

    def _make(self, batch: dict[str, NDArray[Any]], index: int) -> TileRecord:
        if batch["error"][index]:
            return _failed(batch, index, str(batch["error"][index]), self._job)
        tile = Tile(int(batch["tile_row"][index]), int(batch["tile_col"][index]))
        names = [name for name in ("image", "valid", "hidden", "part") if name in batch]
        pixels = TileImage(*(batch[name][index] for name in names))
        start = time.perf_counter()
        try:
            made = self._within_memory(partial(self._predict, tile, pixels))
        except TileMemoryError as error:
            return _failed(batch, index, str(error), self._job)
        predicted = time.perf_counter()
        self._revoke(tile)
        self._mosaic.write(tile, made.map)
        return TileRecord(
            tile.row, tile.col, self._job.key(tile), "done",
            chips=made.chips, decided_px=made.decided_px, strange_px=made.strange_px,
            unlike_px=made.unlike_px, part_edges=made.part_edges, pixel_bytes=pixels.image.nbytes,
            read_s=round(float(batch["read_s"][index]), 4),
            predict_s=round(predicted - start, 4),
            write_s=round(time.perf_counter() - predicted, 4), digest=self._mosaic.digest(tile),
            objects=self._shards.stated(tile),
        )  # fmt: skip

    def _revoke(self, tile: Tile) -> None:
        """Before a tile's pixels are replaced: no record may go on to vouch for them."""
        if self._shards.stated(tile) == NONE:
            return
        require_fence(self._job.output, self._job.fence)
        said = TileRecord(tile.row, tile.col, self._job.key(tile), "failed", reason=CUT_SHORT)
        self._ledger.append([said], self._job.fence)


class TileMaker:
    """Reads, predicts and writes tiles in one process. Picklable: the worker is made where it
    works."""

    def __init__(self, job: RegionJob, tiles: NDArray[np.int32], count: int, board: str) -> None:
        self._job, self._tiles, self._count, self._board = job, tiles, count, board
        self._worker: TileWorker | None = None

    def __call__(self, start: int) -> dict[str, Any]:
        """What became of the super-tile that begins with tile `start`; see `TileWorker`."""
        self._worker = self._worker or TileWorker(self._job)
        mine = self._tiles[start : start + self._count].tolist()
        rows = [_read_row(self._job, self._board, *tile) for tile in mine]
        return self._worker(
            {name: np.concatenate([np.asarray(row[name]) for row in rows]) for name in rows[0]}
        )


def _failed(
    batch: dict[str, NDArray[Any]], index: int, reason: str, job: RegionJob | None = None
) -> TileRecord:
    tile = Tile(int(batch["tile_row"][index]), int(batch["tile_col"][index]))
    return TileRecord(tile.row, tile.col, job.key(tile) if job else "", "failed", reason=reason)
