import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.settings.diffusion import (
    Corruption,
    DiffusionConfig,
    GaussianCorruption,
    MixtureCorruption,
    NoCorruption,
    SelfCorruption,
    SwappedPairCorruption,
)
from noise2map_core.settings.learning import LossConfig, TaskTrainingConfig, TrainingConfig
from noise2map_core.settings.network import Task
from tests.factories import checkpoint_spec, samples, task_spec

CONFIG = TrainingConfig(epochs=3, learning_rate=1e-2)
CHANGE = {"change": TaskTrainingConfig()}
BOTH: dict[Task, TaskTrainingConfig] = {
    "change": TaskTrainingConfig(),
    "segment": TaskTrainingConfig(
        weight=0.5, diffusion=DiffusionConfig(corruption=SelfCorruption())
    ),
}


def learner(
    seed: int = 0,
    tasks: dict[Task, TaskTrainingConfig] | None = None,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    **training: Any,
) -> Learner:
    tasks = tasks or CHANGE
    spec = checkpoint_spec(
        chip_px=16,
        tasks={
            name: task_spec(name, corruption=task.diffusion.corruption)
            for name, task in tasks.items()
        },
    )
    return Learner(
        new_model(spec, seed, torch.device("cpu")),
        CONFIG.model_copy(update=training),
        tasks,
        dict.fromkeys(tasks, (1.0, 1.0)),
        seed,
        wrap,
    )


def batch(task: Task = "change", showing: int = 0) -> TrainingBatch:
    """Images whose sought pixels are brighter: at the second date, where there are two."""
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 2, (8, 16, 16), generator=generator)
    before = torch.randn(8, 2, 16, 16, generator=generator)
    after = before + 2 * label[:, None]
    image = torch.cat([before, after], dim=1) if task == "change" else after
    return TrainingBatch(image, label, torch.ones_like(label).bool(), samples(8, showing))


def steps(learner: Learner, first: int, last: int) -> list[float]:
    outcomes = [
        learner.step(
            {name: batch(name, step) for name in learner.model.spec.tasks},
            step // 10, step % 10, 10, Ranks(),
        )
        for step in range(first, last)
    ]  # fmt: skip
    return [float(one.loss) for one in outcomes]


def test_training_lowers_the_loss() -> None:
    losses = steps(learner(), 0, 30)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize(
    "corruption",
    [
        NoCorruption(),
        GaussianCorruption(),
        SwappedPairCorruption(),
        SelfCorruption(),
        MixtureCorruption(),
    ],
    ids=lambda one: one.kind,
)
def test_every_noise_can_be_learnt_through(corruption: Corruption) -> None:
    task = TaskTrainingConfig(diffusion=DiffusionConfig(corruption=corruption))
    losses = steps(learner(tasks={"change": task}), 0, 30)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_both_tasks_are_learnt_at_once() -> None:
    trained = learner(tasks=BOTH)
    steps(trained, 0, 30)
    for name in BOTH:
        raw = batch(name).image * 500 + 1000  # the spec normalises it away
        logits = trained.model.logits(raw, 999, task=name)
        right = (logits.argmax(dim=1) == batch(name).label).float().mean()
        assert right > 0.75, name


def test_the_loss_is_the_weighted_sum_of_the_tasks() -> None:
    whole = steps(learner(tasks=BOTH), 0, 1)[0]
    tripled = {name: t.model_copy(update={"weight": 3 * t.weight}) for name, t in BOTH.items()}
    assert steps(learner(tasks=tripled), 0, 1)[0] == pytest.approx(3 * whole, rel=1e-6)


def test_a_restored_learner_goes_on_to_the_same_bits() -> None:
    whole, first, second = learner(tasks=BOTH), learner(tasks=BOTH), learner(tasks=BOTH)
    losses = steps(whole, 0, 12)
    steps(first, 0, 7)
    second.restore(first.state())
    assert steps(second, 7, 12) == losses[7:]
    for name, weight in whole.averaged.state_dict().items():
        assert torch.equal(weight, second.averaged.state_dict()[name]), name


def test_a_compiled_learner_keeps_names_and_states_of_one_that_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = partialmethod(nn.Module.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(nn.Module, "compile", quick)
    plain, compiled = learner(tasks=BOTH), learner(tasks=BOTH, compile=True)
    expected = steps(plain, 0, 6)
    assert steps(compiled, 0, 3) == pytest.approx(expected[:3], rel=1e-6)
    assert compiled.state()["average"].keys() == plain.model.state_dict().keys()
    kept = compiled.state()
    for settings in ({"compile": True}, {}):
        goes_on = learner(tasks=BOTH, **settings)
        goes_on.restore(copy.deepcopy(kept))
        assert steps(goes_on, 3, 6) == pytest.approx(expected[3:], rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch's own use
def test_compiled_machine_code_learns_the_same_up_to_rounding() -> None:
    plain, compiled = learner(), learner(compile=True)
    assert steps(compiled, 0, 10) == pytest.approx(steps(plain, 0, 10), rel=5e-3)
    plain.averaged.load_state_dict(compiled.averaged.state_dict())


def test_seeds_give_different_weights_and_one_seed_the_same() -> None:
    losses = [steps(learner(seed), 0, 1)[0] for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    "loss",
    [LossConfig(), LossConfig(dice=1.0), LossConfig(cross_entropy=0, focal=1.0)],
    ids=["cross entropy", "with dice", "focal"],
)
def test_accumulated_parts_make_the_step_of_the_whole(loss: LossConfig) -> None:
    tasks: dict[Task, TaskTrainingConfig] = {"change": TaskTrainingConfig(loss=loss)}
    whole, parts = learner(tasks=tasks), learner(tasks=tasks, accumulation=4)
    assert steps(parts, 0, 5) == pytest.approx(steps(whole, 0, 5), rel=1e-4)
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_share_of_each_worker_makes_the_gradient_of_the_whole() -> None:
    """Two workers in one process: gradients of their shares, averaged, are the whole's."""
    whole = learner(tasks=BOTH)
    expected = gradients(whole, [Ranks()])
    totals: list[torch.Tensor] = []
    gradients(learner(tasks=BOTH), [rank_of(rank, totals.append) for rank in range(2)])
    total = totals[0] + totals[2]  # each worker sums twice: before and after
    shares = [
        gradients(learner(tasks=BOTH), [Ranks(rank, 2, lambda _: total)]) for rank in range(2)
    ]
    for one, first, second in zip(expected, *shares, strict=True):
        torch.testing.assert_close((first + second) / 2, one, rtol=1e-3, atol=1e-5)


def part_of(whole: TrainingBatch, part: slice) -> TrainingBatch:
    return TrainingBatch(
        whole.image[part], whole.label[part], whole.valid[part], whole.draws_of[part]
    )


def rank_of(rank: int, note: Any) -> Ranks:
    return Ranks(rank, 2, lambda value: (note(value.clone()), value)[1])


def gradients(one: Learner, ranks: list[Ranks]) -> list[torch.Tensor]:
    """Unclipped gradients of the first step."""
    one._config = one._config.model_copy(update={"max_gradient_norm": 1e9})
    for worker in ranks:
        share = {
            name: part_of(batch(name), slice(worker.rank, None, worker.world_size))
            for name in one.model.spec.tasks
        }
        one.step(share, 0, 0, 10, worker)
    return [p.grad.clone() for p in one.model.parameters() if p.grad is not None]


def test_bf16_keeps_the_weights_in_fp32_and_learns() -> None:
    trained = learner(precision="bf16")
    losses = steps(trained, 0, 30)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert {parameter.dtype for parameter in trained.model.parameters()} == {torch.float32}


def test_labels_that_do_not_count_leave_no_trace() -> None:
    spoilt, clean = learner(), learner()
    valid = torch.rand(8, 16, 16, generator=torch.Generator().manual_seed(3)) < 0.5
    some = TrainingBatch(
        torch.where(valid[:, None], batch().image, 0.0), batch().label, valid, samples(8)
    )
    garbage = TrainingBatch(some.image, torch.where(valid, some.label, 1), valid, samples(8))
    losses = [
        float(one.step({"change": labels}, 0, 0, 10, Ranks()).loss)
        for one, labels in ((clean, some), (spoilt, garbage))
    ]
    assert losses[0] == losses[1]
    weights: list[nn.Module] = [clean.model, spoilt.model]
    for one, other in zip(*(model.parameters() for model in weights), strict=True):
        assert torch.equal(one, other)


def moves(one: Learner) -> dict[str, float]:
    """How far the first step moves each parameter at most."""
    before = {name: weight.detach().clone() for name, weight in one.model.named_parameters()}
    one.step({"change": batch()}, 0, 0, 10, Ranks())
    return {
        name: float((weight.detach() - before[name]).abs().max())
        for name, weight in one.model.named_parameters()
    }


def test_a_frozen_backbone_stays_and_the_rest_learns() -> None:
    found = moves(learner(backbone_rate=0.0))
    assert not any(move for name, move in found.items() if ".backbone." in name)
    assert found["network.stems.change.conv.weight"] > 0


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone, for DistributedDataParallel."""
    dist.init_process_group("gloo", f"file://{tmp_path / 'ranks'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "training", [{"backbone_rate": 0.0}, {"backbone_rate": 0.0, "accumulation": 2}]
)
def test_a_frozen_backbone_takes_every_step_of_wrapped_workers(
    one_rank: None, training: dict[str, Any]
) -> None:
    """The wrapper waits for gradients of all weights that are not frozen when it is made."""
    alone, wrapped = learner(**training), learner(wrap=DistributedDataParallel, **training)
    assert steps(wrapped, 0, 3) == pytest.approx(steps(alone, 0, 3), rel=1e-4)


@pytest.mark.parametrize("tasks", [CHANGE, BOTH], ids=["change", "both"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_batch_in_which_nothing_counts_leaves_everything_as_it_is(
    tasks: dict[Task, TaskTrainingConfig], accumulation: int
) -> None:
    """Weights, momentum and moving average: as if the step had not been."""
    one = learner(tasks=tasks, accumulation=accumulation)
    nothing: dict[Task, TrainingBatch] = {
        name: TrainingBatch(torch.zeros_like(full.image), full.label, ~full.valid, full.draws_of)
        for name, full in ((name, batch(name)) for name in tasks)
    }
    steps(one, 0, 3)
    before = copy.deepcopy(one.state())
    outcome = one.step(nothing, 0, 3, 10, Ranks())
    assert [float(outcome.loss), float(outcome.norm), float(outcome.moved)] == [0.0, 0.0, 0.0]
    after = one.state()
    for name in ("model", "average"):
        assert all(torch.equal(after[name][key], before[name][key]) for key in before[name])
    for number, moments in before["optimiser"]["state"].items():
        assert all(
            torch.equal(after["optimiser"]["state"][number][key], moments[key]) for key in moments
        )
    assert after["num_averaged"] == before["num_averaged"] == 3


def test_what_is_all_under_opaque_cloud_is_not_learnt_from_and_ends_nothing() -> None:
    """However the draws fall, losses are numbers."""
    one = learner(haze=1.0, crop=0.9)
    few = batch()
    rare = replace(few, valid=torch.zeros_like(few.valid))
    rare.valid[0, 0, 0] = True  # one pixel, that most draws crop or haze away
    outcomes = [
        one.step({"change": replace(rare, draws_of=samples(8, step))}, 0, step, 40, Ranks())
        for step in range(40)
    ]
    losses = [float(outcome.loss) for outcome in outcomes]
    assert all(math.isfinite(loss) for loss in losses) and 0.0 in losses
    assert all(math.isfinite(outcome.norm) for outcome in outcomes)


def test_each_level_of_the_backbone_moves_by_its_part_of_the_level_behind_it() -> None:
    # AdamW's first step is the learning rate, whatever the gradient.
    found = moves(learner(layer_decay=0.5, weight_decay=0.0))
    depth = len(learner().model.network.backbone.down_blocks)  # type: ignore[union-attr, arg-type]
    outside = found["network.stems.change.conv.weight"]
    for name, above in (
        ("conv_out", 0),
        (f"up_blocks.{depth - 1}.resnets.0.conv1", 1),
        ("mid_block.resnets.0.conv1", depth + 1),
        ("down_blocks.0.resnets.0.conv1", 2 * depth + 1),
        ("conv_in", 2 * depth + 2),
    ):
        move = found[f"network.backbone.{name}.weight"]
        assert move == pytest.approx(outside * 0.5**above, rel=0.01), name


def test_activations_computed_twice_give_the_same_steps() -> None:
    plain, again = learner(), learner(gradient_checkpointing=True)
    assert again.model.network.backbone.is_gradient_checkpointing  # type: ignore[union-attr]
    for step in range(3):
        one, other = (
            float(each.step({"change": batch()}, 0, step, 10, Ranks()).loss)
            for each in (plain, again)
        )
        assert other == pytest.approx(one, rel=1e-5)
