"""Outlines from corners, against GDAL's tracing."""

import numpy as np
import rasterio.features
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from shapely.geometry import shape

from noise2map_core.products.vectors.outlines import added, corners_of, polygons_of

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12))


def traced_by_gdal(labels: np.ndarray) -> dict[int, shapely.Polygon]:
    shapes = rasterio.features.shapes(labels, mask=labels > 0, connectivity=4)
    return {int(number): shape(geometry) for geometry, number in shapes}


@given(mask=MASKS)
def test_outlines_are_those_that_gdal_traces(mask: np.ndarray) -> None:
    labels, count = ndimage.label(mask)
    polygons = polygons_of(corners_of(labels, 0, 0))
    expected = traced_by_gdal(labels)
    assert len(polygons) == len(expected) == count
    assert shapely.is_valid(polygons).all()
    for number, polygon in enumerate(polygons, 1):
        assert shapely.equals(polygon, expected[number])
        assert polygon.area == (labels == number).sum()


@given(mask=MASKS, cut=st.integers(1, 11))
def test_corners_of_parts_add_up_to_those_of_the_whole(mask: np.ndarray, cut: int) -> None:
    labels, _ = ndimage.label(mask)
    parts = [corners_of(labels[:cut], 5, 7), corners_of(labels[cut:], 5 + cut, 7)]
    whole = corners_of(labels, 5, 7)
    total = added(*(
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("area", "row", "col", "weight")
    ))  # fmt: skip
    for name in ("area", "row", "col", "weight"):
        np.testing.assert_array_equal(getattr(total, name), getattr(whole, name))


def test_on_a_map_outer_rings_run_counter_clockwise_and_holes_clockwise() -> None:
    ring = np.ones((4, 5), np.int32)
    ring[1:3, 1:4] = 0
    polygon = shapely.transform(polygons_of(corners_of(ring, 0, 0)), lambda xy: xy * [1, -1])[0]
    assert polygon.exterior.is_ccw and not polygon.interiors[0].is_ccw
    assert shapely.get_num_coordinates(polygon) == 10  # corners only, each ring closed
