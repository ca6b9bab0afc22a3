"""Change by the difference of the dates."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.denoiser import Denoiser, DenoiserSpec, save_denoiser
from noise2map_core.models.difference import DifferenceUNet
from noise2map_core.models.noise2map import Noise2Map, at_timestep
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import CheckpointSpec, Normalisation, PatchUNetSpec, read_spec
from noise2map_core.models.start import start_from
from noise2map_core.models.unet import TaskShape
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.diffusion import DenoisingConfig
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from noise2map_core.settings.network import Task
from tests.factories import UNET, checkpoint_spec, samples, task_spec

TINY = PatchUNetSpec(
    patch=2, unet=UNET, context_channels=4, detail_channels=8, fusion="difference"
)  # fmt: skip
BOTH: tuple[Task, ...] = ("change", "segment")
T = torch.tensor([700, 20])


def difference(tasks: tuple[Task, ...] = BOTH, dates: int = 2, bands: int = 3) -> DifferenceUNet:
    shapes = {"change": TaskShape(dates, bands, 2), "segment": TaskShape(1, bands, 5)}
    return DifferenceUNet(TINY, {task: shapes[task] for task in tasks}).eval()


def model(fusion: str = "difference", tasks: tuple[Task, ...] = BOTH) -> Noise2Map:
    network = TINY.model_copy(update={"fusion": fusion})
    spec = checkpoint_spec(tasks={task: task_spec(task) for task in tasks}, network=network)
    return Noise2Map(spec).eval()


def raw(channels: int = 4) -> Tensor:
    return 1000 + 400 * torch.randn(2, channels, 32, 32)


@given(
    tasks=st.sampled_from([BOTH, ("change",)]),
    dates=st.integers(2, 4),
    bands=st.integers(1, 5),
    kept=st.sampled_from([None, (True, False)]),
    seed=st.integers(0, 99),
)
def test_the_order_of_the_dates_has_no_effect(
    tasks: tuple[Task, ...], dates: int, bands: int, kept: tuple[bool, bool] | None, seed: int
) -> None:
    torch.manual_seed(seed)
    network = difference(tasks, dates, bands)
    x = torch.randn(2, dates * bands, 16, 24)
    turned = torch.cat(x.chunk(dates, dim=1)[::-1], dim=1)
    keep = None if kept is None else torch.tensor(kept)
    with torch.inference_mode():
        logits, others = (network("change", pair, T, keep) for pair in (x, turned))
    assert logits.shape == (2, 2, 16, 24)
    torch.testing.assert_close(others, logits, rtol=1e-5, atol=1e-6)


@given(dates=st.integers(2, 3), seed=st.integers(0, 99))
def test_where_nothing_differs_all_places_are_alike(dates: int, seed: int) -> None:
    torch.manual_seed(seed)
    network = difference(dates=dates)
    with torch.inference_mode():
        logits = [network("change", image.repeat(1, dates, 1, 1), T) for image in places()]
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-6)


def places() -> Tensor:
    return torch.randn(2, 2, 3, 16, 16)


def test_the_model_tells_the_same_of_the_reversed_pair() -> None:
    whole = model()
    with torch.inference_mode():
        for timestep in (0, 999):
            logits, others = (
                whole.logits(raw_pair, timestep, task="change", reverse_dates=reverse)
                for raw_pair in [raw()]
                for reverse in (False, True)
            )
            torch.testing.assert_close(others, logits, rtol=1e-5, atol=1e-6)


def test_change_sees_where_the_classes_differ() -> None:
    network = difference()
    x = torch.randn(2, 6, 16, 16)
    with torch.inference_mode():
        before = network("change", x, T)
        network.heads["segment"].pixel[-1].weight.mul_(5)  # type: ignore[index, union-attr]
        assert not torch.equal(network("change", x, T), before)


def test_tasks_share_stem_and_backbone_and_change_teaches_the_classes() -> None:
    network = difference()
    network("change", torch.randn(2, 6, 16, 16), T).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.zero_grad()
    network("segment", torch.randn(2, 3, 16, 16), T).sum().backward()
    moved = {n.split(".")[0] for n, p in network.named_parameters() if p.grad is not None}
    assert moved == {"stem", "backbone", "heads"}
    assert all(p.grad is None for p in network.heads["change"].parameters())


@pytest.mark.parametrize("tasks", [BOTH, ("change",)])
def test_without_context_a_pixel_sees_itself_alone(tasks: tuple[Task, ...]) -> None:
    network, image = difference(tasks), torch.randn(2, 6, 16, 16)
    elsewhere = image.clone()
    elsewhere[:, :3, :8] += 1
    keep = torch.tensor([True, False])
    with torch.inference_mode():
        seen, other = (network("change", x, T, keep)[:, :, 8:] for x in (image, elsewhere))
        whole = network("change", image, T)[:, :, 8:]
    assert torch.equal(seen[1], other[1])
    assert not torch.equal(seen[0], other[0])
    torch.testing.assert_close(seen[0], whole[0])


@pytest.mark.parametrize("tasks", [BOTH, ("change",)])
@pytest.mark.parametrize("timestep", [0, 999])
def test_the_fast_path_is_equal_up_to_rounding(tasks: tuple[Task, ...], timestep: int) -> None:
    whole, image = model(tasks=tasks), raw()
    fast = at_timestep(whole, timestep, torch.float32)
    with torch.inference_mode():
        exact = whole.logits(image, timestep, task="change")
        torch.testing.assert_close(
            fast.logits(image, timestep, task="change"), exact, rtol=1e-4, atol=1e-5
        )


def test_activations_can_be_computed_again_and_a_compiler_sees_one_graph() -> None:
    network, x = difference(), torch.randn(2, 6, 16, 16)
    whole = torch.compile(network, backend="eager", dynamic=False)
    torch.testing.assert_close(whole("change", x, T), network("change", x, T))
    network("change", x, T).sum().backward()
    gradient = network.stem.conv.weight.grad
    network.zero_grad()
    network.backbone.enable_gradient_checkpointing()
    network.train()("change", x, T).sum().backward()
    torch.testing.assert_close(network.stem.conv.weight.grad, gradient)


def test_a_checkpoint_keeps_it(tmp_path: Path) -> None:
    whole, image = model(), raw()
    spec = save_checkpoint(whole, whole.spec, tmp_path / "c", "card")
    again = load_checkpoint(tmp_path / "c")
    assert read_spec(tmp_path / "c") == again.spec == spec
    assert again.spec.network == TINY
    cases: dict[Task, int] = {"change": 4, "segment": 2}
    with torch.inference_mode():
        for task, channels in cases.items():
            one, two = (m.logits(image[:, :channels], 9, task=task) for m in (whole, again))
            assert torch.equal(one, two)


def test_models_of_early_fusion_are_written_as_before() -> None:
    early = checkpoint_spec()
    assert "fusion" not in json.loads(early.model_dump_json())["network"]
    other = checkpoint_spec(network=TINY)
    assert other.digest != early.digest
    assert CheckpointSpec.model_validate_json(other.model_dump_json(), strict=True) == other


def test_it_starts_from_a_denoiser_with_its_stem_as_it_is(tmp_path: Path) -> None:
    normalisation = Normalisation(mean=((0.0, 0.0),), std=((1.0, 1.0),))
    spec = DenoiserSpec(
        preset="tiny", network=TINY.model_copy(update={"fusion": "early"}),
        bands=("green", "red"), normalisation=normalisation, denoising=DenoisingConfig(),
        chip_px=16, code_version="0",
    )  # fmt: skip
    learnt, started = Denoiser(spec), model()
    save_denoiser(learnt, tmp_path / "c", "card")
    start_from(started, tmp_path / "c")
    own: Any = started.network
    assert same(own.stem, learnt.stem)
    assert same(own.backbone, learnt.backbone)


def saved(learnt: Noise2Map, folder: Path) -> Any:
    save_checkpoint(learnt, learnt.spec, folder, "card")
    return learnt.network


def same(one: Any, other: Any) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_starts_from_one_of_its_kind_with_all_weights(tmp_path: Path) -> None:
    learnt, started = model(), model()
    saved(learnt, tmp_path / "c")
    start_from(started, tmp_path / "c")
    assert same(started, learnt)


def test_it_starts_from_one_task_of_its_kind(tmp_path: Path) -> None:
    theirs, started = saved(model(tasks=("segment",)), tmp_path / "c"), model()
    start_from(started, tmp_path / "c")
    own: Any = started.network
    assert same(own.stem, theirs.stem)
    assert same(own.heads["segment"], theirs.heads["segment"])


@pytest.mark.parametrize("tasks", [BOTH, ("change",)])
def test_it_takes_from_early_fusion_what_sees_one_date(
    tmp_path: Path, tasks: tuple[Task, ...]
) -> None:
    theirs, started = saved(model("early", tasks), tmp_path / "c"), model()
    before = {name: weight.clone() for name, weight in started.state_dict().items()}
    start_from(started, tmp_path / "c")
    own: Any = started.network
    assert same(own.backbone, theirs.backbone)
    if "segment" in tasks:
        assert same(own.stem, theirs.stems["segment"])
        assert same(own.heads["segment"], theirs.heads["segment"])
    changed = {n for n, w in started.state_dict().items() if not torch.equal(w, before[n])}
    assert not any(".heads.change." in name for name in changed)


def test_early_fusion_starts_from_it(tmp_path: Path) -> None:
    theirs, started = saved(model(), tmp_path / "c"), model("early")
    start_from(started, tmp_path / "c")
    own: Any = started.network
    image = torch.randn(2, 2, 16, 16)
    assert same(own.stems["segment"], theirs.stem)
    pair = torch.cat([image, image], dim=1)
    torch.testing.assert_close(own.stems["change"](pair), theirs.stem(image))


def test_presets_without_a_choice_of_fusion_say_so() -> None:
    chosen = network_of("tiny", 128, "difference")
    assert chosen == network_of("tiny", 128).model_copy(update={"fusion": "difference"})
    with pytest.raises(ConfigError, match=r"preset unet has no choice of fusion\. Leave"):
        network_of("unet", 128, "difference")


def test_both_tasks_learn_by_the_same_steps() -> None:
    torch.manual_seed(0)
    tasks: dict[Task, TaskTrainingConfig] = {task: TaskTrainingConfig() for task in BOTH}
    config = TrainingConfig(learning_rate=3e-3, epochs=3)
    learner = Learner(model(), config, tasks, dict.fromkeys(BOTH, (1.0, 1.0)), seed=0)
    label = (torch.rand(4, 1, 4, 4) < 0.5).long().repeat_interleave(8, 2).repeat_interleave(8, 3)
    before, everywhere = torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32) > 0
    after = before + 2 * label
    batches: dict[Task, TrainingBatch] = {
        "change": TrainingBatch(
            torch.cat([before, after], dim=1), label[:, 0], everywhere, samples(4)
        ),
        "segment": TrainingBatch(after, label[:, 0], everywhere, samples(4)),
    }
    losses = [float(learner.step(batches, 0, step, 20, Ranks()).loss) for step in range(16)]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
