"""From the search to the mask: what an item says of its place does not decide what is read."""

import logging
import pickle
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from rasterio.features import geometry_mask
from stac_geoparquet.arrow import parse_stac_items_to_arrow

from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.search import search_scenes
from noise2map_core.chips.plan import plan_chips
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.turns import centre_of_grid
from noise2map_core.imagery.composite import order_scenes
from noise2map_core.imagery.pair_quality import _sun_deg
from noise2map_core.imagery.reader import read_mosaic
from noise2map_core.imagery.recipe import UNCHANGED
from noise2map_core.imagery.region import plan_grid
from noise2map_core.imagery.usable import usable_scenes
from noise2map_core.labels.splits import plan_splits
from noise2map_core.runtime.errors import AssetReadError, CatalogError, NoImageryError
from noise2map_core.settings.grid import GridConfig
from noise2map_core.settings.labels import SplitConfig
from tests.catalog_factories import catalog_of, item
from tests.raster_factories import frame, noise, write_tif

BOX = GeoBox((60, 300), Affine(300, 0, 180_000 - 45_000, 0, -300, 8_120_000), "EPSG:32701")
"""90 km across the antimeridian, by 18 km."""
WEST, SOUTH, EAST, NORTH = 179.60, -17.12, -179.62, -17.0
"""An area within the file, on both sides."""
AREA = AreaOfInterest(
    "fiji",
    shapely.MultiPolygon(
        [shapely.box(WEST, SOUTH, 180, NORTH), shapely.box(-180, SOUTH, EAST, NORTH)]
    ),
)
WIDE_WEST, WIDE_EAST, WIDE_SOUTH, WIDE_NORTH = 179.5, -179.5, -17.2, -16.9
SPELLINGS = {
    "two parts": shapely.MultiPolygon(
        [
            shapely.box(WIDE_WEST, WIDE_SOUTH, 180, WIDE_NORTH),
            shapely.box(-180, WIDE_SOUTH, WIDE_EAST, WIDE_NORTH),
        ]
    ),
    "beyond -180": shapely.box(WIDE_WEST - 360, WIDE_SOUTH, WIDE_EAST, WIDE_NORTH),
    "beyond 180": shapely.box(WIDE_WEST, WIDE_SOUTH, WIDE_EAST + 360, WIDE_NORTH),
    "jumping": shapely.box(WIDE_EAST, WIDE_SOUTH, WIDE_WEST, WIDE_NORTH),
    "far beyond": shapely.box(WIDE_WEST + 360, WIDE_SOUTH, WIDE_EAST + 720, WIDE_NORTH),
    "rough": shapely.box(179.9, -17.1, 179.95, -17.05),
    "not said": None,
}


def chips(dates: Sequence[Sequence[Scene]], area: AreaOfInterest = AREA) -> Any:
    grid = plan_grid(area, GridConfig(tile_px=64), [s for scenes in dates for s in scenes])
    places = plan_splits(SplitConfig(), grid)
    return grid, plan_chips(grid, ChipLattice(32, 32), places, dates, None)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_footprint_gives_one_mask(tmp_path: Path, spelling: str) -> None:
    path = write_tif(tmp_path / "a.tif", noise(*BOX.shape), BOX, nodata=0)
    search = catalog_of(tmp_path, item("a", path, SPELLINGS[spelling]))
    dates = usable_scenes([search_scenes(search, AREA, "2020", ["red"])], AREA)
    grid, table = chips(dates)
    window = grid.geobox(grid.region)
    _, valid, *_ = read_mosaic(dates[0], window)
    outline = Geometry(AREA.geometry, "EPSG:4326").to_crs(grid.crs, resolution="auto").geom
    inside = geometry_mask([outline], window.shape, window.affine, invert=True)
    assert grid.resolution == 300 and valid[inside].all()
    # every chip of 32 pixels that touches the area
    rows, cols = np.nonzero(inside)
    wanted = {
        ((row + grid.region.row) // 32 * 32, (col + grid.region.col) // 32 * 32)
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True)
    }
    assert wanted <= set(zip(table.row.tolist(), table.col.tolist(), strict=True))


def test_a_table_gives_what_static_files_give(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", noise(*BOX.shape), BOX, nodata=0)
    items = [item(name.replace(" ", "_"), path, place) for name, place in SPELLINGS.items()]
    items = [one for one in items if one["id"] != "rough"]
    search = catalog_of(tmp_path, *items)
    located = [one for one in items if one["geometry"] is not None]
    table = parse_stac_items_to_arrow(located).read_all()
    pq.write_table(table, tmp_path / "items.parquet")
    there = search.model_copy(update={"catalog": str(tmp_path / "items.parquet")})
    static, tabled = (search_scenes(one, AREA, "2020", ["red"]) for one in (search, there))
    assert {s.id for s in static} - {"not_said"} == {s.id for s in tabled} >= {"beyond_-180"}
    elsewhere = AreaOfInterest("elsewhere", shapely.box(10, -17.1, 10.1, -17))
    assert [s.id for s in search_scenes(there, elsewhere, "2020", ["red"])] == ["jumping"]
    with pytest.raises(NoImageryError, match=r"no file of .* shows area elsewhere"):
        usable_scenes([search_scenes(search, elsewhere, "2020", ["red"])], elsewhere)


def test_the_middle_of_an_area_across_the_antimeridian_is_there(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", noise(*BOX.shape), BOX, nodata=0)
    search = catalog_of(tmp_path, item("a", path, SPELLINGS["two parts"]))
    (scene,) = search_scenes(search, AREA, "2020", ["red"])
    grid = plan_grid(AREA, GridConfig(), [scene])
    longitude, latitude = centre_of_grid(grid.geobox(grid.region))
    assert abs(longitude) > 179.9 and latitude == pytest.approx(-17.06, abs=0.01)
    noon = replace(scene, datetime=datetime(2020, 6, 1, 22, 30, tzinfo=UTC))  # 10:30 there
    later = replace(scene, datetime=datetime(2020, 7, 1, 22, 30, tzinfo=UTC))
    apart = _sun_deg(noon, later, grid)
    assert apart is not None and apart < 10
    # 23:30 and, half an hour on, 00:30 UTC are one morning in Fiji, two days in Greenwich
    first = replace(scene, id="first", datetime=datetime(2020, 6, 1, 23, 30, tzinfo=UTC))
    second = replace(
        scene, id="second", datetime=datetime(2020, 6, 2, 0, 30, tzinfo=UTC), proj_code="EPSG:1"
    )
    first = replace(first, proj_code=grid.crs)
    ordered = order_scenes([second, first], UNCHANGED, grid.geobox(grid.region))
    assert [one.id for one in ordered] == ["first", "second"]


def test_a_footprint_with_its_axes_swapped_is_found_by_the_grid_that_the_item_states(
    tmp_path: Path,
) -> None:
    path = write_tif(tmp_path / "a.tif", noise(*BOX.shape), BOX, nodata=0)
    swapped = shapely.transform(SPELLINGS["two parts"], lambda xy: xy[:, ::-1] / 2)
    stated = {
        "proj:code": "EPSG:32701", "proj:shape": list(BOX.shape),
        "proj:transform": list(BOX.affine)[:6],
    }  # fmt: skip
    search = catalog_of(tmp_path, item("a", path, swapped, **stated))
    (scenes,) = usable_scenes([search_scenes(search, AREA, "2020", ["red"])], AREA)
    assert shapely.from_wkb(scenes[0].footprint_wkb).intersects(AREA.geometry)
    nonsense = catalog_of(tmp_path / "b", item("a", path, swapped, **{**stated, "proj:code": 7}))
    with pytest.raises(CatalogError, match="lies outside collection"):
        search_scenes(nonsense, AREA, "2020", ["red"])


def square(folder: Path, name: str, dtype: str = "uint8", **changes: Any) -> dict[str, Any]:
    box = frame(40, 40)
    path = write_tif(folder / f"{name}.tif", noise(40, 40, dtype), box, nodata=0)
    return item(name, path, box.geographic_extent.geom) | changes


HERE = AreaOfInterest("here", frame(40, 40).geographic_extent.geom)


def found(folder: Path, *items: dict[str, Any], bands: Sequence[str] = ("red",)) -> list[str]:
    scenes = search_scenes(catalog_of(folder, *items), HERE, "2020", bands)
    return [scene.id for scene in usable_scenes([scenes], HERE)[0]]


def test_a_scene_whose_file_is_gone_is_left_out_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = square(tmp_path, "gone", assets={"red": {"href": str(tmp_path / "none.tif")}})
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path, square(tmp_path, "good"), gone) == ["good"]
    assert "item gone is left out" in caplog.text and "does not exist" in caplog.text


def test_a_scene_of_another_type_is_left_out_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [square(tmp_path, "a"), square(tmp_path, "b"), square(tmp_path, "f", "float32")]
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path, *items) == ["a", "b"]
    assert "item f is left out: its numbers are float32, those of most scenes uint8" in caplog.text


def test_a_scene_of_which_a_later_band_is_gone_or_of_another_type_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [square(tmp_path, name) for name in ("a", "b", "gone", "mixed")]
    for one in items:
        one["assets"]["nir"] = one["assets"]["red"]
    items[2]["assets"]["nir"] = {"href": str(tmp_path / "none.tif")}
    items[3]["assets"]["nir"] = square(tmp_path, "f", "float32")["assets"]["red"]
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path, *items, bands=("red", "nir")) == ["a", "b"]
    assert "item gone is left out" in caplog.text
    assert "item mixed is left out: its numbers are float32, those of most" in caplog.text


def test_an_item_that_lacks_a_band_is_left_out_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = square(tmp_path, "both")
    both["assets"]["nir"] = both["assets"]["red"]
    lacking = square(tmp_path, "lacking")
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path, both, lacking, bands=("red", "nir")) == ["both"]
    assert "left out: item lacking has no band 'nir'" in caplog.text
    with pytest.raises(CatalogError, match="item lacking has no band 'nir'"):
        found(tmp_path / "alone", lacking, bands=("red", "nir"))


def test_a_date_that_would_have_no_scene_left_is_an_error(tmp_path: Path) -> None:
    gone = square(tmp_path, "gone", assets={"red": {"href": str(tmp_path / "none.tif")}})
    with pytest.raises(AssetReadError, match=r"none\.tif does not exist"):
        found(tmp_path, gone)


def test_a_broken_footprint_matters_only_where_the_filter_asks_for_the_item(
    tmp_path: Path,
) -> None:
    bad = square(tmp_path, "bad", geometry={"type": "Polygon", "coordinates": "x"})
    search = catalog_of(tmp_path, square(tmp_path, "good"), bad, filter="id <> 'bad'")
    assert [s.id for s in search_scenes(search, HERE, "2020", ["red"])] == ["good"]
    with pytest.raises(CatalogError, match="item bad: it has no usable geometry"):
        search_scenes(search.model_copy(update={"filter": None}), HERE, "2020", ["red"])


LOCAL = 'LOCAL_CS["arbitrary",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
MOON = 'GEOGCS["Moon 2000",DATUM["D_Moon_2000",SPHEROID["Moon_2000_IAU_IAG",1737400,0]],PRIMEM["Reference_Meridian",0],UNIT["degree",0.0174532925199433]]'  # noqa: E501


@pytest.mark.parametrize("crs", [LOCAL, MOON])
def test_a_crs_without_a_place_on_the_globe_is_named(tmp_path: Path, crs: str) -> None:
    document = square(tmp_path, "a")
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.crs = rasterio.CRS.from_wkt(crs)
    with pytest.raises(AssetReadError, match=r"a\.tif has a CRS of its own .* no place on the"):
        found(tmp_path, document)


def test_a_missing_file_is_known_as_such_behind_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(AssetReadError("asset a.tif does not exist", missing=True)))
    assert error.missing and str(error) == "asset a.tif does not exist"
