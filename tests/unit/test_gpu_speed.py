"""What tests of GPUs measure, measured on a CPU."""

import torch

from tests.benchmarks.networks import build, gflop
from tests.gpu_speed import learning, predicting


def test_speeds_are_of_the_operations_that_a_network_takes() -> None:
    model = build("tiny")
    chip = torch.ones(1, 6, model.spec.chip_px, model.spec.chip_px)
    per_chip = gflop(model, chip) / 1000
    for speed, times in ((predicting("tiny", 0.0, 2), 1), (learning("tiny", "cpu", 2, 2), 3)):
        assert speed.chips_s > 0
        assert abs(speed.tflop_s / speed.chips_s - times * per_chip) < 0.02 * times * per_chip
