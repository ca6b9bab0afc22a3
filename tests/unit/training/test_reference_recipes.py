"""The recipes of the authors' implementation, against its arithmetic as method.md states it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.losses import class_weights_of
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import CheckpointSpec, Normalisation, ReferenceSpec
from noise2map_core.settings.network import Task
from noise2map_core.workflows.configs import shipped_configs
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from tests.factories import checkpoint_spec, samples, task_spec

PX, CHIPS = 32, 2
UNET: dict[str, Any] = {
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "attention_head_dim": None,
}  # fmt: skip
NO_SLOPE = "to_k.bias"
"""It adds the same to all scores of a query, which a softmax does not see: its gradient is 0 but
for rounding, of which Adam makes whole steps."""

PUBLISHED = {  # method.md: weight of the positive class, batch, epochs
    "reference-spacenet7-change": (3, 8, 200),
    "reference-spacenet7-segment": (5, 8, 200),
    "reference-whu-change": (1, 8, 500),
    "reference-whu-segment": (10, 8, 200),
    "reference-xview2-change": (3, 2, 200),
    "reference-xview2-segment": (3, 4, 200),
}


def recipe(name: str) -> FinetuneMapsConfig:
    settings = yaml.safe_load(shipped_configs()[name].read_text())
    return FinetuneMapsConfig.model_validate(
        settings | {"chips": Path("c"), "output": Path("o")}, by_name=True
    )


class Reference(nn.Module):
    """A UNet between two convolutions, as published."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.unet = UNet2DModel(in_channels=3, out_channels=3, **UNET)
        self.into = nn.Conv2d(channels, 3, 3, padding=1)
        self.out = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        logits: Tensor = self.out(self.unet(self.into(x), t).sample)
        return logits


def batches(task: Task) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    channels = 6 if task == "change" else 3
    shape = (CHIPS, channels, PX, PX)
    return [
        (torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
         torch.randint(0, 2, (CHIPS, PX, PX), generator=generator))
        for _ in range(2)
    ]  # fmt: skip


def spec_of(config: FinetuneMapsConfig) -> CheckpointSpec:
    (task,) = config.task
    rows = ((127.5, 127.5, 127.5),) * (2 if task == "change" else 1)
    made = task_spec(
        task, normalisation=Normalisation(mean=rows, std=rows),
        corruption=config.of_tasks()[task].diffusion.corruption,
    )  # fmt: skip
    return checkpoint_spec(
        bands=("red", "green", "blue"), chip_px=PX, tasks={task: made},
        network=ReferenceSpec(unet=UNET), value_range=(0, 255),
    )  # fmt: skip


def updates_of_ours(
    config: FinetuneMapsConfig, model: Noise2Map
) -> tuple[list[float], list[Tensor]]:
    """Losses of two steps, and the timesteps that were drawn for them."""
    (task,) = config.task
    settings, seen, losses = config.of_tasks(), list[Tensor](), list[float]()
    weights = {task: class_weights_of(settings[task].loss, (1, 1))}
    learner = Learner(model, config.training, settings, weights, seed=0)
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0][task].timesteps))
    for number, (image, label) in enumerate(batches(task)):
        valid = torch.ones_like(label).bool()
        batch = TrainingBatch(model.normalise(image, None, task), label, valid, samples(CHIPS))
        losses.append(float(learner.step({task: batch}, 0, number, 2, Ranks()).loss))
    return losses, seen


def updates_of_theirs(
    theirs: Reference, task: Task, weight: float, drawn: list[Tensor]
) -> list[float]:
    scheduler, losses = DDIMScheduler(), []
    optimiser = torch.optim.Adam(theirs.parameters(), lr=1e-4)
    for (image, label), t in zip(batches(task), drawn, strict=True):
        x = image.float() / 127.5 - 1
        noise = torch.cat([x[:, 3:], x[:, :3]], dim=1) if task == "change" else x
        logits = theirs(scheduler.add_noise(x, noise, t), t)
        loss = cross_entropy(logits, label, weight=torch.tensor([1.0, weight]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def as_theirs(model: Noise2Map, task: Task) -> Reference:
    network: Any = model.network
    made = Reference(6 if task == "change" else 3)
    made.unet.load_state_dict(network.backbone.state_dict())
    made.into.load_state_dict(network.stems[task].conv.state_dict())
    made.out.load_state_dict(network.heads[task].conv.state_dict())
    return made


@pytest.mark.parametrize("name", PUBLISHED)
def test_two_updates_of_a_recipe_are_those_of_the_reference(name: str) -> None:
    config, weight = recipe(name), PUBLISHED[name][0]
    (task,) = config.task
    model = new_model(spec_of(config), 3, torch.device("cpu"))
    theirs = as_theirs(model, task)
    losses, drawn = updates_of_ours(config, model)
    assert len(set(torch.cat(drawn).tolist())) > 1, "timesteps are drawn"
    expected = updates_of_theirs(theirs, task, weight, drawn)
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-6)
    ours = as_theirs(model, task).state_dict()
    for part, value in theirs.state_dict().items():
        if part.endswith(NO_SLOPE):
            continue
        torch.testing.assert_close(ours[part], value, rtol=0, atol=3e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_says_what_is_published(name: str) -> None:
    config, (weight, batch, epochs) = recipe(name), PUBLISHED[name]
    (task,) = config.task
    assert config.of_tasks()[task].loss.class_weights == (1, weight)
    assert (config.training.batch, config.training.epochs) == (batch, epochs)
    assert config.normalisation.of == "minus_one_one"
    assert (config.selection.by, config.selection.timestep) == ("cross_entropy", 500)
    assert config.of_tasks()[task].diffusion.inference_timesteps == (999,)
    assert config.training.use_every == 2 and not config.training.flips
    network = network_of(config.model.preset, 256)
    assert isinstance(network, ReferenceSpec) and network.resized_px is None
    assert network.unet["block_out_channels"] == [128, 128, 256, 256, 512, 512]


def test_with_flips_they_would_differ() -> None:
    config = recipe("reference-whu-change")
    training = config.training.model_copy(update={"flips": True})
    model = new_model(spec_of(config), 3, torch.device("cpu"))
    theirs = as_theirs(model, "change")
    losses, drawn = updates_of_ours(config.model_copy(update={"training": training}), model)
    expected = updates_of_theirs(theirs, "change", 1, drawn)
    assert np.abs(np.subtract(losses, expected)).max() > 1e-5
