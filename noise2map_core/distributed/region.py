"""The tiles of a region that are still to be made, in waves."""

import time
from contextlib import ExitStack, closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from noise2map_core.distributed.cluster.needs import predictor_needs, require_here
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.metrics import count_kept
from noise2map_core.distributed.prediction import predict_tiles
from noise2map_core.inference.numeric_path import keep_batch
from noise2map_core.inference.planning import plan_pixels
from noise2map_core.inference.region_output import require_model
from noise2map_core.inference.region_run import RegionRun
from noise2map_core.mapping.ledger import MIN_FOLDED, Ledger, TileRecord
from noise2map_core.products.manifest import forget_products
from noise2map_core.runtime.errors import BatchMemoryError, OutputError
from noise2map_core.runtime.notices import tell
from noise2map_core.runtime.progress import progress


def predict_missing(run: RegionRun) -> None:
    """Predict the tiles that the ledger lacks; without any, neither imagery is read nor Ray
    started. If a batch does not fit into a predictor's GPU, all tiles are predicted with half."""
    with ExitStack() as stack:
        while True:
            try:
                _predict_all(run, stack)
                return
            except BatchMemoryError as error:
                _halve_batch(run, error)


def _predict_all(run: RegionRun, stack: ExitStack) -> None:
    for tiles in run.watch.each("compare", run.comparison.waves()):
        if run.pair is None:
            _begin(run, stack, len(tiles))
        if run.comparison.lost:
            forget_products(run.config.output)
        predict_wave(run, tiles)
    if run.pair is not None:
        count_kept(run.config.output, run.comparison.tiles - run.comparison.missing)
        _predict_lost(run)


def _halve_batch(run: RegionRun, error: BatchMemoryError) -> None:
    """Go on with half the batch, and remember it: a map is made with one, whoever makes a tile."""
    batch = run.job.path.batch // 2
    tell(f"warning: {error}: all tiles are predicted with batches of {batch}")
    keep_batch(run.config.output, run.config.inference.batch, batch)
    run.job = replace(run.job, path=replace(run.job.path, batch=batch))
    run.comparison = run.compare_again()
    run.work.failed.clear()


def predict_wave(run: RegionRun, tiles: NDArray[np.int32]) -> None:
    """Predict tiles [tile, (row, col)], and add up what became of them."""
    ledger, begun = Ledger(run.config.output), time.perf_counter()
    held: list[TileRecord] = []
    made = predict_tiles(run.job, tiles, run.config.resources)
    with run.watch.stage("predict"), closing(made), progress(len(tiles), "predict", "tile") as bar:
        for record in made:
            bar.update()
            run.work.add(record, time.perf_counter() - begun)
            held.append(record)
            if bar.done % MIN_FOLDED == 0 and ledger.fold(held, run.job.fence):
                held.clear()


def _begin(run: RegionRun, stack: ExitStack, tiles: int) -> None:
    """Compare the dates, and start Ray for as long as `stack` is open."""
    job, resources = run.job, run.config.resources
    needs = predictor_needs(resources, tiles)
    require_here(needs, resources)
    require_model(job)
    with run.watch.stage("compare dates"):
        run.pair = plan_pixels(run.config, job.before, job.after, job.grid, report=True)
    with run.watch.stage("start Ray"):
        stack.enter_context(ray_session(resources, needs))


def _predict_lost(run: RegionRun) -> None:
    """See that the pixels of every tile are still there, and make again those that are not: no
    product is made of a mosaic that lost some while the run was at work."""
    for again in (True, False):
        tiles = run.compare_again().lost_tiles()
        if not len(tiles):
            return
        if again:
            predict_wave(run, tiles)
    raise OutputError(
        f"{len(tiles)} tiles of {run.config.output} are gone again as soon as they are written: "
        "something else deletes or changes them. Stop it, and run the same command again."
    )
