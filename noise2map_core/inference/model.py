"""What makes a map: the network of a checkpoint, or a detector."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noise2map_core.detectors.compared import ComparedSpec
from noise2map_core.detectors.detector import Detector
from noise2map_core.detectors.spec import (
    KINDS,
    DetectorSpec,
    MapSpec,
    MapTask,
    detector_asked,
    is_detector,
)
from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.inference.decision import verdict_of
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.tile import Prediction, TilePredictor
from noise2map_core.models.spec import read_spec, read_weights
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.unused import changed
from noise2map_core.workflows.pixels import RegionConfig

DETECTORS = f"Or name a detector, which needs no labels: {', '.join(KINDS)}."


def read_model(checkpoint: Path | None, bands: tuple[str, ...], config: RegionConfig) -> MapSpec:
    """What a run is to map with; `bands` are those that a detector takes.

    Raises CheckpointError for a checkpoint that is damaged, before workers would find out, and
    ConfigError for settings that what is named does not use.
    """
    if is_detector(checkpoint):
        _require_used(config)
        return detector_asked(checkpoint, bands, config.detector.false_alarms)
    if unread := changed(config.detector):
        raise ConfigError(
            f"detector.{unread[0]} is not used with checkpoint {checkpoint}. Leave it out, or "
            "leave --checkpoint out."
        )
    assert checkpoint is not None
    spec = read_spec(checkpoint, DETECTORS)
    read_weights(checkpoint, spec)
    return spec


def _require_used(config: RegionConfig) -> None:
    if unread := changed(config.inference):
        raise ConfigError(
            f"inference.{unread[0]} is not used by a detector. Leave it out, or name a checkpoint."
        )


def predictor_of(job: RegionJob) -> TilePredictor:
    """What says what the pixels of a tile are."""
    if isinstance(job.spec, DetectorSpec):
        assert job.spec.fitted is not None
        return TileDetector(job.spec.fitted, job.lattice, job.task)
    # Torch takes seconds, which a detector spares.
    from noise2map_core.inference.networks.predictor import Predictor
    from noise2map_core.inference.networks.two_maps import ComparingPredictor
    from noise2map_core.models.checkpoint import load_checkpoint

    model = load_checkpoint(job.checkpoint)
    if isinstance(job.spec, ComparedSpec):
        network = Predictor(
            model, job.path, job.lattice, job.timesteps, "segment", job.evidence, job.light,
            job.checkpoint,
        )  # fmt: skip
        return ComparingPredictor(network, job.task)
    return Predictor(
        model, job.path, job.lattice, job.timesteps, job.task_name, job.evidence, job.light,
        job.checkpoint,
    )  # fmt: skip


@dataclass(frozen=True)
class TileDetector:
    """A fitted detector, one tile at a time."""

    detector: Detector
    lattice: ChipLattice
    task: MapTask

    def predict(
        self,
        image: NDArray[np.generic],
        valid: NDArray[np.bool_],
        core: Window,
        wanted: NDArray[np.bool_],
        part: NDArray[np.uint8] | None = None,
    ) -> Prediction:
        """See `TilePredictor`."""
        found = self.detector.probability(image, np.asarray(valid.all(axis=0)), part)
        changed = found[core.slices_in(self.lattice.cover(core))]
        return Prediction(verdict_of(np.stack([1 - changed, changed]), self.task), chips=0)
