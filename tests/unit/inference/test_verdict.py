"""What a device decides is what is decided of arrays, to the byte."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noise2map_core.detectors.compared import ComparedTask
from noise2map_core.detectors.transitions import MOST_CLASSES, compare
from noise2map_core.inference.decision import decide_classes, verdict_of
from noise2map_core.inference.networks import verdict
from noise2map_core.mapping.recut import directed, stored_cut
from noise2map_core.models.spec import ClassSpec, TaskSpec
from noise2map_core.settings.network import Task
from tests.factories import task_spec

NEAR = st.sampled_from([0.3, 0.5, 1 / 3]) | st.floats(0, 1)
"""Probabilities that equal thresholds and one another, too."""


def maps(classes: int, count: int = 1) -> st.SearchStrategy[np.ndarray]:
    """[map, class, 3, 5]"""
    return arrays(np.float32, (count, classes, 3, 5), elements=NEAR.map(np.float32))


def require_same(found: np.ndarray, task: TaskSpec) -> None:
    here, there = verdict_of(found, task), verdict.verdict_of(torch.from_numpy(found), task)
    for one, other in ((here.classes, there.classes), (here.stored, there.stored)):
        assert one.dtype == other.dtype and np.array_equal(one, other)


@given(maps(2), st.sampled_from(["change", "segment"]), NEAR)
def test_two_classes_are_cut_alike(found: np.ndarray, name: Task, threshold: float) -> None:
    plain = task_spec(name)
    task = plain.model_copy(update={"threshold": {plain.classes[1].name: threshold}})
    require_same(found[0], task)


@given(maps(4), st.dictionaries(st.sampled_from(["c1", "c2", "c3"]), NEAR, max_size=2))
def test_many_classes_are_decided_alike(found: np.ndarray, threshold: dict[str, float]) -> None:
    classes = tuple(ClassSpec(value=v, name=f"c{v}", color="#000000") for v in range(4))
    task = task_spec("segment", classes=classes, threshold=threshold)
    require_same(found[0], task)
    plain = task.model_copy(update={"threshold": {}})
    assert np.array_equal(decide_classes(found[0], plain), found[0].argmax(axis=0))


@pytest.mark.parametrize("classes", [2, 3, MOST_CLASSES])
@given(st.data())
def test_two_maps_are_compared_alike(classes: int, data: st.DataObject) -> None:
    before, after = data.draw(maps(classes, 2))
    task = ComparedTask(task_spec("segment"), decided_from=0.4)
    changed, kind = verdict.compared(torch.from_numpy(before), torch.from_numpy(after))
    (_, expected), kinds = compare(before, after)
    assert np.array_equal(changed, expected) and np.array_equal(kind, kinds)
    said, stored = verdict.verdict_of_change(changed, kind, task), np.rint(expected * 10_000)
    assert np.array_equal(said.stored, stored)
    assert np.array_equal(said.classes, directed(kinds, said.stored, task.decided_from))
    assert stored_cut(0.4) == 4000
