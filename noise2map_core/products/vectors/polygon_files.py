"""Polygons on disk, written batch by batch: GeoParquet and GeoPackage."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray

from noise2map_core.products.styles.qml import PolygonStyle
from noise2map_core.settings.products import GeoParquetVersion

LAYER = "polygons"
VERSION = "1.3"
"""Of GeoPackage: QGIS 3.22 warns of later ones."""
GEOMETRY = "geom"
"""As GeoPackages call it."""
BOX = ("xmin", "ymin", "xmax", "ymax")


class WkbType(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """WKB that pyarrow writes as Parquet's own type GEOMETRY, with its CRS."""

    def __init__(self, crs: pyproj.CRS) -> None:
        self._crs = crs
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps({"crs": self._crs.to_json_dict(), "crs_type": "projjson"}).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> "WkbType":
        return cls(pyproj.CRS.from_json_dict(json.loads(serialized)["crs"]))


class GeoParquetFile:
    """A GeoParquet file with covering boxes; every batch is a row group.

    The same batches give the same bytes.
    """

    def __init__(
        self, path: Path | pa.BufferOutputStream, version: GeoParquetVersion = "1.1"
    ) -> None:
        self._path, self._version = path, version
        self._writer: pq.ParquetWriter | None = None
        self._bounds = np.full(4, np.nan)
        self._crs: Any = None

    def __enter__(self) -> Self:
        return self

    def write(self, polygons: gpd.GeoDataFrame) -> None:
        """Append a batch; an empty one counts only if it is the first."""
        self.append(arrow_table(polygons), polygons.crs)

    def append(self, polygons: pa.Table, crs: Any) -> None:
        """The same of an `arrow_table`, whose geometries are in `crs`."""
        if self._writer is not None and not len(polygons):
            return
        bounds = bounds_of(polygons)
        if self._version == "2.0":
            polygons = _native(polygons, pyproj.CRS(crs))
        if self._writer is None:
            self._crs = crs
            self._writer = pq.ParquetWriter(self._path, polygons.schema, compression="zstd")
        self._bounds = _union(self._bounds, bounds)
        self._writer.write_table(polygons, row_group_size=max(1, len(polygons)))

    def cover(self, bounds: NDArray[np.float64]) -> None:
        """Say that there are polygons within `bounds` [box, 4], too."""
        self._bounds = _union(self._bounds, bounds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            geo = _geo_metadata(self._crs, self._bounds, f"{self._version}.0")
            self._writer.add_key_value_metadata({"geo": json.dumps(geo)})
            self._writer.close()


def arrow_table(polygons: gpd.GeoDataFrame) -> pa.Table:
    """Their columns, `geometry` as WKB and, as `bbox`, its bounds."""
    plain = pa.Table.from_pandas(
        pd.DataFrame(polygons.drop(columns="geometry")), preserve_index=False
    ).replace_schema_metadata(None)
    shapes = polygons.geometry.to_numpy()
    edges = [pa.array(edge) for edge in shapely.bounds(shapes).T]
    box = pa.StructArray.from_arrays(edges, names=list(BOX))
    wkb = pa.array(shapely.to_wkb(shapes), pa.binary())
    return plain.append_column("geometry", wkb).append_column("bbox", box)


def geo_table(polygons: pa.Table, crs: Any) -> gpd.GeoDataFrame:
    """What `arrow_table` was made of."""
    plain = polygons.drop_columns(["geometry", "bbox"]).to_pandas()
    shapes = shapely.from_wkb(polygons["geometry"].to_numpy())
    return gpd.GeoDataFrame(plain, geometry=shapes, crs=crs)


def bounds_of(polygons: pa.Table) -> NDArray[np.float64]:
    """[polygon, (west, south, east, north)] of an `arrow_table`."""
    edges = polygons["bbox"].combine_chunks().flatten()
    return np.stack([edge.to_numpy(zero_copy_only=False) for edge in edges], axis=1)


def box_of(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """[one, 4] All of these in one; none of none."""
    if not len(bounds):
        return np.zeros((0, 4))
    return _union(np.full(4, np.nan), bounds)[None]


def _native(polygons: pa.Table, crs: pyproj.CRS) -> pa.Table:
    """The same, geometries of Parquet's own type."""
    wkb = pa.ExtensionArray.from_storage(WkbType(crs), polygons["geometry"].combine_chunks())
    return polygons.set_column(polygons.schema.get_field_index("geometry"), "geometry", wkb)


def _union(box: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(bounds):
        return box
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    return np.concatenate([np.fmin(box[:2], low), np.fmax(box[2:], high)])


def _geo_metadata(crs: Any, bounds: NDArray[np.float64], version: str) -> dict[str, Any]:
    """The `geo` entry, which is the same in 1.1 and 2.0."""
    column = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": pyproj.CRS(crs).to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {edge: ["bbox", edge] for edge in BOX}},
    }
    if not np.isnan(bounds).any():
        column["bbox"] = bounds.tolist()
    return {"version": version, "primary_column": "geometry", "columns": {"geometry": column}}


class GeoPackageFile:
    """A GeoPackage with a layer, or several, and their styles for QGIS and others (`layer_styles`).

    `written` is the time that the file gives as its own, so that the same batches give the same
    bytes.
    """

    def __init__(self, path: Path, styles: Mapping[str, PolygonStyle], written: datetime) -> None:
        """`styles` are by layer."""
        self._path, self._styles = path, styles
        self._written = f"{written:%Y-%m-%dT%H:%M:%S.000Z}"
        self._begun: list[str] = []

    def __enter__(self) -> Self:
        return self

    def write(self, polygons: gpd.GeoDataFrame, layer: str = LAYER, **options: Any) -> None:
        """Append a batch to a layer, with options of pyogrio; an empty one counts only if it is the
        layer's first."""
        if layer not in self._begun or not polygons.empty:
            self._add(pyogrio.write_dataframe, polygons, layer, options)

    def append(self, polygons: pa.Table, crs: Any) -> None:
        """The same of an `arrow_table`, whose geometries are in `crs`."""
        if LAYER not in self._begun or len(polygons):
            names = [GEOMETRY if name == "geometry" else name for name in polygons.column_names]
            plain = polygons.rename_columns(names).drop_columns("bbox")
            options = {"geometry_name": GEOMETRY, "crs": _named(pyproj.CRS(crs))}
            self._add(pyogrio.write_arrow, plain, LAYER, options)

    def _add(
        self, write: Callable[..., None], polygons: Any, layer: str, options: dict[str, Any]
    ) -> None:
        kind = {"geometry_type": "Polygon", **options}
        if not self._begun:
            kind["VERSION"] = VERSION
        with self._dated():
            write(
                polygons, self._path, driver="GPKG", layer=layer, append=bool(self._begun), **kind
            )
        if layer not in self._begun:
            self._begun.append(layer)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self._begun:
            table = _style_table({name: self._styles[name] for name in self._begun}, self._written)
            with self._dated():
                pyogrio.write_dataframe(
                    table, self._path, driver="GPKG", layer="layer_styles", append=True
                )

    @contextmanager
    def _dated(self) -> Iterator[None]:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": self._written})
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def package_of(
    parquet: Path, path: Path, styles: Mapping[str, PolygonStyle], written: datetime
) -> bool | None:
    """Write a GeoPackage of the polygons of a `GeoParquetFile`, batch by batch as they were; None
    if that is not seen from here."""
    if not parquet.is_file():
        return None
    with pq.ParquetFile(parquet) as file, GeoPackageFile(path, styles, written) as package:
        crs = crs_of(file)
        for number in range(file.num_row_groups):
            package.append(_plain_wkb(file.read_row_group(number)), crs)
        if not file.num_row_groups:
            package.append(_plain_wkb(file.schema_arrow.empty_table()), crs)
    return True


def crs_of(file: pq.ParquetFile) -> pyproj.CRS:
    """What the polygons of a GeoParquet file are in."""
    geo = json.loads(file.metadata.metadata[b"geo"])
    return pyproj.CRS.from_json_dict(geo["columns"]["geometry"]["crs"])


def _plain_wkb(polygons: pa.Table) -> pa.Table:
    """The same, geometries as bytes whatever the file has them as; as `arrow_table`."""
    shapes = polygons["geometry"].combine_chunks()
    shapes = shapes.storage if isinstance(shapes, pa.ExtensionArray) else shapes
    place = polygons.schema.get_field_index("geometry")
    plain = polygons.set_column(place, "geometry", shapes)
    return plain.replace_schema_metadata(None).combine_chunks()


def _named(crs: pyproj.CRS) -> str:
    """As GDAL is told of it: by its code where it has one."""
    return f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt()


def _style_table(styles: Mapping[str, PolygonStyle], written: str) -> pd.DataFrame:
    """The rows by which QGIS finds the styles of layers."""
    rows = [
        {
            "f_table_catalog": "", "f_table_schema": "", "f_table_name": layer,
            "f_geometry_column": "geom", "styleName": "noise2map", "styleQML": style.qml,
            "styleSLD": style.sld, "useAsDefault": True, "description": "", "owner": "", "ui": "",
            "update_time": pd.Timestamp(written),
        }
        for layer, style in styles.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)
