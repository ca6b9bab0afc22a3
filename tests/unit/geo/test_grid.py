import math

import numpy as np
import pytest
import rasterio.transform
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import ChipLattice, RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.runtime.errors import ConfigError

CRS = "EPSG:32633"
INTO_LON_LAT = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)


def area_of(outline: BaseGeometry) -> AreaOfInterest:
    """An area given in the grid's CRS, its edges densified so that they stay straight."""

    def to_lon_lat(points: np.ndarray) -> np.ndarray:
        return np.stack(INTO_LON_LAT.transform(points[:, 0], points[:, 1]), axis=1)

    spacing = max(outline.length / 64, 1.0)
    dense = shapely.segmentize(outline, spacing)
    return AreaOfInterest("area", shapely.transform(dense, to_lon_lat))


@st.composite
def grids(draw: st.DrawFn) -> RegionGrid:
    """Grids over triangles and boxes of a few kilometres, on shifted lattices."""
    x, y = draw(st.floats(300_000, 700_000)), draw(st.floats(5_000_000, 5_600_000))
    width, height = draw(st.floats(50, 9_000)), draw(st.floats(50, 9_000))
    outline = draw(
        st.sampled_from(
            [
                shapely.box(x, y, x + width, y + height),
                shapely.Polygon([(x, y), (x + width, y), (x + width / 3, y + height)]),
            ]
        )
    )
    resolution = draw(st.sampled_from([0.5, 3.0, 10.0, 30.0]))
    assume(max(width, height) / resolution < 4_000)
    offsets = [draw(st.sampled_from([0.0, 0.25, 0.5])) * resolution for _ in range(2)]
    tile_px = draw(st.sampled_from([64, 256, 512]))
    return RegionGrid.covering(area_of(outline), CRS, resolution, *offsets, tile_px)


@given(grids())
def test_tiles_are_disjoint_and_cover_every_pixel_of_the_area(grid: RegionGrid) -> None:
    frame = grid.tile_frame
    count = np.zeros((frame.height // 8, frame.width // 8), dtype=np.int64)
    for tile in grid.tiles():
        rows, cols = grid.window(tile).slices_in(frame)
        count[rows.start // 8 : rows.stop // 8, cols.start // 8 : cols.stop // 8] += 1
    assert count.max() == 1
    transform = grid.transform(frame) @ rasterio.transform.Affine.scale(8)
    # Where the outline enters a pixel by less than the snapping tolerance, no tile is owed.
    core = grid.outline.buffer(-0.2 * grid.resolution)
    assume(not core.is_empty)
    inside = geometry_mask([core], count.shape, transform, all_touched=True, invert=True)
    assert (count[inside] == 1).all()


@given(grids())
def test_region_is_the_bounding_window_of_the_outline(grid: RegionGrid) -> None:
    west, south, east, north = grid.outline.bounds
    left, bottom, right, top = grid.bounds_polygon(grid.region).bounds
    tolerance = 0.1 * grid.resolution + 1e-6
    for slack in (west - left, right - east, south - bottom, top - north):
        assert -tolerance <= slack
    if grid.region.width > 1:
        assert max(west - left, right - east) <= grid.resolution
    if grid.region.height > 1:
        assert max(south - bottom, top - north) <= grid.resolution


@given(grids())
def test_tile_frame_is_whole_tiles_around_the_region(grid: RegionGrid) -> None:
    frame = grid.tile_frame
    assert frame.intersect(grid.region) == grid.region
    for edge in (frame.row, frame.col, frame.row_stop, frame.col_stop):
        assert edge % grid.tile_px == 0
    assert frame.grow(-grid.tile_px).intersect(grid.region) != grid.region
    rows, cols = grid.shape_tiles
    numbered = [grid.tile_at(index) for index in range(rows * cols)]
    assert len(set(numbered)) == rows * cols
    assert numbered == sorted(numbered)
    assert all(grid.window(tile).intersect(frame) == grid.window(tile) for tile in numbered)


@given(grids(), st.floats(-20_000, 20_000), st.floats(-20_000, 20_000))
def test_a_tile_means_the_same_place_for_every_area(
    grid: RegionGrid, east_m: float, north_m: float
) -> None:
    moved = shapely.transform(grid.outline, lambda points: np.add(points, (east_m, north_m)))
    other = RegionGrid.covering(
        area_of(moved), CRS, grid.resolution, grid.x_origin, grid.y_origin, grid.tile_px
    )
    for tile in [*list(grid.tiles())[:3], *list(other.tiles())[:3], Tile(-7, 4)]:
        assert grid.window(tile) == other.window(tile)
        assert grid.transform(grid.window(tile)) == other.transform(other.window(tile))


@given(grids(), st.integers(-10_000, 10_000), st.integers(-10_000, 10_000))
def test_geobox_and_polygon_lie_where_rasterio_puts_the_pixels(
    grid: RegionGrid, row: int, col: int
) -> None:
    window = Window(row, col, 5, 7)
    box, transform = grid.geobox(window), grid.transform(window)
    assert box.shape == (5, 7)
    assert str(box.crs) == grid.crs
    bounds = rasterio.transform.array_bounds(5, 7, transform)
    assert grid.bounds_polygon(window).bounds == pytest.approx(bounds)
    assert box.boundingbox.bbox == pytest.approx(bounds)
    assert transform.a == grid.resolution
    assert transform.e == -grid.resolution, "rows grow southwards"
    assert math.isclose((transform.c - grid.x_origin) / grid.resolution, col, abs_tol=1e-6)
    assert math.isclose((grid.y_origin - transform.f) / grid.resolution, row, abs_tol=1e-6)


@given(
    st.integers(-3_000, 3_000), st.integers(-3_000, 3_000), st.integers(1, 90),
    st.integers(1, 90), st.integers(1, 40), st.data(),
)  # fmt: skip
def test_chips_that_touch_a_window_cover_it_and_no_other_chip_touches_it(
    row: int, col: int, height: int, width: int, chip_px: int, data: st.DataObject
) -> None:
    stride_px = data.draw(st.integers(1, chip_px))
    lattice, window = ChipLattice(chip_px, stride_px), Window(row, col, height, width)
    chips = lattice.chips_touching(window)
    assert chips == sorted(set(chips))
    cover = lattice.cover(window)
    seen = np.zeros((cover.height, cover.width), dtype=bool)
    for chip in chips:
        assert chip.row % stride_px == chip.col % stride_px == 0
        assert (chip.height, chip.width) == (chip_px, chip_px)
        assert not chip.intersect(window).is_empty
        assert chip.intersect(cover) == chip
        seen[chip.slices_in(cover)] = True
    assert seen[window.slices_in(cover)].all()
    for outer in (chips[0], chips[-1]):
        step = -stride_px if outer is chips[0] else stride_px
        for down, right in ((step, 0), (0, step)):
            beyond = Window(outer.row + down, outer.col + right, chip_px, chip_px)
            assert beyond.intersect(window).is_empty


@given(st.integers(-50, 50), st.integers(-50, 50))
def test_neighbouring_windows_share_the_chips_between_them(row: int, col: int) -> None:
    lattice = ChipLattice(32, 16)
    left, right = Window(row * 64, col * 64, 64, 64), Window(row * 64, (col + 1) * 64, 64, 64)
    both = set(lattice.chips_touching(left)) & set(lattice.chips_touching(right))
    whole = lattice.chips_touching(left.union(right))
    assert both
    assert set(lattice.chips_touching(left)) | set(lattice.chips_touching(right)) == set(whole)


@pytest.mark.parametrize(("side_m", "tile_px"), [(2_000, 512), (40_950, 512), (40_960, 2048)])
def test_small_regions_have_small_tiles(side_m: float, tile_px: int) -> None:
    outline = shapely.box(500_000, 5_300_000, 500_000 + side_m, 5_300_000 + side_m)
    assert RegionGrid.covering(area_of(outline), CRS, 10.0).tile_px == tile_px


@pytest.mark.parametrize(("chip_px", "stride_px"), [(64, 32), (128, 64)])
def test_few_chips_of_a_large_region_are_predicted_twice(chip_px: int, stride_px: int) -> None:
    """Chips across the edges of tiles are; sizes are those of stores, strides the default."""
    region, lattice = Window(-500_032, 50_048, 20_000, 20_000), ChipLattice(chip_px, stride_px)
    grid = RegionGrid(CRS, 10.0, 0.0, 0.0, 2048, region, shapely.box(-1e8, -1e8, 1e8, 1e8))
    by_tile = (lattice.chips_touching(grid.window(t).intersect(region)) for t in grid.tiles())
    assert sum(map(len, by_tile)) <= 1.10 * len(lattice.chips_touching(region))


def test_an_area_smaller_than_a_pixel_is_refused_by_its_size() -> None:
    outline = shapely.box(500_001, 5_300_001, 500_002, 5_300_002)
    with pytest.raises(ConfigError, match=r"has 1 m², less than one pixel of 10 m"):
        RegionGrid.covering(area_of(outline), CRS, 10.0)


def test_tiles_far_from_a_slanted_outline_are_left_out() -> None:
    corner = 500_000.0, 5_300_000.0
    line = shapely.LineString([corner, (corner[0] + 20_000, corner[1] + 20_000)])
    grid = RegionGrid.covering(area_of(line.buffer(50)), CRS, 10.0, tile_px=256)
    rows, cols = grid.shape_tiles
    tiles = list(grid.tiles())
    assert len(tiles) < 0.5 * rows * cols
    assert all(grid.bounds_polygon(grid.window(tile)).intersects(grid.outline) for tile in tiles)


def test_an_area_that_the_crs_does_not_reach_is_refused() -> None:
    area = AreaOfInterest("far", shapely.box(-75.1, 0, -75.0, 0.1))
    with pytest.raises(ConfigError, match="area far lies where EPSG:32633 has no coordinates"):
        RegionGrid.covering(area, CRS, 10.0)


@pytest.mark.parametrize(("chip_px", "stride_px"), [(64, 32), (128, 64)])
def test_at_most_a_tenth_of_the_chips_of_a_large_region_is_predicted_twice(
    chip_px: int, stride_px: int
) -> None:
    region, lattice = Window(-1234, 5678, 20_000, 20_000), ChipLattice(chip_px, stride_px)
    grid = RegionGrid(CRS, 10.0, 0.0, 0.0, 2048, region, shapely.box(-1e8, -1e8, 1e8, 1e8))
    inside = (grid.window(tile).intersect(region) for tile in grid.tiles())
    predicted = sum(len(lattice.chips_touching(core)) for core in inside)
    assert 1 < predicted / len(lattice.chips_touching(region)) <= 1.1
