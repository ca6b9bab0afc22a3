"""From probabilities to codes: reasons, and the threshold on what is stored."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noise2map_core.inference.decision import decide, decide_classes, verdict_of
from noise2map_core.mapping.mosaic import Reason
from noise2map_core.mapping.recut import recut_classes
from noise2map_core.models.spec import ClassSpec
from noise2map_core.settings.network import Task
from tests.factories import task_spec

CHANGE = task_spec("change", threshold={"changed": 0.5})


def test_what_is_masked_has_a_reason_of_its_own() -> None:
    probability = np.full((2, 1, 4), 0.5, np.float32)
    valid = np.array([[[True, False, False, True]], [[True, True, False, False]]])
    masked = np.array([[[False, True, False, False]], [[False, False, True, True]]])
    tile = decide(verdict_of(probability, CHANGE), valid, np.ones((1, 4), np.bool_), masked)
    assert tile.reason.tolist() == [[
        Reason.DECIDED, Reason.MASKED_BEFORE, Reason.NODATA_BEFORE, Reason.MASKED_AFTER,
    ]]  # fmt: skip
    said = verdict_of(probability, task_spec("segment"))
    alone = decide(said, valid[1:], valid[1] | True, masked[1:])
    assert alone.reason.tolist() == [[
        Reason.DECIDED, Reason.DECIDED, Reason.MASKED_AFTER, Reason.MASKED_AFTER,
    ]]  # fmt: skip


def test_cloud_shadow_and_suspicion_are_told_apart_at_each_date() -> None:
    probability, inside = np.full((2, 1, 4), 0.5, np.float32), np.ones((1, 4), np.bool_)
    kinds = np.array([[[1, 2, 3, 0]], [[0, 0, 0, 3]]], np.uint8)
    found = decide(verdict_of(probability, CHANGE), kinds == 0, inside, kinds)
    assert found.reason.tolist() == [[
        Reason.MASKED_BEFORE, Reason.SHADOW_BEFORE, Reason.SUSPECTED_BEFORE, Reason.SUSPECTED_AFTER,
    ]]  # fmt: skip
    assert (found.classes == 255).all()


def of_second(p: float) -> np.ndarray:
    """Probabilities [2, 1, 1] of one pixel."""
    return np.asarray([1 - p, p], np.float32).reshape(2, 1, 1)


def test_each_pixel_gets_its_reason() -> None:
    probability = np.full((1, 5), 0.9, np.float32)
    before = np.array([[True, False, True, False, False]])
    after = np.array([[True, True, False, False, True]])
    inside = np.array([[True, True, True, True, False]])
    tile = decide(
        verdict_of(np.stack([1 - probability, probability]), CHANGE),
        np.stack([before, after]),
        inside,
    )
    assert tile.reason.tolist() == [[
        Reason.DECIDED, Reason.NODATA_BEFORE, Reason.NODATA_AFTER, Reason.NODATA_BEFORE,
        Reason.OUTSIDE,
    ]]  # fmt: skip
    assert tile.classes.tolist() == [[1, 255, 255, 255, 255]]
    assert tile.probability.tolist() == [[9000, 65_535, 65_535, 65_535, 65_535]]
    assert tile.valid.tolist() == [[True, False, False, False, False]]


@given(st.floats(0, 1, width=32), st.floats(0, 1))
def test_the_class_follows_from_the_stored_probability(p: float, threshold: float) -> None:
    yes = np.ones((1, 1), np.bool_)
    task = task_spec("change", threshold={"changed": threshold})
    tile = decide(verdict_of(of_second(p), task), np.stack([yes, yes]), yes)
    assert tile.classes[0, 0] == (tile.probability[0, 0] * 0.0001 >= threshold)


@given(
    arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32)),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
    st.sampled_from(["change", "segment"]),
)
def test_another_threshold_on_what_is_stored_gives_the_map_of_that_threshold(
    second: np.ndarray, threshold: float, other: float, name: Task
) -> None:
    probability = np.stack([1 - second, second])
    valid = np.ones((2 if name == "change" else 1, *second.shape), np.bool_)
    plain = task_spec(name)
    made, wanted = (
        decide(
            verdict_of(
                probability, plain.model_copy(update={"threshold": {plain.classes[1].name: value}})
            ),
            valid,
            valid[0],
        )
        for value in (threshold, other)
    )
    recut = recut_classes(made.classes, made.probability, other, of_winner=name == "segment")
    for found, expected in zip(recut, (wanted.classes, wanted.probability), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_of_several_classes_the_winners_probability_is_stored() -> None:
    classes = tuple(ClassSpec(value=v, name=f"c{v}", color="#000000") for v in range(3))
    task = task_spec("segment", classes=classes, threshold={"c2": 0.3})
    yes = np.ones((1, 1, 2), np.bool_)
    probability = probabilities((0.5, 0.2, 0.3), (0.2, 0.7, 0.1))
    tile = decide(verdict_of(probability, task), yes, yes[0])
    assert tile.classes.tolist() == [[2, 1]]
    assert tile.probability.tolist() == [[3000, 7000]]


def probabilities(*values: tuple[float, ...]) -> np.ndarray:
    """[K, 1, pixel] of class probabilities of each pixel."""
    return np.asarray(values, np.float32).T[:, None]


def test_two_classes_are_cut_at_the_threshold_inclusive() -> None:
    task = task_spec("change", threshold={"changed": 0.3})
    found = decide_classes(probabilities((0.8, 0.2), (0.7, 0.3), (0.1, 0.9)), task)
    assert found.tolist() == [[0, 1, 1]]


@given(
    arrays(np.float32, (2, 4, 3, 5), elements=st.floats(0, 1, width=32)),
    st.floats(0.05, 0.95),
)
def test_of_many_classes_the_sure_one_wins_and_then_the_most_probable(
    probability: np.ndarray, threshold: float
) -> None:
    classes = tuple(ClassSpec(value=v, name=f"c{v}", color="#000000") for v in range(4))
    free = task_spec("segment", classes=classes, threshold={})
    assert (decide_classes(probability, free) == probability.argmax(axis=1)).all()
    rare = task_spec("segment", classes=classes, threshold={"c2": threshold})
    found = decide_classes(probability, rare)
    sure = probability[:, 2] >= threshold - 1e-6
    others = np.array([0, 1, 3])[probability[:, [0, 1, 3]].argmax(axis=1)]
    assert (found == np.where(sure, 2, others)).all()
