"""Write a GeoPackage to draw labels or splits into: `noise2map template labels --aoi … --output …`.

QGIS opens it with colours and a form: a polygon is saved only with one of the names that there are.
Other programs find a plain layer. The command prints the settings by which ingest-region reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely

from noise2map_core.geo.aoi import read_aoi
from noise2map_core.geo.vectors import read_table
from noise2map_core.geo.zone import local_crs
from noise2map_core.products.styles.form import Field, with_form
from noise2map_core.products.styles.qml import PolygonStyle, outline_style, polygon_style
from noise2map_core.products.vectors.polygon_files import GeoPackageFile
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.workflows.tools.interpreted.template import TemplateConfig

COLORS = ("#d7301f", "#ff7f00", "#6a3d9a", "#33a02c", "#b15928", "#a6cee3", "#e7298a", "#666600")
UNCHANGED, AREA_COLOR = "#1f78b4", "#57606a"
SPLITS = {"train": "#1f78b4", "val": "#ff7f00", "test": "#d7301f"}
AREA = "area"
"""Layer of the area of interest."""


@dataclass(frozen=True)
class Drawing:
    """The layer that is drawn into."""

    layer: str
    column: str
    colors: dict[str, str]
    """By name, which the column may hold."""

    @classmethod
    def of(cls, config: TemplateConfig) -> Drawing:
        """Labels by their names, or the three splits."""
        if config.kind == "splits":
            return cls("splits", "split", SPLITS)
        colors = dict(zip(config.classes, cycle(COLORS), strict=False))
        return cls("labels", "label", {name: colors.get(name, UNCHANGED) for name in config.names})

    def style(self) -> PolygonStyle:
        """A colour a name, and a form that takes no other."""
        names = {name: name for name in self.colors}
        fields = [Field(self.column, tuple(self.colors), required=True), Field("note")]
        return with_form(polygon_style(self.layer, self.colors, names, self.column), fields)


@dataclass(frozen=True)
class Template:
    """A template that was written."""

    config: TemplateConfig
    drawing: Drawing

    def summary(self) -> list[str]:
        """What to do with it."""
        return [
            f"template  {self.config.output}: draw into its layer {self.drawing.layer}, in QGIS",
            "then, in the settings of ingest-region:",
            *(f"  {line}" for line in self.settings()),
        ]

    def settings(self) -> list[str]:
        """YAML by which ingest-region reads what was drawn."""
        path = self.config.output.resolve()
        if self.config.kind == "splits":
            return ["split:", f"  file: {json.dumps(str(path))}"]
        told: dict[str, Any] = {"kind": "polygons", "path": str(path), "layer": self.drawing.layer}
        if self.config.task == "segment":
            told["task"] = "segment"
        told |= {"column": self.drawing.column, "classes": list(self.config.classes)}
        if len(self.config.names) > len(self.config.classes):
            told["unchanged"] = list(self.config.unchanged)
        return ["labels:", *(f"  {name}: {json.dumps(value)}" for name, value in told.items())]


def run(config: TemplateConfig) -> Template:
    """Write the template. Raises OutputMismatchError for a file that something is drawn in."""
    drawing, aoi = Drawing.of(config), read_aoi(config.aoi)
    _require_undrawn(config.output, drawing.layer)
    area = gpd.GeoDataFrame({"name": [aoi.name]}, geometry=[aoi.geometry], crs="EPSG:4326")
    area = area.to_crs(local_crs(aoi.geometry).to_wkt())
    area.geometry = [shapely.multipolygons(shapely.get_parts(one)) for one in area.geometry]
    nothing = gpd.GeoDataFrame({drawing.column: [], "note": []}, geometry=[], crs=area.crs)
    outline = outline_style(AREA, AREA_COLOR, aoi.name, "name")
    config.output.parent.mkdir(parents=True, exist_ok=True)
    styles = {drawing.layer: drawing.style(), AREA: outline}
    with (
        whole_file(config.output) as partial,
        GeoPackageFile(partial, styles, datetime.now(UTC)) as package,
    ):
        package.write(nothing.astype({drawing.column: "string", "note": "string"}), drawing.layer)
        if config.kind == "labels":  # splits are read from a file of one layer
            package.write(area, AREA, geometry_type="MultiPolygon")
    return Template(config, drawing)


def _require_undrawn(output: Path, layer: str) -> None:
    if not output.exists():
        return
    try:
        drawn = len(read_table(output, layer))
    except (OSError, ValueError) as error:
        raise OutputMismatchError(
            f"{output} exists and is no such template. Give another --output."
        ) from error
    if drawn:
        raise OutputMismatchError(
            f"{output} has {drawn} polygons drawn in it; nothing was touched. Give another "
            "--output, or move it away."
        )
