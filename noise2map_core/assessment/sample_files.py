"""A sample on disk: points for interpreters to fill in, and the design that they must not see.

`sample.gpkg` (in the map's CRS) and `sample.geojson` (longitude and latitude) hold the same points
with an empty column `reference` for the class by its name; QGIS offers the names. What the map says
at a point is in `strata.json` alone: who knows it tends to see it.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from affine import Affine
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from noise2map_core.geo.vectors import read_table
from noise2map_core.products.styles.form import Field, with_form
from noise2map_core.products.styles.qml import PolygonStyle, point_style
from noise2map_core.products.vectors.polygon_files import GeoPackageFile
from noise2map_core.runtime.atomic import whole_file, write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.documents import parse_json, read_text, require_file
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from noise2map_core.settings.labels import class_name

FORMAT_VERSION = 1
GPKG, GEOJSON, STRATA = "sample.gpkg", "sample.geojson", "strata.json"
LAYER = "sample"
ANSWERED, UNANSWERED, DOUBTED = "#2e7d32", "#f5c211", "#0b62d6"
"""Colours of points. No class has its own: it might tell what the map says nearby."""
MISSING, UNSURE = -1, -2
"""In place of a class: nothing is filled in; who looked could not tell."""
UNSURE_WORD = "unsure"
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
            "reference": pd.array([None] * len(rows), dtype="string"),
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


def sample_style(design: SampleDesign) -> PolygonStyle:
    """A ring a point, by whether it is answered; a drop-down of the classes by name."""
    names = [entry.name for entry in design.classes]
    shown = {"": "not answered", **{name: name for name in names}, UNSURE_WORD: UNSURE_WORD}
    colors = dict.fromkeys(shown, ANSWERED) | {"": UNANSWERED, UNSURE_WORD: DOUBTED}
    answer = Field("reference", (*names, UNSURE_WORD), alias="what is truly there")
    others = [Field(name, editable=False) for name in COLUMNS if name != "reference"]
    return with_form(point_style(LAYER, colors, shown, "reference"), [answer, *others])


def write_sample(output: Path, design: SampleDesign) -> None:
    """Write the points, then the design; each file whole or not at all."""
    output.mkdir(parents=True, exist_ok=True)
    points = design.points()
    styles = {LAYER: sample_style(design)}
    with (
        whole_file(output / GPKG) as partial,
        GeoPackageFile(partial, styles, datetime.now(UTC)) as package,
    ):
        package.write(points, LAYER, geometry_type="Point")
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


def read_sample(path: Path, strata: Path | None) -> tuple[SampleDesign, NDArray[np.int64]]:
    """A sample's design, by default that beside it, and `read_references`. Raises ConfigError."""
    if not path.is_file():
        raise ConfigError(f"sample {path} does not exist. Give a filled {GPKG}.")
    design = read_design(strata or path.with_name(STRATA))
    return design, read_references(path, design)


def read_references(path: Path, design: SampleDesign) -> NDArray[np.int64]:
    """What interpreters filled in, int64 [unit]: a class for each of the design's units, in order,
    by its name or its value; `UNSURE` where they could not tell, `MISSING` where nothing stands.

    Raises ConfigError, naming sample ids: for a sample of another map or draw, points that are
    missing, doubled or elsewhere, references of no class of the map, or none at all.
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
    """References as classes. Raises ConfigError for those that are unknown, and without any."""
    ids = pd.Series(np.arange(1, len(reference) + 1))
    blank = _is_blank(reference)
    if blank.all():
        raise ConfigError(
            f"sample {path}: not one of {len(blank)} references is filled in. Fill in the class "
            "that is truly there, by its name."
        )
    values = reference.map(_meaning(design)).where(~blank, MISSING)
    unknown = values.isna()
    if unknown.any():
        given = sorted({str(value) for value in reference[unknown]})
        known = ", ".join(f"{entry.name} ({entry.value})" for entry in design.classes)
        raise ConfigError(
            f"sample {path}: reference {_listed(given)} of sample_id {_listed(ids[unknown])} is no "
            f"class of the map. Use {known} or {UNSURE_WORD}."
        )
    return values.to_numpy(np.int64)


def _meaning(design: SampleDesign) -> Callable[[Any], int | None]:
    """Of what may be filled in; names go before values, and their case counts only where two names
    differ in nothing else."""
    known = {str(entry.value): entry.value for entry in design.classes} | {UNSURE_WORD: UNSURE}
    known |= {entry.name.strip().casefold(): entry.value for entry in design.classes}
    exact = {entry.name.strip(): entry.value for entry in design.classes}

    def meaning(value: Any) -> int | None:
        text = class_name(None if pd.isna(value) else value) or ""
        return exact.get(text, known.get(text.casefold()))

    return meaning


def _is_blank(reference: pd.Series) -> pd.Series:
    """True where nothing is filled in: null, or text of blanks."""
    return reference.isna() | (reference.astype(str).str.strip() == "")


def _listed(values: Iterable[Any]) -> str:
    """The first few, and how many there are."""
    texts = [str(value) for value in values]
    if len(texts) <= MOST_LISTED:
        return ", ".join(texts)
    return f"{', '.join(texts[:MOST_LISTED])}, … ({len(texts)} in all)"
