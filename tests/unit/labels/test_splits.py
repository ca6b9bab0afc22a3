import itertools
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import hypothesis.strategies as st
import numpy as np
import pytest
import shapely
from hypothesis import given
from scipy.ndimage import distance_transform_cdt

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.labels.splits import SplitWindow, find_too_near, gap_px, plan_splits
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.labels import BlockSplit, SplitConfig

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


SPLITS = ("train", "val", "test")


@given(st.integers(0, 99), st.integers(20, 60), st.integers(0, 19))
def test_blocks_of_different_splits_lie_a_buffer_apart_and_keep_their_split_in_a_larger_area(
    seed: int, side: int, buffer: int
) -> None:
    blocks = BlockSplit(side_px=side, fractions=dict.fromkeys(SPLITS, 1 / 3), seed=seed)
    config = SplitConfig(buffer_px=buffer, blocks=blocks)
    found = plan_splits(config, GRID)
    for one, other in itertools.combinations(found, 2):
        assert gap_px(one.window, other.window) >= (buffer if one.split != other.split else 0)
    painted = paint(found, GRID.region)
    wider = replace(GRID, region=GRID.region.grow(77))
    larger = paint(plan_splits(config, wider), wider.region)
    assert np.array_equal(larger[77:-77, 77:-77], painted)
    assert (painted > 0).mean() > (1 - buffer / side) ** 2 - 0.3


def paint(places: list[SplitWindow], region: Window) -> np.ndarray:
    """1, 2, 3 where a split is, 0 between them; no pixel is of two."""
    pixels = np.zeros((region.height, region.width), np.uint8)
    for place in places:
        here = place.window.slices_in(region)
        assert (pixels[here] == 0).all()
        pixels[here] = SPLITS.index(place.split) + 1
    return pixels


def test_fractions_of_blocks_are_kept_on_average() -> None:
    wide = replace(GRID, region=Window(0, 0, 3000, 3000))
    found = plan_splits(SplitConfig(buffer_px=0, blocks=BlockSplit(side_px=50)), wide)
    share = [sum(place.split == split for place in found) / len(found) for split in SPLITS]
    np.testing.assert_allclose(share, [0.7, 0.15, 0.15], atol=0.03)


@given(st.lists(st.tuples(BOXES, st.integers(0, 1)), min_size=2, max_size=6), st.integers(0, 12))
def test_chips_nearer_than_the_buffer_are_found(
    chips: list[tuple[Window, int]], buffer: int
) -> None:
    edges = np.asarray([box(window) for window, _ in chips])
    names = np.asarray(SPLITS)[[code for _, code in chips]]
    found = find_too_near(edges, names, np.zeros(len(chips), int), (buffer - 1e-3) * 10.0)
    near = {
        (a, b)
        for a, (one, split) in enumerate(chips)
        for b, (other, another) in enumerate(chips)
        if split != another and (gap_px(one, other) < buffer or _overlap(one, other))
    }
    assert (found in near) if near else found is None


def _overlap(one: Window, other: Window) -> bool:
    return not one.intersect(other).is_empty


def areas(folder: Path) -> dict[str, str]:
    """Two triangles, a file each, and both in one."""
    west, south, east, north = GRID.bounds_polygon(GRID.region).bounds
    triangles = {
        "train": shapely.Polygon([(west, north), (east, north), (west, south)]),
        "val": shapely.Polygon([(east, south), (east - 300, south), (east, south + 300)]),
    }
    for name, triangle in triangles.items():
        frame = gpd.GeoDataFrame({"split": [name]}, geometry=[triangle], crs=GRID.crs)
        frame.to_file(folder / f"{name}.geojson")
    both = gpd.GeoDataFrame(
        {"split": [*triangles, None]}, geometry=[*triangles.values(), triangles["val"]],
        crs=GRID.crs,
    )  # fmt: skip
    both.to_crs("EPSG:4326").to_parquet(folder / "both.parquet")
    return {name: str(folder / f"{name}.geojson") for name in triangles}


def test_areas_come_from_a_file_each_or_from_a_property(tmp_path: Path) -> None:
    paths = areas(tmp_path)
    by_file = plan_splits(SplitConfig(areas=paths), GRID)  # type: ignore[arg-type]
    by_column = plan_splits(SplitConfig(file=str(tmp_path / "both.parquet")), GRID)
    assert [place.split for place in by_file] == [place.split for place in by_column]
    for one, other in zip(by_file, by_column, strict=True):
        assert one.within is not None and other.within is not None
        assert one.within.symmetric_difference(other.within).area < 1.0
        assert one.window.grow(1).intersect(other.window) == other.window  # edges are rounded


def test_areas_that_cannot_serve_are_named(tmp_path: Path) -> None:
    areas(tmp_path)
    both = str(tmp_path / "both.parquet")
    with pytest.raises(ConfigError, match=r"both\.parquet has no property 'part'"):
        plan_splits(SplitConfig(file=both, column="part"), GRID)
    far = replace(GRID, region=Window(9000, 9000, 10, 10))
    with pytest.raises(ConfigError, match="split train lies outside the region"):
        plan_splits(SplitConfig(file=both), far)
    with pytest.raises(ValueError, match="boxes and file are two ways to split"):
        SplitConfig(boxes={"train": ((0, 0, 1, 1),)}, file=both)
