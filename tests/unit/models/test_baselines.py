"""Baseline networks behind the interface of ours."""

import copy
import subprocess
import sys
from dataclasses import replace
from typing import Any, Literal, get_args

import pytest
import torch

from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner
from noise2map_core.models.baselines import SiameseModel
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import SegmentationModelSpec
from noise2map_core.models.unet import TaskShape
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.diffusion import NoCorruption
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from noise2map_core.settings.network import Preset, Task
from tests.factories import checkpoint_spec, samples, task_spec

PRESETS = [
    preset for preset in get_args(Preset) if network_of(preset, 64).kind == "segmentation_model"
]
SMALL = SegmentationModelSpec(architecture="Unet", encoder="resnet18")
CHIP = 64


@pytest.mark.parametrize("preset", PRESETS)
def test_every_baseline_does_both_tasks_of_any_bands_and_classes(preset: Preset) -> None:
    tasks = {
        "change": task_spec("change", 4),
        "segment": task_spec("segment", 4),
    }
    spec = checkpoint_spec(
        bands=("blue", "green", "red", "nir"), tasks=tasks, network=network_of(preset, CHIP),
        chip_px=CHIP,
    )  # fmt: skip
    model = Noise2Map(spec).eval()
    with torch.inference_mode():
        change = model.logits(1000 + 500 * torch.randn(2, 8, CHIP, CHIP), 0, task="change")
        segment = model.logits(1000 + 500 * torch.randn(2, 4, CHIP, CHIP), 0, task="segment")
    assert change.shape == segment.shape == (2, 2, CHIP, CHIP)
    assert change.isfinite().all()


@pytest.mark.parametrize("fusion", ["concatenation", "difference"])
def test_one_encoder_sees_each_date(fusion: Literal["concatenation", "difference"]) -> None:
    model = SiameseModel(SMALL.model_copy(update={"fusion": fusion}), TaskShape(2, 3, 2)).eval()
    pair = torch.randn(1, 6, CHIP, CHIP)
    with torch.inference_mode():
        logits, swapped = model(pair), model(torch.cat([pair[:, 3:], pair[:, :3]], dim=1))
    assert torch.equal(logits, swapped) == (fusion == "difference")


def test_the_difference_of_equal_dates_tells_nothing() -> None:
    model = SiameseModel(SMALL.model_copy(update={"fusion": "difference"}), TaskShape(2, 3, 2))
    date, other = torch.randn(2, 1, 3, CHIP, CHIP)
    with torch.inference_mode():
        one, two = (model.eval()(torch.cat([x, x], dim=1)) for x in (date, other))
    assert torch.equal(one, two)


def test_a_baseline_learns_by_the_same_steps() -> None:
    torch.manual_seed(0)
    spec = checkpoint_spec(network=SMALL, chip_px=CHIP)
    tasks: dict[Task, TaskTrainingConfig] = {"change": TaskTrainingConfig()}
    config = TrainingConfig(learning_rate=1e-3, epochs=3)
    learner = Learner(Noise2Map(spec), config, tasks, {"change": (1.0, 1.0)}, seed=0)
    label = (torch.rand(4, 1, 8, 8) < 0.5).long().repeat_interleave(8, 2).repeat_interleave(8, 3)
    before = torch.randn(4, 2, CHIP, CHIP)
    batch = TrainingBatch(
        torch.cat([before, before + 2 * label], dim=1),
        label[:, 0],
        torch.ones(4, CHIP, CHIP) > 0,
        samples(4),
    )
    losses = [
        float(
            learner.step(
                {"change": replace(batch, draws_of=samples(4, step))}, 0, step, 20, Ranks()
            ).loss
        )
        for step in range(12)
    ]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


@pytest.mark.slow
def test_the_library_imports_before_and_after_torchvision_was_looked_at() -> None:
    code = (
        "from noise2map_core.models.backbone import let_torchvision_import as let; let(); let();"
        "import torchvision, diffusers; from diffusers import UNet2DModel"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_depthwise_convolutions_are_trained_in_float32_under_autocast() -> None:
    model = SiameseModel(network_of("lite0_difference", CHIP), TaskShape(2, 3, 2)).train()
    seen: dict[str, set[torch.dtype]] = {"depthwise": set(), "dense": set()}
    for conv in model.modules():
        if isinstance(conv, torch.nn.Conv2d):
            kind = "depthwise" if conv.groups > 1 else "dense"
            conv.register_forward_hook(lambda _, __, out, kind=kind: seen[kind].add(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(2, 6, CHIP, CHIP))
    assert seen == {"depthwise": {torch.float32}, "dense": {torch.bfloat16}}


def test_a_copy_of_a_model_trains_its_own_convolutions() -> None:
    model = SiameseModel(network_of("lite0_difference", CHIP), TaskShape(2, 3, 2)).train()
    twin, pair = copy.deepcopy(model), torch.randn(2, 6, CHIP, CHIP)
    before = twin(pair)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert torch.equal(twin(pair), before)


def tied_model(tasks: tuple[Task, ...] = ("change", "segment")) -> Noise2Map:
    spec = checkpoint_spec(
        bands=("red", "green"), chip_px=CHIP,
        tasks={task: task_spec(task, 2, corruption=NoCorruption()) for task in tasks},
        network=network_of("lite0_difference", CHIP, tied=True),
    )  # fmt: skip
    return Noise2Map(spec).eval()


def test_tied_change_is_half_the_heads_and_half_the_difference_of_the_maps() -> None:
    model, pair = tied_model(), 1000 + 500 * torch.randn(2, 4, CHIP, CHIP)
    network: Any = model.network
    with torch.inference_mode():
        told = model.logits(pair, 0, task="change").softmax(dim=1)[:, 1]
        before, after = (
            model.logits(date, 0, task="segment").softmax(dim=1)[:, 1]
            for date in pair.chunk(2, dim=1)
        )
        network.is_tied = False
        head = model.logits(pair, 0, task="change").softmax(dim=1)[:, 1]
    assert torch.allclose(told, (head + (after - before).abs()) / 2, atol=2e-5)


def test_where_classes_are_not_learnt_change_stands_alone() -> None:
    network: Any = tied_model(("change",)).network
    assert not network.is_tied


def test_networks_of_our_own_have_no_ties_to_choose() -> None:
    with pytest.raises(ConfigError, match=r"tiny has no choice of model\.tied"):
        network_of("tiny", CHIP, tied=True)
