"""Training on a GPU: `pytest -m gpu tests/gpu`."""

import pytest
import torch

from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from tests.factories import checkpoint_spec, samples

pytestmark = pytest.mark.gpu


def learner(device: str, compile: bool | None = None) -> Learner:
    return Learner(
        new_model(checkpoint_spec(chip_px=16), 0, torch.device(device)),
        TrainingConfig(epochs=1, learning_rate=1e-3, compile=compile),
        {"change": TaskTrainingConfig()},
        {"change": (1.0, 1.0)},
        seed=0,
    )


def losses(learner: Learner) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(8, 4, 16, 16, generator=generator)
    label = torch.randint(0, 2, (8, 16, 16), generator=generator)
    device = learner.model.device
    batch = TrainingBatch(
        image.to(device), label.to(device), torch.ones_like(label).bool().to(device), samples(8)
    )
    return [float(learner.step({"change": batch}, 0, step, 20, Ranks()).loss) for step in range(20)]


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch's own use
@pytest.mark.parametrize("compile", [None, False])
def test_the_gpu_learns_what_the_cpu_learns_up_to_rounding(compile: bool | None) -> None:
    here, there = learner("cpu"), learner("cuda", compile)
    assert losses(there) == pytest.approx(losses(here), rel=1e-2)
    weights = there.averaged.state_dict()
    assert weights.keys() == here.averaged.state_dict().keys()
    here.averaged.load_state_dict(weights)


def test_on_a_gpu_the_network_is_compiled_unless_it_is_told_not_to_be() -> None:
    compiled = {
        (device, compile): learner(device, compile).model._compiled_call_impl is not None
        for device in ("cpu", "cuda")
        for compile in (None, False)
    }
    assert [key for key, value in compiled.items() if value] == [("cuda", None)]
