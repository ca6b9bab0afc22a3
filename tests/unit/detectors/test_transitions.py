"""Two maps compared: against a linear programme, and pixel by pixel."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import softmax

from noise2map_core.detectors.compared import ComparedSpec, comparing
from noise2map_core.detectors.transitions import MOST_CLASSES, Transition, compare, transitions_of
from noise2map_core.models.spec import ClassSpec
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from tests.factories import checkpoint_spec, task_spec


def classes(count: int) -> tuple[ClassSpec, ...]:
    return tuple(
        ClassSpec(value=value, name=f"class {value}", color=f"#{15 * value:02x}8040")
        for value in range(count)
    )


def maps(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    logits = np.random.default_rng(seed).normal(0, 2, (2, count, 4, 5))
    before, after = softmax(logits, axis=1).astype(np.float32)
    return before, after


def least_differing(before: np.ndarray, after: np.ndarray) -> float:
    """The least probability that two classes differ, over all joint distributions of these."""
    count = len(before)
    cost = 1 - np.eye(count)
    rows = np.kron(np.eye(count), np.ones(count))
    columns = np.kron(np.ones(count), np.eye(count))
    solved = linprog(
        cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([before, after])
    )
    return float(solved.fun)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_change_is_what_must_differ(count: int) -> None:
    before, after = maps(count)
    after[:, 0, 0] = before[:, 0, 0]
    (unchanged, changed), direction = compare(before, after)
    for at in np.ndindex(4, 5):
        one, other = (part[:, *at] / part[:, *at].sum(dtype=float) for part in (before, after))
        assert changed[at] == pytest.approx(least_differing(one, other), abs=1e-5)
    np.testing.assert_allclose(unchanged + changed, 1, atol=1e-6)
    assert direction[0, 0] == 0 and changed[0, 0] == 0


@pytest.mark.parametrize("count", [2, 3, MOST_CLASSES])
def test_the_kind_is_from_what_lost_most_to_what_gained_most(count: int) -> None:
    before, after = maps(count, seed=1)
    _, direction = compare(before, after)
    kinds = {entry.value: entry for entry in transitions_of(classes(count))}
    for at in np.ndindex(4, 5):
        gains = [float(a) - float(b) for a, b in zip(after[:, *at], before[:, *at], strict=True)]
        kind = kinds[int(direction[at])]
        assert isinstance(kind, Transition)
        assert kind.before == f"class {gains.index(min(gains))}"
        assert kind.after == f"class {gains.index(max(gains))}"


def test_every_kind_of_change_has_a_value_a_name_and_a_colour() -> None:
    kinds = transitions_of(classes(4))
    assert [entry.value for entry in kinds] == list(range(1 + 4 * 3))
    assert len({entry.name for entry in kinds}) == len(kinds)
    assert kinds[1].name == "class 0 to class 1"
    assert kinds[1].color == "#0b8040"  # three quarters of 15, rounded
    assert transitions_of(classes(2))[1].color != transitions_of(classes(2))[2].color


def test_more_kinds_than_a_map_holds_are_refused() -> None:
    assert transitions_of(classes(MOST_CLASSES))[-1].value == 240
    with pytest.raises(CheckpointError, match="maps of 17 classes cannot be compared"):
        transitions_of(classes(MOST_CLASSES + 1))


def test_maps_are_compared_where_that_is_asked_for_or_nothing_else_finds_change() -> None:
    both = checkpoint_spec(tasks={name: task_spec(name) for name in ("change", "segment")})
    maps_only = checkpoint_spec(tasks={"segment": task_spec("segment")})
    change_only = checkpoint_spec()
    assert isinstance(comparing(maps_only, "change", "auto"), ComparedSpec)
    assert isinstance(comparing(both, None, "maps"), ComparedSpec)
    for spec, task in ((both, "change"), (maps_only, "segment"), (maps_only, None)):
        assert comparing(spec, task, "auto") is spec
    assert comparing(maps_only, "change", "images") is maps_only
    with pytest.raises(ConfigError, match="needs a checkpoint that segments"):
        comparing(change_only, "change", "maps")
    with pytest.raises(ConfigError, match="is for change between two dates"):
        comparing(both, "segment", "maps")
    with pytest.raises(CheckpointError, match="not for task 'segment'"):
        ComparedSpec(both).task("segment")
