import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.geo.window import Window

SIDE = 24


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Windows of at least one pixel within a square of SIDE pixels."""
    row, col = (draw(st.integers(0, SIDE - 1)) for _ in range(2))
    height, width = draw(st.integers(1, SIDE - row)), draw(st.integers(1, SIDE - col))
    return Window(row, col, height, width)


def mask(window: Window) -> np.ndarray:
    """The window's pixels in the square, by its definition."""
    row, col = np.mgrid[0:SIDE, 0:SIDE]
    in_rows = (row >= window.row) & (row < window.row + window.height)
    return in_rows & (col >= window.col) & (col < window.col + window.width)


@given(windows(), windows())
def test_intersection_holds_the_pixels_of_both(one: Window, other: Window) -> None:
    shared = one.intersect(other)
    assert np.array_equal(mask(shared), mask(one) & mask(other))
    assert shared.is_empty == (not (mask(one) & mask(other)).any())


@given(windows(), windows())
def test_union_is_the_smallest_window_that_holds_both(one: Window, other: Window) -> None:
    union = one.union(other)
    both = mask(one) | mask(other)
    assert mask(union)[both].all()
    rows, cols = np.flatnonzero(both.any(axis=1)), np.flatnonzero(both.any(axis=0))
    assert (union.row, union.row_stop) == (rows[0], rows[-1] + 1)
    assert (union.col, union.col_stop) == (cols[0], cols[-1] + 1)


@given(windows(), st.integers(0, 9))
def test_growing_adds_pixels_on_every_side(window: Window, halo: int) -> None:
    grown = window.grow(halo)
    assert (grown.row, grown.col) == (window.row - halo, window.col - halo)
    assert (grown.row_stop, grown.col_stop) == (window.row_stop + halo, window.col_stop + halo)
    assert grown.grow(-halo) == window


@given(windows(), windows())
def test_slices_cut_the_window_out_of_its_frame(one: Window, other: Window) -> None:
    frame = one.union(other)
    numbers = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    framed = numbers[mask(frame)].reshape(frame.height, frame.width)
    assert np.array_equal(framed[one.slices_in(frame)].ravel(), numbers[mask(one)])
