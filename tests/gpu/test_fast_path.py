"""The fast path on a GPU: `pytest -m gpu tests/gpu`."""

import numpy as np
import pytest
import torch

from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.inference.decision import verdict_of
from noise2map_core.inference.networks.predictor import MAP, Predictor
from noise2map_core.inference.numeric_path import NumericPath, resolve_numeric_path
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.settings.inference import InferenceConfig
from tests.factories import checkpoint_spec

pytestmark = pytest.mark.gpu

CORE = Window(0, 0, 128, 128)
LATTICE = ChipLattice(chip_px=32, stride_px=16)


def predict(path: NumericPath, timesteps: tuple[int, ...] = (999,)) -> np.ndarray:
    """Class probabilities [class, 128, 128] of random imagery by a random network; what is decided
    of them where they are is checked."""
    torch.manual_seed(0)
    model = Noise2Map(checkpoint_spec())
    cover, generator = LATTICE.cover(CORE), np.random.default_rng(0)
    image = generator.integers(0, 3000, (2, 2, cover.height, cover.width), np.uint16)
    valid = np.ones((2, cover.height, cover.width), bool)
    predictor = Predictor(model, path, LATTICE, timesteps)
    wanted = np.ones((128, 128), bool)
    first, second = (
        predictor.passes(image, valid, CORE, wanted)[0][MAP].cpu().numpy() for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    said = predictor.predict(image, valid, CORE, wanted).verdict
    expected = verdict_of(first, model.spec.tasks["change"])
    np.testing.assert_array_equal(said.classes, expected.classes)
    np.testing.assert_array_equal(said.stored, expected.stored)
    return first


def path_of(gpus: float, **settings: object) -> NumericPath:
    return resolve_numeric_path(InferenceConfig.model_validate(settings), gpus)


@pytest.mark.parametrize("graphs", ["off", "on"])
@pytest.mark.parametrize("timesteps", [(999,), (0, 500, 999)])
def test_bfloat16_on_the_gpu_is_close_to_float32_on_the_cpu(
    graphs: str, timesteps: tuple[int, ...]
) -> None:
    exact = predict(path_of(0, precision="fp32"), timesteps)
    fast = predict(path_of(1, graphs=graphs), timesteps)
    assert np.abs(fast - exact).max() < 0.02


def test_float32_on_the_gpu_decides_as_float32_on_the_cpu() -> None:
    exact = predict(path_of(0, precision="fp32"))
    other = predict(path_of(1, precision="fp32", graphs="off"))
    assert (exact.argmax(axis=0) == other.argmax(axis=0)).mean() > 0.999
