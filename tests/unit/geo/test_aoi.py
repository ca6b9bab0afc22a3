import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import mapping

from noise2map_core.geo.aoi import read_aoi
from noise2map_core.runtime.errors import ConfigError

SQUARE = [[15.0, 48.0], [15.1, 48.0], [15.1, 48.1], [15.0, 48.1], [15.0, 48.0]]
BOWTIE = [[15.0, 48.0], [15.1, 48.1], [15.1, 48.0], [15.0, 48.1], [15.0, 48.0]]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {}, "geometry": geometry}


def collection(*geometries: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": [feature(part) for part in geometries]}


def write(folder: Path, document: Any, name: str = "place.geojson") -> Path:
    path = folder / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def named_crs(name: str) -> dict[str, Any]:
    return {"crs": {"type": "name", "properties": {"name": name}}}


@pytest.mark.parametrize(
    "document",
    [
        polygon(SQUARE),
        feature(polygon(SQUARE)),
        collection(polygon(SQUARE)),
        collection(None, polygon(SQUARE)),
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
        polygon([[*point, 312.0] for point in SQUARE]),
        polygon(SQUARE) | named_crs("urn:ogc:def:crs:OGC:1.3:CRS84"),
        polygon(SQUARE) | named_crs("urn:ogc:def:crs:EPSG::4326"),
        polygon(SQUARE) | {"crs": None},
    ],
    ids=[
        "geometry", "feature", "collection", "collection with an empty feature", "multipolygon",
        "heights", "CRS84", "EPSG:4326", "null crs",
    ],
)  # fmt: skip
def test_an_area_may_be_written_in_many_ways(document: Any, tmp_path: Path) -> None:
    area = read_aoi(write(tmp_path, document))
    assert area.name == "place"
    assert not area.geometry.has_z
    assert area.geometry.equals(shapely.box(15.0, 48.0, 15.1, 48.1))


def test_what_geopandas_writes_is_read_as_it_reads_it(tmp_path: Path) -> None:
    parts = [shapely.box(0, 0, 1, 1), shapely.Point(3, 3).buffer(1), shapely.box(0.5, 0.5, 2, 2)]
    path = tmp_path / "parts.geojson"
    gpd.GeoDataFrame(geometry=parts, crs="EPSG:4326").to_file(path)
    assert read_aoi(path).geometry.symmetric_difference(shapely.union_all(parts)).area < 1e-9


def test_a_byte_order_mark_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "place.geojson"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(polygon(SQUARE)).encode())
    assert read_aoi(path).geometry.area > 0


@given(
    corners=st.lists(st.tuples(st.floats(-179, 170), st.floats(-89, 80)), min_size=1, max_size=4)
)
def test_any_boxes_come_back_as_their_union(
    corners: list[tuple[float, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    boxes = [shapely.box(x, y, x + 3, y + 2) for x, y in corners]
    path = write(tmp_path_factory.mktemp("area"), collection(*map(mapping, boxes)))
    read = read_aoi(path).geometry
    assert read.is_valid
    assert read.symmetric_difference(shapely.union_all(boxes)).area < 1e-6


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (polygon(BOWTIE), "not a valid polygon: Self-intersection"),
        (polygon(), "is empty"),
        (collection(), "is empty"),
        (feature(None), "is empty"),
        ({"type": "MultiPolygon", "coordinates": []}, "is empty"),
        (polygon([[15, 48], [15.1, 48.1], [15, 48]]), "not valid GeoJSON|not a valid polygon"),
        (polygon([[5e5, 5e6], [6e5, 5e6], [6e5, 6e6], [5e5, 5e6]]), "not in EPSG:4326"),
        (polygon([[179, 5], [181, 5], [181, 6], [179, 5]]), "crosses the antimeridian"),
        (polygon([[179, 5], [-179, 5], [-179, 6], [179, 6], [179, 5]]), "cut it there in two"),
        (polygon(SQUARE) | named_crs("EPSG:14326"), "CRS that is not known: .*EPSG:14326"),
        (polygon(SQUARE) | {"crs": "EPSG:3857"}, "CRS that is not known: EPSG:3857"),
        (polygon(SQUARE) | {"crs": {"type": "EPSG", "properties": {"code": 32633}}}, "32633"),
        (polygon(SQUARE) | {"crs": {"type": "link", "properties": {"href": "/a"}}}, "not known"),
        ({"type": "Point", "coordinates": [15, 48]}, "holds a Point; only polygons"),
        (collection({"type": "LineString", "coordinates": SQUARE}), "holds a LineString"),
        ({"hello": "world"}, "not GeoJSON: it has no 'type'"),
        ([1, 2], "not GeoJSON: it has no 'type'"),
        ({"type": "Polygon"}, "it has no 'coordinates'"),
        ({"type": "FeatureCollection"}, "it has no 'features'"),
        ({"type": "FeatureCollection", "features": 3}, "not valid GeoJSON"),
        ({"type": "FeatureCollection", "features": ["a"]}, "not valid GeoJSON"),
        (feature("POLYGON ((0 0, 1 0, 1 1, 0 0))"), "not valid GeoJSON"),
        (polygon([["a", "b"], ["c", "d"], ["e", "f"], ["a", "b"]]), "not valid GeoJSON"),
        (polygon([[15, 48], [float("inf"), 48], [15.1, 48.1], [15, 48]]), "not a finite number"),
    ],
)
def test_what_is_no_area_is_refused_in_one_line_that_names_it(
    document: Any, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path, document)
    with pytest.raises(ConfigError, match=said) as caught:
        read_aoi(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"\xff\xfe\x00", b"PK\x03\x04", b"<!DOCTYPE html>"]
)
def test_a_file_that_is_not_json_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "place.geojson"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"place\.geojson is not GeoJSON"):
        read_aoi(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_aoi(tmp_path / "none.geojson")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory.*it is a folder\.$"):
        read_aoi(tmp_path)


def test_an_area_of_very_many_corners_is_refused(tmp_path: Path) -> None:
    x = np.linspace(14.9, 15.1, 100_001)
    y = np.where(np.arange(len(x)) % 2, 45.2, 45.19)
    saw = [*np.column_stack([x, y]).tolist(), [15.1, 45.1], [14.9, 45.1], [14.9, 45.19]]
    path = tmp_path / "saw.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [saw]}))
    with pytest.raises(ConfigError, match=r"saw\.geojson has more than 100,000 corners\. Simplify"):
        read_aoi(path)


UTM_33 = "EPSG:32633"
FORMATS = {"geojson": "GeoJSON", "gpkg": "GPKG", "fgb": "FlatGeobuf", "shp": "ESRI Shapefile"}


def in_utm(*parts: shapely.Polygon, crs: str = UTM_33) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=list(parts), crs=crs)


def km2_apart(one: shapely.Geometry, other: shapely.Geometry) -> float:
    """Area of their difference in an equal-area projection."""
    both = gpd.GeoSeries([one, other], crs="EPSG:4326").to_crs("EPSG:6933")
    return float(both.iloc[0].symmetric_difference(both.iloc[1]).area) / 1e6


@pytest.mark.parametrize("ending", ["geojson", "parquet", "gpkg", "fgb", "shp"])
def test_polygons_of_any_format_and_crs_are_one_area_in_degrees(
    ending: str, tmp_path: Path
) -> None:
    parts = shapely.box(5e5, 53e5, 52e4, 531e4), shapely.box(515e3, 5305e3, 53e4, 5315e3)
    path = tmp_path / f"place.{ending}"
    if ending == "parquet":
        in_utm(*parts).to_parquet(path)
    else:
        in_utm(*parts).to_file(path, driver=FORMATS[ending])
    area = read_aoi(path)
    union = in_utm(shapely.union_all(parts).segmentize(100)).to_crs("EPSG:4326").geometry[0]
    assert area.name == "place"
    assert area.geometry.geom_type == "Polygon"
    assert km2_apart(area.geometry, union) < 1e-3


def test_an_area_in_metres_over_the_antimeridian_is_cut_there(tmp_path: Path) -> None:
    path = tmp_path / "fiji.gpkg"
    in_utm(shapely.box(10e4, 79e5, 26e4, 81e5), crs="EPSG:32701").to_file(path)
    area = read_aoi(path).geometry
    west, _, east, _ = area.bounds
    assert (west, east) == (-180, 180)
    assert len(area.geoms) == 2
    metres = gpd.GeoSeries([area], crs="EPSG:4326").to_crs("EPSG:32701")[0]
    assert metres.area == pytest.approx(16e4 * 2e5, rel=1e-4)


def test_of_a_geopackage_with_several_layers_the_layers_are_named(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for layer in ("fields", "woods"):
        in_utm(shapely.box(5e5, 53e5, 52e4, 531e4)).to_file(path, layer=layer)
    with pytest.raises(ConfigError, match=r"several layers: fields, woods\. Save the one"):
        read_aoi(path)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (in_utm(), "is empty"),
        (in_utm(shapely.Point(5e5, 53e5)), "holds a Point; only polygons"),
        (in_utm(shapely.box(-1e6, -1e6, 1e6, 1e6), crs="EPSG:3031"), "goes round a pole"),
        (in_utm(shapely.box(1e9, 1e9, 2e9, 2e9)), "no coordinates|outside longitude|is empty"),
        (in_utm(shapely.box(5e5, 53e5, 52e4, 531e4)).set_crs(None, allow_override=True), "none"),
        (pd.DataFrame({"a": [1]}), "cannot be read"),
    ],
)
def test_a_table_that_is_no_area_is_refused_in_one_line(
    frame: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "place.parquet"
    frame.to_parquet(path)
    with pytest.raises(ConfigError, match=said) as caught:
        read_aoi(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("15,48,15.1,48.1", shapely.box(15, 48, 15.1, 48.1)),
        (" -1.5, 50.25, 2e0, 51 ", shapely.box(-1.5, 50.25, 2, 51)),
        (
            "178.5,-18,-179,-16",
            shapely.MultiPolygon(
                [shapely.box(178.5, -18, 180, -16), shapely.box(-180, -18, -179, -16)]
            ),
        ),
        ("178,-18,-180,-16", shapely.box(178, -18, 180, -16)),
    ],
)
def test_an_area_may_be_a_box(text: str, box: shapely.Geometry) -> None:
    area = read_aoi(Path(text))
    assert area.geometry.equals(box)
    assert area.name == "_".join(["box", *text.replace(" ", "").split(",")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("15,48,15.1", "is not four numbers"),
        ("15,48,15.1,48.1,3", "is not four numbers"),
        ("15,,15.1,48.1", "is not four numbers"),
        ("15,48.1,15.1,48", "south above its north"),
        ("48,15,48.1,195", "outside longitude and latitude"),
        ("15,48,15,48.1", "is empty"),
        ("15,48,15.1,48", "is empty"),
        ("15.1,48,15,48.1", "more than half round the world, from 15.1 eastwards to 15"),
        ("-180,-10,180,10", "more than half round the world"),
        ("15,48,15.1,1e999", "outside longitude and latitude"),
    ],
)
def test_what_is_no_box_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_aoi(text)
    assert "west,south,east,north" in str(caught.value)
    assert "\n" not in str(caught.value)
