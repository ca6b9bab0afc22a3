import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from noise2map_core.learning.losses import (
    CrossEntropy,
    Dice,
    Focal,
    Loss,
    WeightedSum,
    build_loss,
    class_weights_of,
    local_part,
)
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.learning import LossConfig

WEIGHTS = torch.tensor([1.0, 3.0, 0.5])
LOSSES: list[Loss] = [
    CrossEntropy(WEIGHTS),
    Focal(WEIGHTS, 2.0),
    Dice(3),
    WeightedSum([(0.5, CrossEntropy(WEIGHTS)), (2.0, Dice(3)), (1.0, Focal(WEIGHTS, 0.5))]),
]
ids = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


def drawn(seed: int = 0, count: int = 4) -> tuple[Tensor, Tensor]:
    """Logits [B, 3, 6, 6] and target [B, 6, 6], a quarter of it ignored."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 4, (count, 6, 6), generator=generator)
    target[target == 3] = IGNORE
    return 3 * torch.randn(count, 3, 6, 6, generator=generator), target


def counted(logits: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [pixel, K] and classes [pixel] of the pixels that count."""
    chosen = target != IGNORE
    exact = logits.double().permute(0, 2, 3, 1)[chosen].softmax(dim=-1)
    return exact.numpy(), target[chosen].numpy()


def test_cross_entropy_is_the_weighted_log_loss_of_scikit_learn() -> None:
    logits, target = drawn()
    p, y = counted(logits, target)
    loss = CrossEntropy(WEIGHTS)
    sums = loss.sums(logits, target)
    expected = log_loss(y, p, sample_weight=WEIGHTS.numpy()[y])
    assert float(loss.mean(sums)) == pytest.approx(expected, rel=1e-5)
    assert float(sums[1]) == pytest.approx(float(WEIGHTS.numpy()[y].sum()))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_its_formula(gamma: float) -> None:
    logits, target = drawn()
    p, y = counted(logits, target)
    p_t, alpha = p[np.arange(len(y)), y], WEIGHTS.double().numpy()[y]
    expected = (-alpha * (1 - p_t) ** gamma * np.log(p_t)).sum() / alpha.sum()
    loss = Focal(WEIGHTS, gamma)
    assert float(loss.mean(loss.sums(logits, target))) == pytest.approx(expected, rel=1e-5)


def test_dice_is_one_minus_the_overlap_of_the_classes_that_occur() -> None:
    logits, target = drawn()
    target[target == 2] = IGNORE
    p, y = counted(logits, target)
    overlap = [2 * p[y == k, k].sum() / (p[:, k].sum() + (y == k).sum()) for k in (0, 1)]
    loss = Dice(3)
    expected = 1 - np.mean(overlap)
    assert float(loss.mean(loss.sums(logits, target))) == pytest.approx(expected, rel=1e-5)


def test_dice_of_a_certain_prediction_is_one_minus_f1() -> None:
    # Three pixels of class 1, two of them found, and one invented: F1 2/3 and, of class 0, 1/2.
    target = torch.tensor([[[1, 1, 1, 0, 0]]])
    found = torch.tensor([[[1, 1, 0, 1, 0]]])
    logits = 100.0 * torch.nn.functional.one_hot(found, 2).permute(0, 3, 1, 2)
    loss = Dice(2)
    assert float(loss.mean(loss.sums(logits, target))) == pytest.approx(1 - (2 / 3 + 1 / 2) / 2)


def test_a_sum_of_losses_is_the_sum_of_their_values() -> None:
    logits, target = drawn()
    whole = LOSSES[-1]
    values = [loss.mean(loss.sums(logits, target)) for _, loss in whole.parts]
    expected = 0.5 * values[0] + 2.0 * values[1] + values[2]
    torch.testing.assert_close(whole.mean(whole.sums(logits, target)), expected)


@ids
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 3))
def test_value_and_gradient_do_not_depend_on_the_spread_over_workers(
    loss: Loss, seed: int, cut: int
) -> None:
    logits, target = drawn(seed)
    logits.requires_grad_()
    value = loss.mean(loss.sums(logits, target))
    (whole,) = torch.autograd.grad(value, logits)

    workers = [slice(0, cut), slice(cut, 4)]
    sums = [loss.sums(logits[part], target[part]) for part in workers]
    total = torch.stack(sums).sum(dim=0)
    assert total.shape == (loss.num_sums,)
    torch.testing.assert_close(loss.mean(total), value)
    parts = sum(torch.autograd.grad(local_part(loss, own, total), logits)[0] for own in sums)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-7)


@ids
@given(garbage=st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e30]))
def test_garbage_under_ignored_pixels_changes_neither_loss_nor_gradient(
    loss: Loss, garbage: float
) -> None:
    clean, target = drawn()
    dirty = torch.where((target == IGNORE)[:, None], garbage, clean)
    results = []
    for logits in (clean, dirty):
        logits = logits.clone().requires_grad_()
        value = loss.mean(loss.sums(logits, target))
        value.backward()
        results.append((value, logits.grad))
    torch.testing.assert_close(results[0], results[1])
    assert (results[1][1].movedim(1, -1)[target == IGNORE] == 0).all()


@ids
def test_gradients_are_finite_where_the_network_is_certain(loss: Loss) -> None:
    _, target = drawn()
    certain = torch.nn.functional.one_hot(target.clamp(max=2), 3).permute(0, 3, 1, 2)
    for sign in (1, -1):
        logits = (1000.0 * sign * certain).requires_grad_()
        loss.mean(loss.sums(logits, target)).backward()
        assert torch.isfinite(logits.grad).all()


@ids
@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_labelled_is_no_loss_and_no_slope(loss: Loss, workers: int) -> None:
    """Of the whole batch, or of one worker's part, which then adds nothing to the others'."""
    logits, target = drawn()
    logits.requires_grad_()
    target[: 4 // workers] = IGNORE
    sums = [
        loss.sums(part, labels)
        for part, labels in zip(logits.chunk(workers), target.chunk(workers), strict=True)
    ]
    total = torch.stack(sums).sum(dim=0)
    value = float(loss.mean(total.detach()))
    assert value == 0 if workers == 1 else value > 0
    (slope,) = torch.autograd.grad(local_part(loss, sums[0], total), logits)
    assert torch.equal(slope, torch.zeros_like(slope))


def test_pixels_of_a_class_that_weighs_nothing_are_no_loss() -> None:
    """As of a class that training never shows."""
    logits, target = drawn()
    loss = CrossEntropy(torch.tensor([1.0, 1.0, 0.0]))
    assert float(loss.mean(loss.sums(logits, target.masked_fill(target != IGNORE, 2)))) == 0


@ids
def test_half_precision_is_summed_in_full(loss: Loss) -> None:
    logits, target = drawn()
    rounded = logits.bfloat16()
    assert loss.sums(rounded, target).dtype == torch.float32
    torch.testing.assert_close(loss.sums(rounded, target), loss.sums(rounded.float(), target))


def test_inverse_frequency_is_the_balanced_weight_of_scikit_learn() -> None:
    counts = (700, 200, 100)
    labels = np.repeat([0, 1, 2], counts)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    found = class_weights_of(LossConfig(class_weights="inverse_frequency"), counts)
    assert found == pytest.approx(expected)


def test_median_frequency_is_one_for_the_middle_class_and_absent_classes_weigh_nothing() -> None:
    config = LossConfig(class_weights="median_frequency")
    assert class_weights_of(config, (800, 200, 0, 100)) == (0.25, 1.0, 0.0, 2.0)


def test_weights_that_are_named_are_taken_one_a_class() -> None:
    config = LossConfig(class_weights=(1.0, 10.0))
    assert class_weights_of(config, (5, 5)) == (1.0, 10.0)
    assert class_weights_of(LossConfig(), (5, 5, 1)) == (1.0, 1.0, 1.0)
    with pytest.raises(ConfigError, match="has 2 numbers, but there are 3 classes"):
        class_weights_of(config, (5, 5, 5))


def test_a_config_names_its_losses_and_their_weights() -> None:
    logits, target = drawn()
    built = build_loss(LossConfig(cross_entropy=0.0, dice=2.0, focal=1.0), WEIGHTS)
    dice, focal = Dice(3), Focal(WEIGHTS, 2.0)
    expected = 2 * dice.mean(dice.sums(logits, target)) + focal.mean(focal.sums(logits, target))
    torch.testing.assert_close(built.mean(built.sums(logits, target)), expected)
    with pytest.raises(ValidationError, match="no loss is left"):
        LossConfig(cross_entropy=0.0)
