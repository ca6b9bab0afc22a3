"""Templates to draw into: what is drawn is read by ingest-region, and never overwritten."""

import sqlite3
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox
from pydantic import ValidationError

from noise2map_core.cli.commands.interpreted.template import Template, run
from noise2map_core.geo.aoi import AreaOfInterest, read_aoi
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.labels.sources import open_labels
from noise2map_core.labels.splits import plan_splits
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.labels import PolygonLabels, SplitConfig
from noise2map_core.settings.reading import parse_yaml
from noise2map_core.workflows.tools.interpreted.template import TemplateConfig

AOI = "15,48,15.01,48.01"
SEARCH = SearchConfig(catalog="none.json", collection="none")


def template(folder: Path, kind: str = "labels", **changes: Any) -> Template:
    return run(
        TemplateConfig.model_validate(
            {"kind": kind, "aoi": AOI, "output": folder / f"{kind}.gpkg", **changes}
        )
    )


def draw(made: Template, names: list[str]) -> GeoBox:
    """Squares of 200 m side by side, one a name, as QGIS would add them; gives a box around."""
    path, layer = made.config.output, made.drawing.layer
    crs = gpd.read_file(path, layer=layer).crs
    west, south = gpd.GeoSeries([read_aoi(AOI).geometry], crs=4326).to_crs(crs).total_bounds[:2]
    squares = [
        shapely.box(west + 200 * n, south + 100, west + 200 * (n + 1), south + 300)
        for n in range(len(names))
    ]
    table = gpd.GeoDataFrame({made.drawing.column: names}, geometry=squares, crs=crs)
    table.to_file(path, layer=layer, mode="a")
    box = (west, south, west + 200 * (len(names) + 1), south + 400)
    return GeoBox.from_bbox(box, crs.to_string(), resolution=10)


def settings(made: Template) -> dict[str, object]:
    lines = made.summary()
    start = next(n for n, line in enumerate(lines) if line.startswith("then")) + 1
    found: dict[str, object] = parse_yaml("\n".join(lines[start:]))
    return found


def area_of(box: GeoBox) -> AreaOfInterest:
    return AreaOfInterest("drawn", box.geographic_extent.geom)


def labels_of(made: Template, names: list[str]) -> dict[int, int]:
    """Pixels of each label, as ingest-region reads them by the settings that were printed."""
    box = draw(made, names)
    labels = PolygonLabels.model_validate(settings(made)["labels"])
    grid = RegionGrid.covering(area_of(box), str(box.crs), 10.0, tile_px=64)
    dates = ["2020"] if labels.task == "segment" else ["2020", "2021"]
    (values,) = open_labels(labels, SEARCH, area_of(box), dates, grid).read(box).values()
    return dict(zip(*map(np.ndarray.tolist, np.unique(values, return_counts=True)), strict=True))


def test_what_is_drawn_as_changed_and_unchanged_is_labelled_and_nothing_else(
    tmp_path: Path,
) -> None:
    found = labels_of(template(tmp_path), ["changed", "unchanged", "changed"])
    assert (found[0], found[1]) == (400, 800)
    assert set(found) == {0, 1, 255}


def test_without_a_name_for_it_all_outside_is_unchanged(tmp_path: Path) -> None:
    found = labels_of(template(tmp_path, classes=["built"], unchanged=[]), ["built"])
    assert found[1] == 400 and set(found) == {0, 1}


def test_classes_of_a_date_are_drawn_by_name(tmp_path: Path) -> None:
    made = template(tmp_path, task="segment", classes=["roof: flat", "road"])
    found = labels_of(made, ["road", "roof: flat", "road"])
    assert (found[1], found[2]) == (400, 800) and 0 in found


def test_splits_are_drawn_by_name(tmp_path: Path) -> None:
    made = template(tmp_path, "splits")
    box = draw(made, ["train", "val", "test", "train"])
    config = SplitConfig.model_validate(settings(made)["split"])
    grid = RegionGrid.covering(area_of(box), str(box.crs), 10.0, tile_px=64)
    assert {one.split for one in plan_splits(config, grid)} == {"train", "val", "test"}


def test_a_template_is_drawn_over_as_long_as_nothing_is_drawn(tmp_path: Path) -> None:
    made = template(tmp_path)
    template(tmp_path)
    draw(made, ["changed"])
    before = made.config.output.read_bytes()
    with pytest.raises(OutputMismatchError, match="has 1 polygons drawn in it; nothing was touch"):
        template(tmp_path)
    assert made.config.output.read_bytes() == before
    made.config.output.write_text("notes")
    with pytest.raises(OutputMismatchError, match="is no such template"):
        template(tmp_path)


def test_the_area_of_interest_is_shown_in_its_zone(tmp_path: Path) -> None:
    path = template(tmp_path).config.output
    area = gpd.read_file(path, layer="area")
    assert area.crs.to_epsg() == 32633
    found = area.to_crs(4326).geometry[0].symmetric_difference(read_aoi(AOI).geometry).area
    assert found < 1e-3 * read_aoi(AOI).geometry.area
    with sqlite3.connect(path) as database:
        styled = database.execute("SELECT f_table_name FROM layer_styles").fetchall()
    assert styled == [("labels",), ("area",)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "splits", "classes": ["a"]}, "classes is not used by a template of splits"),
        ({"task": "segment"}, "classes of a date are needed"),
        ({"classes": ["Same", "same"]}, "a name is empty, or stands there twice"),
        ({"classes": ["unchanged"]}, "a name is empty, or stands there twice"),
        ({"task": "segment", "classes": ["a"], "unchanged": []}, "unchanged is not used by labels"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        template(tmp_path, **changes)
