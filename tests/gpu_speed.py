"""How fast a network predicts and learns, on whatever there is."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from noise2map_core.evaluation.chip_timing import time_chip
from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from noise2map_core.settings.network import Preset
from tests.benchmarks.networks import build, gflop

BACKWARD = 3
"""A step takes as many times the operations of a forward pass."""


@dataclass(frozen=True)
class Speed:
    """Of one network."""

    chips_s: float
    tflop_s: float

    def __str__(self) -> str:
        return f"{self.chips_s:,.1f} chips/s, {self.tflop_s:.2f} TFLOP/s"


def predicting(preset: Preset, gpus: float, batch: int) -> Speed:
    """On the path that infer-region takes."""
    model = build(preset)
    return _speed(model, of_network(model.spec, gpus, batch))


def of_network(spec: CheckpointSpec, gpus: float, batch: int) -> float:
    """Chips a second of a network alone."""
    return 1000 / time_chip(spec, InferenceConfig(batch=batch), gpus)


def learning(preset: Preset, device: str, batch: int, steps: int = 20) -> Speed:
    """Steps of a training, without reading; the first ones, which compile, are not counted."""
    model = build(preset)
    learner, given = learner_of(model.spec, device), batch_of(model.spec, device, batch)
    for step in range(3):
        learner.step({"change": given}, 0, step, steps + 3, Ranks())
    begun = time.perf_counter()
    for step in range(3, steps + 3):
        learner.step({"change": given}, 0, step, steps + 3, Ranks())
    if device == "cuda":
        torch.cuda.synchronize()
    return _speed(model, steps * batch / (time.perf_counter() - begun), BACKWARD)


def learner_of(spec: CheckpointSpec, device: str) -> Learner:
    """One that has learnt nothing."""
    return Learner(
        new_model(spec, 0, torch.device(device)),
        TrainingConfig(epochs=1, precision="bf16"),
        {"change": TaskTrainingConfig()},
        {"change": (1.0, 1.0)},
        seed=0,
    )


def batch_of(spec: CheckpointSpec, device: str, batch: int) -> TrainingBatch:
    """Chips of noise."""
    image = torch.randn(batch, 2 * len(spec.bands), spec.chip_px, spec.chip_px).to(device)
    label = torch.randint(0, 2, (batch, spec.chip_px, spec.chip_px)).to(device)
    chips = np.arange(batch)[:, None]
    return TrainingBatch(image, label, torch.ones_like(label).bool(), chips)


def _speed(model: Noise2Map, chips_s: float, times: int = 1) -> Speed:
    spec = model.spec
    chip = torch.ones(1, 2 * len(spec.bands), spec.chip_px, spec.chip_px)
    with torch.inference_mode():
        operations = gflop(model, chip)
    return Speed(chips_s, times * operations * chips_s / 1000)
