import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from noise2map_core.learning.metrics import IGNORE
from noise2map_core.learning.objects import ObjectCounts


def image(*rows: str) -> np.ndarray:
    """Classes of an image, written by rows; "x" is not labelled."""
    return np.array([[IGNORE if c == "x" else int(c) for c in row] for row in rows], np.uint8)


def outlines(mask: np.ndarray) -> list[shapely.Geometry]:
    """Objects of an image as polygons: pixels joined wherever they share an edge."""
    pixels = [shapely.box(col, row, col + 1, row + 1) for row, col in np.argwhere(mask)]
    return list(getattr(merged := shapely.union_all(pixels), "geoms", [merged])) if pixels else []


def test_objects_found_missed_invented_and_halved_are_told_apart() -> None:
    label = image(
        "1100000",
        "1100011",
        "0000011",
        "0110000",
        "0000000",
    )
    predicted = image(
        "1100000",
        "1000010",  # three of four pixels: found; two of four at the right: exactly half, missed
        "0000010",
        "0000000",
        "1000000",  # invented; the object above it is missed
    )
    counts = ObjectCounts.of(label, predicted, 1)
    assert counts == ObjectCounts(matched=1, truths=3, predictions=3)
    assert (counts.precision, counts.recall, counts.f1) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_objects_that_touch_at_a_corner_are_two() -> None:
    label = image("10", "01")
    assert ObjectCounts.of(label, label, 1) == ObjectCounts(2, 2, 2)


def test_pixels_that_are_not_labelled_belong_to_no_object() -> None:
    label = image("11xx", "11xx", "0000", "0xx0")
    predicted = image("1111", "1111", "0000", "0110")
    assert ObjectCounts.of(label, predicted, 1) == ObjectCounts(1, 1, 1)


def test_nothing_there_and_nothing_found_scores_zero() -> None:
    counts = ObjectCounts.of(image("00"), image("00"), 1)
    assert (counts.f1, counts.precision, counts.recall) == (0, 0, 0)


MASKS = hnp.arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 1, IGNORE]))
CLASSES = hnp.arrays(np.uint8, (5, 6), elements=st.integers(0, 1))


@given(MASKS, CLASSES)
def test_matches_are_those_of_polygons_and_unique(label: np.ndarray, predicted: np.ndarray) -> None:
    truths = outlines(label == 1)
    found = outlines((predicted == 1) & (label != IGNORE))
    iou = np.array(
        [[t.intersection(f).area / t.union(f).area for f in found] for t in truths]
    ).reshape(len(truths), len(found))
    matches = iou > 0.5 + 1e-9
    assert matches.sum(axis=0).max(initial=0) <= 1 >= matches.sum(axis=1).max(initial=0)
    expected = ObjectCounts(int(matches.sum()), len(truths), len(found))
    assert ObjectCounts.of(label, predicted, 1) == expected


@given(
    hnp.arrays(np.uint8, (3, 5, 6), elements=st.sampled_from([0, 1, IGNORE])),
    hnp.arrays(np.uint8, (3, 5, 6), elements=st.integers(0, 1)),
)
def test_images_of_a_batch_do_not_touch_and_counts_add_up(
    label: np.ndarray, predicted: np.ndarray
) -> None:
    parts = [ObjectCounts.of(*pair, 1) for pair in zip(label, predicted, strict=True)]
    assert ObjectCounts.of(label, predicted, 1) == sum(parts, ObjectCounts())
