"""Chips a second and TFLOP/s on a GPU: `pytest -m gpu -rP tests/gpu/test_speed.py` prints them."""

import pytest
import torch

from noise2map_core.settings.network import Preset
from tests.gpu_speed import learning, predicting

pytestmark = pytest.mark.gpu

HOPPER = (9, 0)
LEAST = {"reference": 340.0}
"""Chips a second of predicting on a Hopper or newer: large networks reach 170 TFLOP/s there."""
FASTER = 10
"""Times that a GPU is faster than a thread of its machine, at least."""


@pytest.mark.parametrize("preset", ["reference", "base", "small"])
def test_a_gpu_predicts_many_times_as_fast_as_a_thread(preset: Preset) -> None:
    there, here = predicting(preset, 1.0, 64), predicting(preset, 0.0, 1)
    print(f"{torch.cuda.get_device_name()}: {preset} predicts {there}; a thread {here}")
    assert there.chips_s > FASTER * here.chips_s
    if torch.cuda.get_device_capability() >= HOPPER:
        assert there.chips_s >= LEAST.get(preset, 0.0)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch's own use
@pytest.mark.parametrize("preset", ["reference", "base", "small"])
def test_a_gpu_learns_many_times_as_fast_as_a_thread(preset: Preset) -> None:
    there, here = learning(preset, "cuda", 32), learning(preset, "cpu", 1, 2)
    print(f"{torch.cuda.get_device_name()}: {preset} learns {there}; a thread {here}")
    assert there.chips_s > FASTER * here.chips_s
