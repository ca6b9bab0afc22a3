"""Vector tiles: where the polygons are, with all that they say, and the same every time."""

from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.writer import Writer

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.products.part_files import write_whole
from noise2map_core.products.vectors import tile_parts
from noise2map_core.products.vectors.pmtiles import Projected, in_degrees, write_tiles, zooms
from noise2map_core.products.vectors.polygon_files import GeoParquetFile
from noise2map_core.products.vectors.tile_parts import parts_of, squares_of
from noise2map_core.runtime.mapper import here
from tests.mappers import elsewhere, pickled

GRID = RegionGrid(
    "EPSG:32633", 10.0, 0.0, 0.0, 512, Window(-500_000, 50_000, 900, 700), shapely.Point(0, 0)
)


def table(count: int, crs: str = "EPSG:32633") -> gpd.GeoDataFrame:
    rng = np.random.default_rng(1)
    x, y = (10.0 * rng.integers(0, side, count) for side in (650, 850))
    side = 10.0 * rng.integers(2, 20, count)
    return gpd.GeoDataFrame(
        {
            "polygon_id": [f"1:{number}:{number}" for number in range(count)],
            "class": np.full(count, 1, np.uint8),
            "class_name": ['<b>"Äcker" & Wald/Wiese</b>'] * count,
            "area_m2": rng.random(count) * 1e5,
            "pixels": rng.integers(4, 1000, count),
            "after": pd.Series([datetime(2024, 5, 20, 10, 2, tzinfo=UTC)] * count),
            "seen": pd.Series([date(2024, 5, 20)] * count, dtype="date32[day][pyarrow]"),
            "hidden": pd.Series([b"1"] * count, dtype="binary[pyarrow]"),
        },
        geometry=shapely.box(500_000 + x, 5_000_000 - y - side, 500_000 + x + side, 5_000_000 - y),
        crs=crs,
    )


def written(folder: Path, polygons: gpd.GeoDataFrame, name: str = "polygons") -> Path:
    with GeoParquetFile(folder / f"{name}.parquet") as file:
        for start in range(0, len(polygons), 50):
            file.write(polygons.iloc[start : start + 50])
    path = folder / f"{name}.pmtiles"
    assert write_tiles(folder / f"{name}.parquet", path, GRID, title="a <b>")
    return path


def test_at_the_last_zoom_all_polygons_are_where_they_were_with_what_they_say(
    tmp_path: Path,
) -> None:
    polygons = table(120)
    path = written(tmp_path, polygons)
    assert path.read_bytes()[:8] == b"PMTiles\x03"
    about = pyogrio.read_info(path)
    assert about["layer_name"] == "polygons" and about["dataset_metadata"]["description"] == "a <b>"
    found = gpd.read_file(path).to_crs("EPSG:32633").dissolve("polygon_id")
    expected = polygons.set_index("polygon_id").loc[found.index]
    assert len(found) == 120
    for name in ("class", "class_name", "area_m2", "pixels"):
        assert found[name].tolist() == expected[name].tolist()
    assert set(found["after"]) == {"2024-05-20T10:02:00Z"}
    assert set(found["seen"]) == {"2024-05-20"} and "hidden" not in found
    apart = shapely.hausdorff_distance(found.geometry.to_numpy(), expected.geometry.to_numpy())
    assert apart.max() < 10


def test_equal_polygons_give_equal_bytes(tmp_path: Path) -> None:
    one, other = (written(tmp_path, table(120), name) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def tiles(path: Path) -> dict[tuple[int, int, int], bytes]:
    return dict(all_tiles(MemorySource(path.read_bytes())))


def by_gdal_at_once(folder: Path, polygons: gpd.GeoDataFrame, zoom: int) -> Path:
    """All tiles of a zoom in one go."""
    path = folder / "whole.pmtiles"
    plain = polygons.to_crs("EPSG:4326")[["polygon_id", "geometry"]]
    pyogrio.write_dataframe(plain, path, driver="PMTiles", layer="polygons", MINZOOM=zoom,
                            MAXZOOM=zoom, geometry_type="Unknown")  # fmt: skip
    return path


def test_tiles_made_by_parts_show_what_they_show_if_made_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_parts, "MOST_FROM_AFAR", 30)
    polygons, (_, last) = table(120), zooms(GRID)
    ours, whole = written(tmp_path, polygons), by_gdal_at_once(tmp_path, polygons, last)
    places = sorted(place for place in tiles(ours) if place[0] == last)
    assert places == sorted(tiles(whole)) and len(places) > 1
    found, wanted = (gpd.read_file(path).dissolve("polygon_id") for path in (ours, whole))
    assert found.index.tolist() == wanted.index.tolist()
    apart = shapely.symmetric_difference(found.geometry.to_numpy(), wanted.geometry.to_numpy())
    assert shapely.area(apart).max() <= 1e-4 * shapely.area(wanted.geometry.to_numpy()).max()


def test_from_afar_a_tile_has_the_largest_polygons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_parts, "MOST_FROM_AFAR", 30)
    polygons, (first, last) = table(120), zooms(GRID)
    path = written(tmp_path, polygons)
    assert {zoom for zoom, _, _ in tiles(path)} == set(range(first, last + 1))
    far = gpd.read_file(path, ZOOM_LEVEL=first)
    shown = polygons[polygons["polygon_id"].isin(far["polygon_id"])]
    left_out = polygons.drop(shown.index)
    assert 30 <= len(shown) < 120
    if len({place for place in tiles(path) if place[0] == first}) == 1:
        assert len(shown) == 30 and shown.area.min() >= left_out.area.max() * 0.999


@pytest.mark.parametrize(
    ("shared", "mapper"), [(False, pickled), (False, elsewhere), (True, pickled)]
)
def test_whoever_makes_the_parts_the_bytes_are_the_same_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool, mapper: Any
) -> None:
    monkeypatch.setattr(tile_parts, "MOST_FROM_AFAR", 30)
    one, other = written(tmp_path, table(120)), tmp_path / "other.pmtiles"
    assert write_tiles(
        tmp_path / "polygons.parquet", other, GRID, title="a <b>", mapper=mapper, shared=shared
    )
    assert one.read_bytes() == other.read_bytes()
    assert Reader(MemorySource(one.read_bytes())).header()["clustered"]


def test_parts_are_those_of_all_polygons_though_they_are_found_group_by_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_parts, "MOST_FROM_AFAR", 10)
    written(tmp_path, table(400))
    with TemporaryDirectory(prefix=".a.partial.") as folder:
        polygons = Projected(Path(folder), True, here)
        polygons.add(tmp_path / "polygons.parquet", 1e4)
        (low, high), boxes = zooms(GRID), np.concatenate([
            np.frombuffer((Path(folder) / f"{number}-boxes").read_bytes()).reshape(-1, 4)
            for number in range(8)
        ])  # fmt: skip
        monkeypatch.setattr(tile_parts, "MOST_AT_ONCE", 100)
        found = polygons.parts(low, high)
        assert len(squares_of(polygons.bounds, np.full(8, 50), high)) > 1
    wanted = [part for zoom in range(low, high + 1) for part in parts_of(boxes, zoom, high)]
    assert len(boxes) == 400 and len(found) == len(wanted)
    for (zoom, node, rows), (as_zoom, as_node, as_rows) in zip(found, wanted, strict=True):
        assert (zoom, node) == (as_zoom, as_node) and rows.tolist() == as_rows.tolist()


def test_a_file_of_parts_is_what_its_library_writes_of_all_tiles(tmp_path: Path) -> None:
    empty, town, wood = b"sea" * 9, b"town" * 50, b"wood" * 70
    parts = [([(5, town), (6, empty), (7, empty)], {"a": "Number"}),
             ([(8, empty), (11, wood)], {"b": "String"}), ([], {}),
             ([(12, town), (30, b"x" * 400)], {"a": "Number"})]  # fmt: skip
    boxes, (own, whole) = np.array([[7.0, 1.0, 9.0, 3.0]]), (tmp_path / "own", BytesIO())
    ours, theirs = (tile_parts.Archive(boxes, (1, 3)) for _ in range(2))
    theirs._writer.tile_f.close()
    theirs._writer = library = Writer(whole)
    for number, tiles_of_part in enumerate(parts):
        ours.add(tile_parts.KeptTiles.of(tiles_of_part, tmp_path, number))
        theirs._fields |= tiles_of_part[1]
        for place, body in tiles_of_part[0]:
            library.write_tile(place, body)
    theirs.head("p", "t")
    write_whole(own, ours.head("p", "t"), ours.runs, tmp_path, pickled)
    assert own.read_bytes() == whole.getvalue()


def test_without_polygons_there_is_no_file(tmp_path: Path) -> None:
    with GeoParquetFile(tmp_path / "none.parquet") as file:
        file.write(table(1).iloc[:0])
    assert not write_tiles(tmp_path / "none.parquet", tmp_path / "none.pmtiles", GRID)
    assert not (tmp_path / "none.pmtiles").exists()


def test_what_web_mercator_does_not_show_is_left_out() -> None:
    beyond, near = shapely.box(1e4, 1e4, 2e4, 2e4), shapely.box(9e5, 9e5, 9.1e5, 9.1e5)
    found = in_degrees(np.array([beyond, near]), "EPSG:3413", 1e4)
    assert shapely.is_empty(found).tolist() == [True, False]


def test_a_polygon_across_the_antimeridian_is_cut_there() -> None:
    across = shapely.box(300_000, 7_000_000, 400_000, 7_100_000)
    (found,) = in_degrees(np.array([across]), "EPSG:32601", 1e4)
    west, east = sorted(found.geoms, key=lambda part: part.bounds[0])
    assert west.bounds[0] == pytest.approx(-180) and west.bounds[2] < -178
    assert east.bounds[2] == pytest.approx(180) and east.bounds[0] > 178
    back = gpd.GeoSeries([found], crs="EPSG:4326").to_crs("EPSG:32601")
    assert back.area.sum() == pytest.approx(across.area, rel=1e-3)


@pytest.mark.parametrize(("resolution", "last"), [(0.5, 15), (10.0, 11), (30.0, 9), (1e4, 1)])
def test_the_last_zoom_is_finer_than_a_pixel_and_no_finer_than_need_be(
    resolution: float, last: int
) -> None:
    grid = RegionGrid(
        "EPSG:32633", resolution, 5e5, 5e6, 512, Window(0, 0, 100, 100), shapely.Point(0, 0)
    )
    first, found = zooms(grid)
    assert found == last and 0 <= first <= last
