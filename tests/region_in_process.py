"""Regions mapped in the tests' own process, by the workers' own code, tile after tile: no Ray."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from noise2map_core.distributed.prediction import UNFIT, PredictingWorker, _read_row, writer_of
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.region_result import InferRegionResult
from noise2map_core.mapping.ledger import TileRecord
from noise2map_core.runtime.errors import BatchMemoryError, OutputError
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines import infer_region

DISTRIBUTED = "noise2map_core.distributed"
Watch = Callable[[RegionJob, int], None]
"""Is told of a job and how many of its tiles are made."""


class _Busy:
    """In place of the metric, which wants a cluster."""

    def begin(self) -> None: ...

    def end(self) -> float:
        return 0.0


def map_here(
    embedded: EmbeddedCatalog, checkpoint: Path | None, output: Path, watch: Watch | None = None,
    recheck: bool = False, **more: Any,
) -> InferRegionResult:  # fmt: skip
    """Run infer-region on the embedded scene."""
    settings = {
        "aoi": str(embedded.map_aoi),
        "search": {"catalog": str(embedded.catalog), "collection": embedded.collection},
        "before": embedded.before, "after": embedded.after,
        "checkpoint": None if checkpoint is None else str(checkpoint), "output": str(output),
        "grid": {"tile_px": 64}, "resources": {"num_cpus": 2}, **more,
    }  # fmt: skip
    config = InferRegionConfig.model_validate(settings)
    with in_process(watch):
        return infer_region.run(config, recheck=recheck)


@contextmanager
def in_process(watch: Watch | None = None) -> Iterator[None]:
    """While this is open, nothing of a region goes to a cluster."""
    with (
        patch(f"{DISTRIBUTED}.region.ray_session", lambda *_: nullcontext()),
        patch(f"{DISTRIBUTED}.region.predict_tiles", partial(_predict, watch)),
        patch(f"{DISTRIBUTED}.prediction.Idleness", lambda *_: _Busy()),
        patch(f"{DISTRIBUTED}.region.count_kept"),
    ):
        yield


def _predict(watch: Watch | None, job: RegionJob, tiles: Any, _: object) -> Iterator[TileRecord]:
    predict, write = PredictingWorker(job), writer_of(job)
    for number, (row, col) in enumerate(tiles.tolist(), start=1):
        read = _read_row(job, "nobody", row, col)  # no server is waited for
        made = predict({name: np.array(values) for name, values in read.items()})
        told = write({name: np.asarray(values) for name, values in made.items()})
        one = {name: values[0] for name, values in told.items()}
        if one.pop("unwritten"):
            raise OutputError(one["reason"])
        if one.pop(UNFIT):
            raise BatchMemoryError(one["reason"])
        if watch:
            watch(job, number)
        yield TileRecord(**one)
