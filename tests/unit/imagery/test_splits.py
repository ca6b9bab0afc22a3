import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy.ndimage import distance_transform_cdt

from noise2map_core.errors import ConfigError
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.config import SplitConfig
from noise2map_core.imagery.splits import SplitWindow, gap_px, plan_splits

GRID = RegionGrid("EPSG:32633", 10.0, 3.0, 7.0, 512, Window(-100, 50, 100, 100), None)
BOXES = st.builds(
    Window, st.integers(0, 30), st.integers(0, 30), st.integers(1, 9), st.integers(1, 9)
)


def box(window: Window) -> tuple[float, float, float, float]:
    """Its edges in CRS units."""
    return GRID.bounds_polygon(window).bounds


@given(BOXES, BOXES)
def test_the_gap_is_the_distance_in_pixels_between_the_nearest(one: Window, other: Window) -> None:
    away = np.ones((40, 40), np.uint8)
    away[one.row : one.row_stop, one.col : one.col_stop] = 0
    distance = distance_transform_cdt(away, "chessboard")
    nearest = distance[other.row : other.row_stop, other.col : other.col_stop].min()
    assert gap_px(one, other) == max(nearest - 1, 0)


def test_a_box_holds_the_pixels_whose_centres_lie_inside_it_and_the_region() -> None:
    west, south, east, north = box(Window(-90, 60, 20, 30))
    boxes = ((west - 4.9, south + 4.9, east, north + 4.9), box(Window(-20, 60, 90, 90)))
    planned = plan_splits(SplitConfig(boxes={"train": boxes}), GRID)
    assert planned == [
        SplitWindow("train", Window(-90, 60, 20, 30)),
        SplitWindow("train", Window(-20, 60, 20, 90)),
    ]


def test_without_boxes_everything_is_for_training() -> None:
    assert plan_splits(SplitConfig(), GRID) == [SplitWindow("train", GRID.region)]


@pytest.mark.parametrize(("gap", "refused"), [(15, True), (16, False)])
def test_splits_nearer_than_the_buffer_are_refused(gap: int, refused: bool) -> None:
    train, val = Window(-100, 50, 100, 20), Window(-100, 70 + gap, 100, 20)
    config = SplitConfig(buffer_px=16, boxes={"train": (box(train),), "val": (box(val),)})
    if not refused:
        assert len(plan_splits(config, GRID)) == 2
        return
    with pytest.raises(ConfigError, match=r"train and val are 15 pixels apart.*buffer_px 16"):
        plan_splits(config, GRID)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [((0.0, 0.0, 9.0, 9.0), "outside the region"), ((9.0, 0.0, 0.0, 9.0), "is not .west, south")],
)
def test_a_box_of_nothing_is_refused(wrong: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_splits(SplitConfig(boxes={"train": (wrong,)}), GRID)  # type: ignore[dict-item]
