"""The chip of a map on which a model changes its mind most, over timesteps and orders."""

from pathlib import Path

import numpy as np

from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.evaluation.timestep_figure import write_timestep_figure
from noise2map_core.evaluation.timestep_study import study_chip
from noise2map_core.geo.window import Window
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.tile_image import read_window
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.mapping.mosaic import NO_PROBABILITY, Mosaic
from noise2map_core.models.checkpoint import load_checkpoint


def draw_disputed_chip(job: RegionJob, mosaic: Mosaic, path: Path) -> None:
    """Predict the chip of the highest disagreement at every pass of the evidence, and draw it.

    Draws nothing where no pixel has a disagreement. Raises AssetReadError if the chip cannot be
    read.
    """
    chip = most_disputed(job, mosaic)
    if chip is None:
        return
    batch = _read_chip(job, chip)
    timesteps = tuple(dict.fromkeys(one.timestep for one in job.evidence))
    study = study_chip(load_checkpoint(job.checkpoint), batch, job.task_name, timesteps)
    title = f"chip at row {chip.row}, column {chip.col} of the grid"
    write_timestep_figure(path, study, batch, job.spec.bands, title)


def most_disputed(job: RegionJob, mosaic: Mosaic) -> Window | None:
    """The chip of the lattice around the blocks whose mean disagreement is highest.

    One tile is held at a time.
    """
    best, found = 0.0, None
    side = min(job.lattice.stride_px, mosaic.grid.tile_px)
    for tile in mosaic.grid.tiles():
        window = mosaic.grid.window(tile)
        values = mosaic.read("disagreement", window).astype(np.float32)
        values[values == NO_PROBABILITY] = 0
        fit = window.height // side
        blocks = values[: fit * side, : fit * side].reshape(fit, side, fit, side).mean(axis=(1, 3))
        row, col = np.unravel_index(blocks.argmax(), blocks.shape)
        if blocks[row, col] > best:
            best = float(blocks[row, col])
            found = Window(window.row + int(row) * side, window.col + int(col) * side, side, side)
    if found is None:
        return None
    chips = job.lattice.chips_touching(found)
    return chips[len(chips) // 2]


def _read_chip(job: RegionJob, chip: Window) -> ChipBatch:
    """One chip without labels."""
    pixels = read_window(job, chip, job.dates)
    image, valid = pixels.image[None], pixels.valid[None]
    unlabelled = np.full(valid.shape, IGNORE, np.uint8)
    label = unlabelled if job.task_name == "segment" else unlabelled[:, 0]
    unknown = np.full((len(job.dates), 2, len(job.spec.bands)), np.nan)
    light = unknown if job.light is None else np.asarray(job.light.dates)
    known = np.asarray(job.light.alteration) if job.light and job.light.alteration else None
    alteration = None if known is None else known[None]
    labels = {job.task_name: label}
    return ChipBatch(image, valid, labels, np.zeros(1, np.int64), light[None], alteration)
