"""Files of polygons open nothing but themselves, and give what GDAL reads of them."""

import json
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely

from noise2map_core.assessment.sampling import open_map
from noise2map_core.catalog.scene import BandSource
from noise2map_core.datasets.images import inspect_image
from noise2map_core.geo.vectors import read_table, vectors_digest
from noise2map_core.labels.vectors import read_vectors
from noise2map_core.rasters.files import inspect
from noise2map_core.runtime.errors import AssetReadError, ConfigError
from tests import hostile
from tests.hostile import Hostile
from tests.raster_factories import CRS, frame, write_tif

CANARY = "canary-of-a-local-file"
UTM = "EPSG:32633"
SQUARES = [shapely.box(x, 5_000_000, x + 60, 5_000_040) for x in (500_000, 500_100, 500_200)]


def table(crs: str = UTM) -> gpd.GeoDataFrame:
    holed = SQUARES[1].difference(SQUARES[1].buffer(-10))
    columns = {"kind": ["road", None, "Wald"], "number": [1, 2, 3], "share": [0.5, np.nan, 2.0]}
    shapes = [SQUARES[0], holed, shapely.MultiPolygon([SQUARES[2], SQUARES[0]])]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=UTM).to_crs(crs)


FORMATS: dict[str, Callable[[Path], None]] = {
    "a.geojson": lambda path: table("EPSG:4326").to_file(path),
    "utm.geojson": lambda path: table().to_file(path, driver="GeoJSON"),
    "a.gpkg": lambda path: table().to_file(path),
    "named.gpkg": lambda path: table().to_file(path, layer='the "fields" of 2020'),
    "a.fgb": lambda path: table().to_file(path, driver="FlatGeobuf"),
    "a.shp": lambda path: table().to_file(path),
    "a.parquet": lambda path: table().to_parquet(path),
    "own.gpkg": lambda path: table(
        "+proj=laea +lat_0=45 +lon_0=15 +x_0=1 +y_0=2 +datum=WGS84 +units=m"
    ).to_file(path),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_gives_the_polygons_and_columns_that_gdal_reads(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FORMATS[name](path)
    read = gpd.read_parquet(path) if name.endswith("parquet") else gpd.read_file(path)
    found = read_table(path)
    assert found.crs.equals(read.crs, ignore_axis_order=True)
    one, other = (
        {tuple(map(str, row[:3])): shape for *row, shape in frame[[*table().columns]].values}
        for frame in (found.astype({"number": int}), read.astype({"number": int}))
    )
    assert [tuple(str(v).replace("None", "nan") for v in key) for key in sorted(one)] == [
        tuple(str(v).replace("None", "nan") for v in key) for key in sorted(other)
    ]
    for mine, theirs in zip(found.geometry, read.geometry, strict=True):
        assert shapely.normalize(mine).equals_exact(shapely.normalize(theirs), 1e-9)


def test_text_of_any_script_comes_back(tmp_path: Path) -> None:
    for name in ("a.gpkg", "a.geojson", "a.fgb", "a.shp"):
        named = gpd.GeoDataFrame({"kind": ["Zürich", "東京", "ok"]}, geometry=SQUARES, crs=UTM)
        named.to_file(tmp_path / name)
        assert sorted(read_table(tmp_path / name)["kind"]) == ["Zürich", "ok", "東京"]


@pytest.fixture
def inside() -> Iterator[Hostile]:
    with hostile.serve("127.0.0.2") as server:
        yield server


@pytest.fixture
def web() -> Iterator[Hostile]:
    with hostile.serve() as server:
        yield server


def sqlite(path: Path, *statements: str, forged: str = "") -> bytes:
    """A database; `forged` is what its schema says that a table `leak` is."""
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
        if forged:
            database.execute("PRAGMA writable_schema = ON")
            database.execute(
                "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) "
                "VALUES ('table', 'leak', 'leak', 0, ?)", (forged,),
            )  # fmt: skip
    database.close()
    return path.read_bytes()


def package(path: Path, forged: str = "", *, view: str = "") -> bytes:
    """A GeoPackage whose layer is a virtual table, or a view."""
    table().to_file(path, layer="good")
    listed = [
        f"UPDATE {name} SET table_name = 'leak' WHERE table_name = 'good'"
        for name in ("gpkg_contents", "gpkg_geometry_columns")
    ]
    body = sqlite(path, "PRAGMA foreign_keys = OFF", *listed, *([view] if view else []))
    return sqlite(path, forged=forged) if forged else body


def document(**members: Any) -> bytes:
    feature = {
        "type": "Feature",
        "properties": {"name": "x"},
        "geometry": shapely.geometry.mapping(shapely.box(14.99, 45.1, 15.01, 45.2)),
    }
    return json.dumps({"type": "FeatureCollection", "features": [feature], **members}).encode()


def attacks(folder: Path, port: str) -> dict[str, bytes]:
    """Files that name the secret one, and an internal address; {place} is either."""
    secret = folder / "secret.gpkg"
    gpd.GeoDataFrame({"name": [CANARY]}, geometry=SQUARES[:1], crs=UTM).to_file(secret)
    found: dict[str, bytes] = {}
    for place in (str(secret), f"http://127.0.0.2:{port}/latest/meta-data"):
        scratch = folder / "made"

        def made(*statements: str, forged: str = "", path: Path = scratch) -> bytes:
            path.unlink(missing_ok=True)
            return sqlite(path, *statements, forged=forged)

        def packed(forged: str = "", view: str = "", path: Path = folder / "made.gpkg") -> bytes:
            path.unlink(missing_ok=True)
            return package(path, forged, view=view)

        vrt = (
            f"<OGRVRTDataSource><OGRVRTLayer name='secret'><SrcDataSource>{place}</SrcDataSource>"
            "</OGRVRTLayer></OGRVRTDataSource>"
        ).encode()
        ogr = f"CREATE VIRTUAL TABLE leak USING VirtualOGR('{place}')"
        found |= {
            f"{case} to {place[:4]}": body
            for case, body in {
                "gdalg": json.dumps(
                    {"type": "gdal_streamed_alg", "command_line": f"gdal vector read {place}"}
                ).encode(),
                "vrt": vrt,
                "vrt behind a brace": b"{" + vrt,
                "vrt behind the mark of FlatGeobuf": b"fgb\x03fgb\x01" + vrt,
                "sqlite with VirtualOGR": made(forged=ogr),
                "sqlite with VirtualText": made(
                    forged=f"CREATE VIRTUAL TABLE leak USING VirtualText('{place}', utf8)"
                ),
                "package with VirtualOGR": packed(ogr),
                "package with VirtualShape": packed(
                    f"CREATE VIRTUAL TABLE leak USING VirtualShape('{place}', utf8, 4326)"
                ),
                "package with a view": packed(view=(
                    f"CREATE VIEW leak AS SELECT gdal_get_pixel_value('{place}', 1, 'pixel', 0, 0)"
                )),
                "link to a crs": document(
                    crs={"type": "link", "properties": {"href": place, "type": "proj4"}}
                ),
                "crs at an address": document(crs={"type": "name", "properties": {"name": place}}),
                "crs with a grid": document(
                    crs={"type": "name", "properties": {"name": f"+proj=longlat +nadgrids={place}"}}
                ),
                "crs of a file": document(
                    crs={"type": "name", "properties": {"name": f"+init={place}:1"}}
                ),
                "esri json": json.dumps(
                    {"displayFieldName": "", "geometryType": "esriGeometryPolygon", "url": place}
                ).encode(),
                "feature service": b'{"features": "' + place.encode() + b'"}',
            }.items()
        }  # fmt: skip
    return found


def test_files_of_the_web_open_no_other_file_and_no_address(
    tmp_path: Path, web: Hostile, inside: Hostile
) -> None:
    cases = attacks(tmp_path, inside.url.rpartition(":")[2])
    assert len(cases) == 30
    for number, (case, body) in enumerate(cases.items()):
        address = f"{web.url}/{number}.gpkg"
        web.answers[f"/{number}.gpkg"] = hostile.answer(body)
        for path in (address, str(tmp_path / f"{number}.gpkg")):
            (tmp_path / f"{number}.gpkg").write_bytes(body)
            with pytest.raises(ConfigError) as refused:
                read_vectors(path, UTM, "labels.path")
            assert CANARY not in str(refused.value), case
    assert inside.requests == []


@pytest.mark.parametrize("place", ["/etc/passwd", "/vsicurl/http://127.0.0.2:{port}/x.tif"])
def test_a_raster_that_names_another_for_its_overviews_is_refused(
    tmp_path: Path, inside: Hostile, place: str
) -> None:
    place = place.replace("{port}", inside.url.rpartition(":")[2])
    path = write_tif(tmp_path / "evil.tif", np.ones((80, 80), np.uint8), frame(80, 80))
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=place)
    with pytest.raises(AssetReadError, match="names another file for its overviews"):
        inspect(BandSource("b", str(path), 1, None, None))
    with pytest.raises(AssetReadError, match="names another file for its overviews"):
        inspect_image(path)
    with pytest.raises(AssetReadError, match="names another file"), open_map(path):
        pass
    assert inside.requests == []


def test_a_raster_whose_crs_names_a_file_is_refused(tmp_path: Path) -> None:
    crs = rasterio.CRS.from_string("+proj=utm +zone=33 +ellps=bessel +nadgrids=/etc/passwd")
    path = tmp_path / "evil.tif"
    write_tif(path, np.ones((8, 8), np.uint8), frame(8, 8))
    with rasterio.open(path, "r+") as file:
        file.crs = crs
    with pytest.raises(AssetReadError, match="names a file"):
        inspect(BandSource("b", str(path), 1, None, None))


def test_a_map_of_another_format_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "map.vrt"
    path.write_text("<VRTDataset rasterXSize='1' rasterYSize='1'/>")
    with pytest.raises(AssetReadError, match=r"map\.vrt cannot be read"), open_map(path):
        pass


def test_of_several_layers_one_is_to_be_named(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    table().iloc[:1].to_file(path, layer="outline")
    table().to_file(path, layer="labels")
    with pytest.raises(ConfigError, match=r"several layers: labels, outline"):
        read_vectors(str(path), UTM, "labels.path")
    with pytest.raises(ConfigError, match=r"no layer 'other'.*labels, outline"):
        read_vectors(str(path), UTM, "labels.path", "other")
    one, two = (read_vectors(str(path), UTM, "x", name) for name in ("outline", "labels"))
    assert (len(one.frame), len(two.frame)) == (1, 3) and one.digest != two.digest
    table().to_file(tmp_path / "a.geojson", driver="GeoJSON")
    with pytest.raises(ConfigError, match="only a GeoPackage has layers"):
        read_vectors(str(tmp_path / "a.geojson"), UTM, "labels.path", "labels")


@pytest.mark.parametrize("part", [".dbf", ".shx", ".prj", ".cpg", ".shp"])
def test_every_part_of_a_shapefile_is_in_its_digest(tmp_path: Path, part: str) -> None:
    path = tmp_path / "a.shp"
    table().to_file(path)
    before = vectors_digest(path)
    assert vectors_digest(path) == before
    side = path.with_suffix(part)
    side.write_bytes(side.read_bytes() + b" ")
    assert vectors_digest(path) != before
    path.with_suffix(".qix").write_bytes(b"an index")
    side.write_bytes(side.read_bytes()[:-1])
    assert vectors_digest(path) == before


def test_edits_that_wait_in_a_geopackages_log_are_read_and_count(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    table().to_file(path, layer="a")
    before = read_vectors(str(path), UTM, "labels.path").digest
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    triggers = writer.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in triggers:  # they call functions of GDAL's
        writer.execute(f'DROP TRIGGER "{name}"')
    writer.execute("UPDATE a SET kind = 'rail' WHERE kind = 'road'")
    writer.commit()
    read = read_vectors(str(path), UTM, "labels.path")
    assert "rail" in set(read.frame["kind"]) and read.digest != before
    writer.close()


NO_GEOMETRY = {
    "a.csv": (b"kind,x\nroad,1\n", "is not GeoJSON"),
    "a.json": (b'{"kind": "road"}', "not GeoJSON features"),
    "a.topojson": (b'{"type": "Topology", "objects": {}}', "not GeoJSON features"),
    "empty.geojson": (b"", "is not GeoJSON"),
    "cut.geojson": (document()[:-9], "cannot be read"),
    "naive.geojson": (document(crs=None), "crs"),
}


@pytest.mark.parametrize("name", NO_GEOMETRY)
def test_what_holds_no_geometry_is_named(tmp_path: Path, name: str) -> None:
    body, message = NO_GEOMETRY[name]
    (tmp_path / name).write_bytes(body)
    with pytest.raises(ConfigError, match=message):
        read_vectors(str(tmp_path / name), CRS, "labels.path")


def test_tables_without_geometry_are_named(tmp_path: Path) -> None:
    columns = table().drop(columns="geometry")
    columns.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"a\.parquet cannot be read as polygons"):
        read_vectors(str(tmp_path / "a.parquet"), CRS, "labels.path")
    table().to_file(tmp_path / "a.gpkg")
    sqlite(tmp_path / "a.gpkg", "UPDATE gpkg_contents SET data_type = 'attributes'")
    with pytest.raises(ConfigError, match="no layer with geometries"):
        read_vectors(str(tmp_path / "a.gpkg"), CRS, "labels.path")


def swollen(path: Path, change: str) -> Path:
    """A GeoPackage of three rows, changed."""
    table().to_file(path, layer="fields")
    with closing(sqlite3.connect(path)) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute(change)
        database.commit()
    return path


def test_a_column_that_is_computed_is_refused_before_it_is(tmp_path: Path) -> None:
    long = "ALTER TABLE fields ADD COLUMN big AS (printf('%.*c', 900000000, 'x'))"
    with pytest.raises(ValueError, match="column big is computed, and is not read"):
        read_table(swollen(tmp_path / "a.gpkg", long))


def test_a_default_may_fill_rows_but_not_swell_a_file_without_end(tmp_path: Path) -> None:
    short = "ALTER TABLE fields ADD COLUMN state TEXT DEFAULT 'unknown'"
    assert list(read_table(swollen(tmp_path / "a.gpkg", short))["state"]) == ["unknown"] * 3
    more = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99) "
    path = swollen(
        tmp_path / "b.gpkg", f"{more} INSERT INTO fields (geom) SELECT f.geom FROM fields f, n"
    )
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"ALTER TABLE fields ADD COLUMN x TEXT DEFAULT '{'y' * 50_000}'")
        database.commit()
    with pytest.raises(ValueError, match="more than 10 times what is in the file"):
        read_table(path)


NESTED = struct.pack("<BII", 1, 7, 1) * 100_000 + struct.pack("<BII", 1, 7, 0)
"""A collection in a collection in …: GEOS would end the process."""


def test_geometries_within_geometries_without_end_are_refused(tmp_path: Path) -> None:
    path = swollen(tmp_path / "a.gpkg", "DELETE FROM fields WHERE fid > 1")
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE fields SET geom = ?", (b"GP\0\1" + bytes(4) + NESTED,))
        database.commit()
    table().to_parquet(tmp_path / "a.parquet")
    written = pq.read_table(tmp_path / "a.parquet")
    number = written.schema.get_field_index("geometry")
    column = pa.array([NESTED] * len(written), pa.binary())
    changed = written.set_column(number, written.schema.field("geometry"), column)
    pq.write_table(changed, tmp_path / "a.parquet")
    for name in ("a.gpkg", "a.parquet"):
        with pytest.raises(ValueError, match="holds others, more than 100 levels deep"):
            read_table(tmp_path / name)
