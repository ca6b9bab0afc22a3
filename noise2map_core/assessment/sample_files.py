"""A sample on disk: points for interpreters to fill in, and the design that they must not see.

`sample.gpkg` (in the map's CRS) and `sample.geojson` (longitude and latitude) hold the same points
with an empty column `reference`. What the map says at a point is in `strata.json` alone: who knows
it tends to see it.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from affine import Affine
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from noise2map_core.geo.vectors import read_table
from noise2map_core.runtime.atomic import whole_file, write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.documents import parse_json, read_text, require_file
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError

FORMAT_VERSION = 1
GPKG, GEOJSON, STRATA = "sample.gpkg", "sample.geojson", "strata.json"
COLUMNS = ["sample_id", "row", "col", "design", "reference"]
MOST_LISTED = 10
"""Sample ids that an error names before it counts the rest."""


class SampledClass(BaseModel):
    """A class of the map, and how it was sampled."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    value: int
    name: str
    pixels: int
    """0 for a class that the map could have, but has not: it is no stratum."""
    area_m2: float
    """Geodesic area."""
    samples: int


class SampleDesign(BaseModel):
    """How a sample was drawn from a map: what `strata.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format_version: int = FORMAT_VERSION
    map: str
    """Name of the map's file."""
    map_sha256: str
    crs: str
    """CRS of the map, as WKT."""
    transform: tuple[float, float, float, float, float, float]
    """Affine transform from column and row to x and y."""
    seed: int
    target_error: float
    classes: tuple[SampledClass, ...]
    """By value."""
    units: tuple[tuple[int, int, int], ...]
    """Row, column, and class of the map of each sample unit; `sample_id` counts them from 1."""

    @property
    def key(self) -> str:
        """What marks the points of this design: 16 hexadecimal digits."""
        return digest_of(self.model_dump(mode="json"))[:16]

    def points(self) -> gpd.GeoDataFrame:
        """The pixels' centres in the map's CRS, with `COLUMNS`; nothing filled in."""
        rows, cols, _ = np.array(self.units, np.int64).T
        x, y = Affine(*self.transform) @ (cols + 0.5, rows + 0.5)
        table = {
            "sample_id": np.arange(1, len(rows) + 1),
            "row": rows,
            "col": cols,
            "design": self.key,
            "reference": pd.array([pd.NA] * len(rows), dtype="Int64"),
        }
        return gpd.GeoDataFrame(table, geometry=gpd.points_from_xy(x, y), crs=self.crs)


def require_unfilled(output: Path) -> None:
    """Raise OutputMismatchError if a sample in `output` holds a reference, or cannot be read."""
    for path in (output / GPKG, output / GEOJSON):
        if not path.exists():
            continue
        try:
            filled = int((~_is_blank(read_table(path)["reference"])).sum())
        except (OSError, ValueError, KeyError) as error:
            raise OutputMismatchError(
                f"{path} exists and is not a sample that can be read. Give another --output."
            ) from error
        if filled:
            raise OutputMismatchError(
                f"sample {path} has {filled} references filled in; nothing was touched. Give "
                "another --output, or move the files away."
            )


def write_sample(output: Path, design: SampleDesign) -> None:
    """Write the points, then the design; each file whole or not at all."""
    output.mkdir(parents=True, exist_ok=True)
    points = design.points()
    with whole_file(output / GPKG) as partial:
        points.to_file(partial, driver="GPKG", layer="sample", engine="pyogrio")
    with whole_file(output / GEOJSON) as partial:
        points.to_crs("EPSG:4326").to_file(partial, driver="GeoJSON", engine="pyogrio")
    write_atomically(output / STRATA, json.dumps(design.model_dump(mode="json")) + "\n")


def read_design(path: Path) -> SampleDesign:
    """The design in a `strata.json`. Raises ConfigError."""
    try:
        text = read_text(path)
        parse_json(text)
        design = SampleDesign.model_validate_json(text)
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist. Give --strata: the strata.json that was written with the "
            "sample."
        ) from None
    except (ValidationError, OSError, ValueError) as error:
        raise ConfigError(f"{path} is not the strata.json of a sample. Give --strata.") from error
    if design.format_version != FORMAT_VERSION:
        raise ConfigError(
            f"{path} has format version {design.format_version}; this version reads "
            f"{FORMAT_VERSION}. Use the noise2map that wrote it."
        )
    return design


def read_references(path: Path, design: SampleDesign) -> NDArray[np.int64]:
    """What interpreters filled in, int64 [unit]: a class for each of the design's units, in order.

    Raises ConfigError, naming sample ids: for a sample of another map or draw, points that are
    missing, doubled or elsewhere, references that are missing or of no class of the map.
    """
    table = _read_points(path)
    _require_design(table, design, path)
    points = _in_order(table, design, path)
    _require_places(points, design, path)
    return _classes(points["reference"], design, path)


def _read_points(path: Path) -> gpd.GeoDataFrame:
    try:
        require_file(path)
        table = read_table(path)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"sample {path} cannot be read: {error}. Give a GeoPackage or GeoJSON file."
        ) from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing or "geometry" not in table.columns:
        lacking = ", ".join(missing) or "geometry"
        raise ConfigError(
            f"sample {path} lacks {lacking}. Fill in the file that noise2map sample wrote, and "
            "keep its columns."
        )
    return table


def _require_design(table: gpd.GeoDataFrame, design: SampleDesign, path: Path) -> None:
    others = sorted({str(key) for key in table["design"]} - {design.key})
    if others:
        raise ConfigError(
            f"sample {path} is of another map or another draw (design {', '.join(others)}) than "
            f"its strata ({design.map}, design {design.key}). Give the strata.json written with it."
        )


def _in_order(table: gpd.GeoDataFrame, design: SampleDesign, path: Path) -> gpd.GeoDataFrame:
    """The points by `sample_id`: every one of the design's, once."""
    ids = table["sample_id"]
    doubled = ids[ids.duplicated()].unique()
    if len(doubled):
        raise ConfigError(f"sample {path} has sample_id {_listed(doubled)} more than once.")
    expected = set(range(1, len(design.units) + 1))
    for found, what in ((set(ids) - expected, "has unknown"), (expected - set(ids), "lacks")):
        if found:
            raise ConfigError(
                f"sample {path} {what} sample_id {_listed(sorted(found))}. Fill in all points "
                "that noise2map sample wrote, and add none."
            )
    return table.sort_values("sample_id").reset_index(drop=True)


def _require_places(points: gpd.GeoDataFrame, design: SampleDesign, path: Path) -> None:
    """Raise unless each point lies in its pixel: not moved, and not in another CRS than stated."""
    if points.crs is None:
        raise ConfigError(
            f"sample {path} has no CRS. Assign the one it was written in: the map's for a "
            "GeoPackage, EPSG:4326 for GeoJSON."
        )
    found = points.to_crs(design.crs).geometry
    cols, rows = ~Affine(*design.transform) @ (found.x.to_numpy(), found.y.to_numpy())
    units = np.array(design.units)
    astray = ~((np.floor(rows) == units[:, 0]) & (np.floor(cols) == units[:, 1]))
    if astray.any():
        raise ConfigError(
            f"sample {path}: sample_id {_listed(points['sample_id'][astray])} lie outside their "
            f"pixels. The file's CRS ({points.crs.to_string()[:40]}) is not that of its "
            "coordinates, or points were moved."
        )


def _classes(reference: pd.Series, design: SampleDesign, path: Path) -> NDArray[np.int64]:
    """References as classes. Raises ConfigError for those that are missing or unknown."""
    ids = pd.Series(np.arange(1, len(reference) + 1))
    blank = _is_blank(reference)
    if blank.any():
        raise ConfigError(
            f"sample {path}: {blank.sum()} of {len(blank)} references are missing, of sample_id "
            f"{_listed(ids[blank])}. Fill in all of them."
        )
    values = pd.to_numeric(reference, errors="coerce")
    known = {entry.value: entry.name for entry in design.classes}
    unknown = ~values.isin(list(known))
    if unknown.any():
        given = sorted({str(value) for value in reference[unknown]})
        raise ConfigError(
            f"sample {path}: reference {_listed(given)} of sample_id {_listed(ids[unknown])} is no "
            f"class of the map. Use {', '.join(f'{v} ({name})' for v, name in known.items())}."
        )
    return values.to_numpy(np.int64)


def _is_blank(reference: pd.Series) -> pd.Series:
    """True where nothing is filled in: null, or text of blanks."""
    return reference.isna() | (reference.astype(str).str.strip() == "")


def _listed(values: Iterable[Any]) -> str:
    """The first few, and how many there are."""
    texts = [str(value) for value in values]
    if len(texts) <= MOST_LISTED:
        return ", ".join(texts)
    return f"{', '.join(texts[:MOST_LISTED])}, … ({len(texts)} in all)"
