"""Files have the columns that their tables are said to have, of those types."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely

from noise2map_core.alert_products.bundle import write_alert_products
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.products.bundle import write_products
from noise2map_core.products.vectors.columns import ALERTS, POLYGONS, Table
from noise2map_core.settings.products import ProductsConfig
from tests.alert_product_factories import random_state, write_area
from tests.map_factories import blobs, subject_of, write_mosaic

SHAPE = (96, 96)
TYPES = {"integer": "Integer", "number": "Real", "text": "String"}
Columns = dict[str, str]


def kinds(table: Table) -> Columns:
    return {name: column.kind for name, column in table.items()}


def in_parquet(path: Path) -> Columns:
    return {
        field.name: _kind(field.type)
        for field in pq.read_schema(path)
        if field.name not in ("geometry", "bbox")
    }


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "time"
    if pa.types.is_date(kind):
        return "day"
    if pa.types.is_integer(kind):
        return "integer"
    return "number" if pa.types.is_floating(kind) else "text"


def in_package(path: Path, layer: str) -> Columns:
    about = pyogrio.read_info(path, layer=layer)
    kinds = {"OFTDateTime": "time", "OFTDate": "day", "OFTReal": "number", "OFTString": "text"}
    return {
        name: kinds.get(kind, "integer")
        for name, kind in zip(about["fields"], about["ogr_types"], strict=True)
    }


def in_tiles(path: Path) -> set[str]:
    return set(pyogrio.read_info(path)["fields"]) - {"mvt_id"}


def test_polygons_of_a_map_have_the_documented_columns(
    tmp_path: Path,
) -> None:
    (tmp_path / "map").mkdir()
    mosaic = write_mosaic(tmp_path / "map" / "mosaic.zarr", blobs(*SHAPE))
    write_products(mosaic, subject_of(tmp_path / "scenes", *SHAPE), ProductsConfig())
    others = ("from", "to", "date")  # of other kinds of maps
    expected = {name: kind for name, kind in kinds(POLYGONS).items() if name not in others}
    assert in_parquet(tmp_path / "map" / "polygons.parquet") == expected
    assert in_package(tmp_path / "map" / "polygons.gpkg", "polygons") == expected
    assert in_tiles(tmp_path / "map" / "polygons.pmtiles") == set(expected)


def test_alerts_have_the_documented_columns_in_all_files(tmp_path: Path) -> None:
    write_area(tmp_path / "farm", random_state(*SHAPE))
    area = AreaOfInterest("farm", shapely.box(14, 44, 16, 46))
    folder = write_alert_products(tmp_path / "farm", area, tmp_path / "farm" / "collection.json")
    columns = in_parquet(folder / "alerts.parquet")
    assert columns == kinds(ALERTS)
    assert in_package(folder / "alerts.gpkg", "alerts") == columns
    assert in_tiles(folder / "alerts.pmtiles") == set(columns)
