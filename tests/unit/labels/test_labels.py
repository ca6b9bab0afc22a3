import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from shapely import contains_xy

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.labels.layers import layer_from_json
from noise2map_core.labels.sources import LabelSource, open_labels
from noise2map_core.labels.survey import LabelSurvey
from noise2map_core.runtime.errors import AssetReadError, CatalogError, ConfigError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.labels import NoLabels, PolygonLabels, RasterLabels, class_name
from noise2map_core.testing.catalog import serve_catalog
from tests.raster_factories import CRS, frame, write_tif

BOX = frame(40, 50)
AOI = AreaOfInterest("area", BOX.geographic_extent.geom)
GRID = RegionGrid.covering(AOI, CRS, 10.0)
SEARCH = SearchConfig(catalog="unused", collection="unused")


TWO = ("2000/2000", "2001/2001")


def opened(config: Any, dates: tuple[str, ...] = TWO) -> LabelSource:
    source = open_labels(config, SEARCH, AOI, dates, GRID)
    assert source is not None
    return source


def change_of(config: Any, box: GeoBox = BOX) -> Any:
    return opened(config).read(box)["label_change"]


def test_values_of_a_raster_mean_what_the_settings_say_and_the_rest_nothing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 6, (40, 50)).astype(np.uint8)
    path = write_tif(tmp_path / "labels.tif", pixels, BOX, nodata=5)
    config = RasterLabels(path=str(path), changed=(2, 5), unchanged=(0, 1))
    labels = change_of(config)
    assert np.array_equal(labels == 1, np.isin(pixels, (2, 5)))
    assert np.array_equal(labels == 0, pixels <= 1)
    assert set(np.unique(labels)) == {0, 1, 255}


@pytest.mark.parametrize("nodata", [None, 0, 1, 255])
@pytest.mark.parametrize("changed", [1, 255])
@pytest.mark.parametrize("resolution", [10.0, 20.0])
def test_values_that_are_named_beat_nodata(
    tmp_path: Path, nodata: int | None, changed: int, resolution: float
) -> None:
    box = frame(40, 50, resolution=resolution)
    pixels = np.random.default_rng(1).choice(np.uint8([0, 1, 7, 255]), (40, 50))
    path = write_tif(tmp_path / "labels.tif", pixels, box, nodata=nodata)
    labels = change_of(RasterLabels(path=str(path), changed=(changed,)), box)
    assert np.array_equal(labels, np.select([pixels == 0, pixels == changed], [0, 1], 255))


def test_named_values_of_other_types_beat_nodata_and_masks_still_hide(tmp_path: Path) -> None:
    for dtype, values in (("int16", (-1, 3)), ("float32", (2.0, 3.0)), ("uint16", (65535, 3))):
        pixels = np.random.default_rng(2).choice(np.array([*values, 9], dtype), (40, 50))
        path = write_tif(tmp_path / f"{dtype}.tif", pixels, BOX, nodata=values[0])
        config = RasterLabels(path=str(path), changed=(int(values[0]),), unchanged=(3,))
        expected = np.select([pixels == values[0], pixels == 3], [1, 0], 255)
        assert np.array_equal(change_of(config), expected)
    path = write_tif(tmp_path / "masked.tif", np.ones((40, 50), np.uint8), BOX)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.indices((40, 50))[1] < 30)
    assert np.array_equal(change_of(RasterLabels(path=str(path)))[0], [1] * 30 + [255] * 20)


def test_labels_beside_the_raster_are_unknown(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "labels.tif", np.ones((40, 50), np.uint8), BOX)
    labels = change_of(RasterLabels(path=str(path)), BOX.pad(3))
    assert (labels == 1).sum() == 40 * 50 and (labels == 255).sum() == 46 * 56 - 40 * 50


def test_labels_of_another_grid_come_by_nearest_neighbour(tmp_path: Path) -> None:
    coarse = frame(20, 25, resolution=20.0)
    pixels = np.random.default_rng(0).integers(0, 2, (20, 25)).astype(np.uint8)
    path = write_tif(tmp_path / "labels.tif", pixels, coarse)
    labels = change_of(RasterLabels(path=str(path)))
    assert np.array_equal(labels, pixels.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize(
    ("name", "crs"),
    [("labels.geojson", "EPSG:4326"), ("labels.parquet", CRS), ("labels.gpkg", "EPSG:4326")],
)
def test_pixels_are_changed_whose_centre_lies_in_a_polygon(
    tmp_path: Path, name: str, crs: str
) -> None:
    shapes = shapely.buffer(shapely.points([(500_123, 4_999_841), (500_410, 4_999_700)]), [66, 47])
    frame_of = gpd.GeoDataFrame(geometry=shapes, crs=CRS).to_crs(crs)
    path = tmp_path / name
    frame_of.to_parquet(path) if name.endswith(".parquet") else frame_of.to_file(path)
    labels = change_of(PolygonLabels(path=str(path)))
    x, y = np.meshgrid(BOX.coordinates["x"].values, BOX.coordinates["y"].values)
    inside = contains_xy(shapely.union_all(shapes), x, y)
    assert inside.sum() > 100
    assert np.array_equal(labels, inside.astype(np.uint8))


def test_no_labels_are_no_source() -> None:
    assert open_labels(NoLabels(), SEARCH, AOI, TWO, GRID) is None


def far_polygons(path: Path) -> None:
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326").to_file(path)


def points(path: Path) -> None:
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:4326").to_file(path)


def text(path: Path) -> None:
    path.write_text("hello")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "does not exist"),
        (far_polygons, "no polygon in the region"),
        (points, "holds Point: polygons are needed"),
        (text, "cannot be read as polygons"),
    ],
)
def test_polygons_that_cannot_serve_are_named(tmp_path: Path, write: Any, message: str) -> None:
    path = tmp_path / "labels.geojson"
    write(path)
    with pytest.raises(ConfigError, match=rf"labels\.geojson.*{message}"):
        opened(PolygonLabels(path=str(path)))


def test_rasters_that_cannot_serve_are_named(tmp_path: Path, real_data: Path) -> None:
    with pytest.raises(AssetReadError, match=r"labels\.tif does not exist"):
        opened(RasterLabels(path=str(tmp_path / "labels.tif")))
    far = write_tif(tmp_path / "far.tif", np.ones((9, 9), np.uint8), frame(9, 9, y=ORIGIN_FAR))
    with pytest.raises(ConfigError, match=r"far\.tif do not cover area area"):
        opened(RasterLabels(path=str(far)))
    catalog = str(real_data / "stac" / "catalog.json")
    taizhou = AreaOfInterest("taizhou", shapely.box(119.85, 32.45, 119.95, 32.5))
    where = SearchConfig(catalog=catalog, collection="landsat-taizhou")
    with pytest.raises(CatalogError, match="no band 'buildings'"):
        open_labels(RasterLabels(asset="buildings"), where, taizhou, TWO, GRID)


ORIGIN_FAR = 5_500_000.0


def test_settings_name_exactly_one_source() -> None:
    for wrong in ({}, {"asset": "a", "path": "b"}, {"asset": "a", "changed": (0,)}):
        with pytest.raises(ValueError, match=r"either asset or path|cannot mean two things"):
            RasterLabels(**wrong)
    with pytest.raises(ValueError, match="classes of the dates are needed"):
        RasterLabels(path="a", task="segment")
    with pytest.raises(ValueError, match="task both needs the first date's labels"):
        PolygonLabels(path="a", task="both")
    with pytest.raises(ValueError, match="several classes need column"):
        PolygonLabels(path="a", classes=("road", "house"))


KINDS = ("road", "house", "road", "shed")


def land(path: Path, shift: float = 0.0) -> list[Any]:
    """Four polygons of three kinds that do not overlap, in geographic coordinates."""
    x0, y0 = BOX.affine @ (0, 0)
    shapes = [
        shapely.box(x0 + 100 * n + 13 + shift, y0 - 300, x0 + 100 * n + 71 + shift, y0 - 40)
        for n in range(4)
    ]
    frame = gpd.GeoDataFrame({"kind": KINDS}, geometry=shapes, crs=CRS)
    frame.to_crs("EPSG:4326").to_file(path)
    return shapes


def classes_of(shapes: list[Any], order: tuple[str, ...]) -> Any:
    """By an oracle: which pixel centres lie in the polygons of each class."""
    x, y = np.meshgrid(BOX.coordinates["x"].values, BOX.coordinates["y"].values)
    expected = np.zeros(BOX.shape, np.uint8)
    for shape, kind in zip(shapes, KINDS, strict=True):
        if kind in order:
            expected[contains_xy(shape, x, y)] = order.index(kind) + 1
    return expected


@pytest.mark.parametrize("order", [(), ("house", "road"), ("shed",)])
def test_a_property_names_the_class_of_a_polygon(tmp_path: Path, order: tuple[str, ...]) -> None:
    shapes = land(tmp_path / "land.geojson")
    config = PolygonLabels(
        path=str(tmp_path / "land.geojson"), task="segment", column="kind", classes=order
    )
    source = opened(config, ("2000/2000",))
    names = order or ("house", "road", "shed")
    table = [{"value": value, "name": name} for value, name in enumerate(("background", *names))]
    assert source.classes == {"segment": table}
    read = source.read(BOX)
    assert set(read) == {"label_segment"}
    assert np.array_equal(read["label_segment"], classes_of(shapes, names)[None])


@pytest.mark.parametrize("spelling", ["file://{}", "FILE://localhost{}", "file:{}"])
def test_labels_are_found_by_a_url_of_their_file(spelling: str, tmp_path: Path) -> None:
    shapes = land(tmp_path / "my land#1.geojson")
    url = spelling.format(quote(f"{tmp_path}/my land#1.geojson"))
    source = opened(PolygonLabels(path=url, task="segment", column="kind"), ("2000/2000",))
    expected = classes_of(shapes, ("house", "road", "shed"))
    assert np.array_equal(source.read(BOX)["label_segment"], expected[None])
    pixels = np.random.default_rng(0).integers(0, 2, (40, 50)).astype(np.uint8)
    write_tif(tmp_path / "a b.tif", pixels, BOX)
    labels = change_of(RasterLabels(path=spelling.format(quote(f"{tmp_path}/a b.tif"))))
    assert np.array_equal(labels, pixels)
    with pytest.raises(ConfigError, match="names no file of this machine"):
        change_of(RasterLabels(path="file://server/a.tif"))


def test_a_key_in_the_address_of_labels_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_text(json.dumps({"type": "Catalog", "links": []}))
    write_tif(tmp_path / "labels.tif", np.ones((40, 50), np.uint8), BOX)
    land(tmp_path / "land.geojson")
    with serve_catalog(tmp_path) as server:
        for name, kind in (("labels.tif", RasterLabels), ("land.geojson", PolygonLabels)):
            path = f"{server.url}/files/{name}?auth_token=CA.NA.RY"
            source = opened(kind(path=path))
            assert source.change is not None and source.read(BOX)["label_change"].any()
            kept = json.dumps(source.change.to_json())
            assert "RY" not in kept and f"/files/{name}" in kept


def test_change_is_where_two_sets_of_polygons_differ(tmp_path: Path) -> None:
    before, after = (land(tmp_path / f"{n}.geojson", shift) for n, shift in enumerate((0, 27)))
    config = PolygonLabels(
        path=str(tmp_path / "1.geojson"), before=str(tmp_path / "0.geojson"), task="both",
        column="kind",
    )  # fmt: skip
    source = opened(config)
    dates = [classes_of(shapes, ("house", "road", "shed")) for shapes in (before, after)]
    read = source.read(BOX)
    assert np.array_equal(read["label_segment"], np.stack(dates))
    assert np.array_equal(read["label_change"], dates[0] != dates[1])
    change_alone = opened(config.model_copy(update={"task": "change"})).read(BOX)
    assert list(change_alone) == ["label_change"]
    assert np.array_equal(change_alone["label_change"], read["label_change"])


def test_a_date_without_labels_is_unknown_and_so_is_its_change(tmp_path: Path) -> None:
    land(tmp_path / "land.geojson")
    after = PolygonLabels(path=str(tmp_path / "land.geojson"), task="segment")
    read = opened(after).read(BOX)["label_segment"]
    assert (read[0] == 255).all() and set(np.unique(read[1])) == {0, 1}
    rasters = []
    for n, values in enumerate(((3, 4, 9), (4, 4, 3))):
        pixels = np.repeat(np.asarray(values, np.uint8), (20, 20, 10))[None].repeat(40, axis=0)
        rasters.append(str(write_tif(tmp_path / f"{n}.tif", pixels, BOX)))
    config = RasterLabels(
        path=rasters[1], before=rasters[0], task="both", classes={"water": (3,), "land": (4,)}
    )
    read = opened(config).read(BOX)
    assert np.array_equal(read["label_segment"][:, 0, ::20], [[0, 1, 255], [1, 1, 0]])
    assert np.array_equal(read["label_change"][0, ::20], [1, 0, 255])


def label_catalog(folder: Path) -> SearchConfig:
    """Two label items, a year apart, each with a file of polygons; the second one's are moved."""
    catalog = pystac.Catalog("labels", "Label items")
    shape = shapely.geometry.mapping(AOI.geometry)
    when = [datetime(year, 6, 1, tzinfo=UTC) for year in (2000, 2001)]
    extent = pystac.Extent(
        pystac.SpatialExtent([list(AOI.geometry.bounds)]), pystac.TemporalExtent([when])
    )
    collection = pystac.Collection("land", "Land use", extent, license="CC0-1.0")
    for number, time in enumerate(when):
        land(folder / f"{number}.geojson", shift=27.0 * number)
        item = pystac.Item(f"land-{number}", shape, list(AOI.geometry.bounds), time, {})
        href = str(folder / f"{number}.geojson")
        item.add_asset("land", pystac.Asset(href, media_type=pystac.MediaType.GEOJSON))
        collection.add_item(item)
    catalog.add_child(collection)
    catalog.normalize_and_save(str(folder / "stac"), pystac.CatalogType.SELF_CONTAINED)
    return SearchConfig(catalog=str(folder / "stac" / "catalog.json"), collection="land")


def test_label_items_hold_the_polygons_of_their_date(tmp_path: Path) -> None:
    where = label_catalog(tmp_path)
    shared: Any = {"task": "both", "column": "kind"}
    config = PolygonLabels(asset="land", before="land", **shared)
    source = open_labels(config, where, AOI, TWO, GRID)
    files = [str(tmp_path / f"{number}.geojson") for number in range(2)]
    direct = opened(PolygonLabels(path=files[1], before=files[0], **shared))
    assert source is not None and source.classes == direct.classes
    read, expected = source.read(BOX), direct.read(BOX)
    assert expected["label_change"].any()
    assert all(np.array_equal(read[name], expected[name]) for name in expected)


def test_labels_of_change_need_two_dates(tmp_path: Path) -> None:
    land(tmp_path / "land.geojson")
    with pytest.raises(ConfigError, match=r"labels of change need two dates.*labels\.task"):
        opened(PolygonLabels(path=str(tmp_path / "land.geojson")), ("2000/2000",))


def test_a_property_that_there_is_not_is_named(tmp_path: Path) -> None:
    land(tmp_path / "land.geojson")
    config = PolygonLabels(path=str(tmp_path / "land.geojson"), column="use")
    with pytest.raises(ConfigError, match=r"no property 'use'; they have: kind"):
        opened(config.model_copy(update={"task": "segment"}))


def test_layers_are_opened_again_from_what_they_say_and_changed_files_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "land.geojson"
    land(path)
    layer = opened(PolygonLabels(path=str(path), task="segment", column="kind")).layers[0]
    again = layer_from_json(layer.to_json(), GRID)
    assert again is not None and np.array_equal(again.read(BOX), layer.read(BOX))
    land(path, shift=10)
    with pytest.raises(ConfigError, match="are not those that were ingested"):
        layer_from_json(layer.to_json(), GRID)


def land_of(path: Path, values: Any, **options: Any) -> list[Any]:
    """Polygons side by side with these values in the column `kind`."""
    x0, y0 = BOX.affine @ (0, 0)
    shapes = [
        shapely.box(x0 + 100 * n, y0 - 300, x0 + 100 * n + 70, y0) for n in range(len(values))
    ]
    gpd.GeoDataFrame({"kind": values}, geometry=shapes, crs=CRS).to_file(path, **options)
    return shapes


def at(labels: Any, shapes: list[Any]) -> list[int]:
    """Labels at the polygons' centres, then beside all of them."""
    places = [~BOX.affine @ (s.centroid.x, s.centroid.y) for s in shapes]
    return [int(labels[int(row), int(col)]) for col, row in places] + [int(labels[-1, -1])]


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.parquet"])
def test_polygons_without_a_class_are_not_labelled(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shapes = land_of(tmp_path / "land.gpkg", ["road", None, "house", "", " "])
    table = gpd.read_file(tmp_path / "land.gpkg")
    table.to_parquet(path) if name.endswith("parquet") else table.to_file(path)
    source = opened(PolygonLabels(path=str(path), task="segment", column="kind"), TWO[:1])
    assert [entry["name"] for entry in source.classes["segment"]] == ["background", "house", "road"]
    assert at(source.read(BOX)["label_segment"][0], shapes) == [2, 255, 1, 255, 255, 0]


@pytest.mark.parametrize(
    "values",
    [
        pd.array([1, None, 2, 1], dtype="Int64"), [1.0, None, 2.0, 1.0], ["1", None, "2", "1.0"],
        ["1 ", None, " 2", "1"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("classes", [(), ("1", "2"), ("1.0", "2")])
def test_a_number_is_one_class_however_it_is_written(
    tmp_path: Path, values: Any, classes: tuple[str, ...]
) -> None:
    shapes = land_of(tmp_path / "land.gpkg", values)
    config = PolygonLabels(
        path=str(tmp_path / "land.gpkg"), task="segment", column="kind", classes=classes
    )
    source = opened(config, TWO[:1])
    assert [entry["name"] for entry in source.classes["segment"]] == ["background", "1", "2"]
    assert at(source.read(BOX)["label_segment"][0], shapes) == [1, 255, 2, 1, 0]


@pytest.mark.parametrize(
    ("spellings", "name"),
    [([0.0, -0.0, 0, "0"], "0"), ([1e16, 10**16, "10000000000000000.0"], "10000000000000000")],
)
def test_zero_has_no_sign_and_a_large_number_no_exponent(spellings: list[Any], name: str) -> None:
    assert {class_name(value) for value in spellings} == {name}
    assert class_name(1.5) == "1.5" and class_name(float("inf")) == "inf"


def test_a_column_tells_what_is_changed_and_what_is_not(tmp_path: Path) -> None:
    shapes = land_of(tmp_path / "land.gpkg", ["cleared", "same", "built", None, "burnt"])
    shared: Any = {"path": str(tmp_path / "land.gpkg"), "column": "kind"}
    one = change_of(PolygonLabels(**shared, classes=("cleared",)))
    assert at(one, shapes) == [1, 0, 0, 255, 0, 0]
    two = opened(PolygonLabels(**shared, classes=("cleared", "built"), unchanged=("same",)))
    assert at(two.read(BOX)["label_change"], shapes) == [1, 0, 1, 255, 255, 255]
    assert two.passed_over == ["burnt"]
    assert [entry["name"] for entry in two.classes["change"]] == ["unchanged", "changed"]
    again = layer_from_json(json.loads(json.dumps(two.layers[0].to_json())), GRID)
    assert again is not None and np.array_equal(again.read(BOX), two.read(BOX)["label_change"])
    with pytest.raises(ConfigError, match=r"have built, burnt, cleared, same in kind\. Set labels"):
        opened(PolygonLabels(**shared))
    with pytest.raises(ConfigError, match="no property 'use'"):
        opened(PolygonLabels(path=shared["path"], column="use"))


def test_labels_of_a_layer_are_those_of_no_other(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    land_of(path, ["road"], layer="one")
    land_of(path, ["house", "road"], layer="two")
    config = PolygonLabels(path=str(path), task="segment", column="kind", layer="one")
    one = opened(config, TWO[:1])
    two = opened(config.model_copy(update={"layer": "two"}), TWO[:1])
    assert one.identity() != two.identity()
    assert [len(source.classes["segment"]) for source in (one, two)] == [2, 3]


def test_a_class_that_is_called_like_the_background_is_refused(tmp_path: Path) -> None:
    land_of(tmp_path / "land.gpkg", ["background", "road"])
    config = PolygonLabels(path=str(tmp_path / "land.gpkg"), task="segment", column="kind")
    with pytest.raises(ConfigError, match=r"Set labels\.background"):
        opened(config, TWO[:1])


def surveyed(config: Any) -> list[str]:
    source, survey = opened(config), LabelSurvey()
    everywhere = np.ones(BOX.shape, np.bool_)
    survey.add(source.read(BOX), everywhere)
    for values, nothing in source.unnamed(BOX):
        survey.add_unnamed(values, nothing)
    return survey.warnings(source)


def test_classes_without_a_pixel_and_values_without_a_meaning_are_said(tmp_path: Path) -> None:
    mask = (np.indices((40, 50))[1] < 9).astype(np.uint8)
    path = str(write_tif(tmp_path / "mask.tif", mask * 255, BOX))
    with pytest.raises(
        ConfigError, match=r"no pixel of class changed, but hold 255.*labels\.ignored"
    ):
        surveyed(RasterLabels(path=path))
    assert surveyed(RasterLabels(path=path, changed=(255,))) == []
    assert surveyed(RasterLabels(path=path, ignored=(255,))) == [
        "warning: labels: no pixel is of class changed"
    ]
    path = str(write_tif(tmp_path / "more.tif", mask + 7 * (mask == 0), BOX))
    assert surveyed(RasterLabels(path=path, unchanged=(1,), changed=(7,))) == []
    with pytest.raises(ConfigError, match=r"no pixel of class unchanged, but hold 7"):
        surveyed(RasterLabels(path=path))
    three = np.indices((40, 50))[1].astype(np.uint8) // 20
    path = str(write_tif(tmp_path / "three.tif", three, BOX))
    assert surveyed(RasterLabels(path=path)) == [
        "warning: labels: 2 has no meaning in the settings, and is not labelled"
    ]
    land_of(tmp_path / "land.gpkg", ["a", "b"])
    polygons = PolygonLabels(path=str(tmp_path / "land.gpkg"), column="kind", classes=("a",))
    assert surveyed(polygons) == [
        "warning: labels: polygons of b are of no class, and are passed over"
    ]


def test_before_without_two_dates_is_refused(tmp_path: Path) -> None:
    land(tmp_path / "land.geojson")
    path = str(tmp_path / "land.geojson")
    with pytest.raises(ConfigError, match=r"labels\.before is of the first of two dates"):
        opened(PolygonLabels(path=path, before=path, task="segment"), TWO[:1])


def test_boxes_have_dense_outlines() -> None:
    """A guard of the tests above: the area is the frame itself, to the pixel."""
    assert isinstance(BOX, GeoBox)
    assert (GRID.region.height, GRID.region.width) == BOX.shape
