"""How-to pages: their commands, word for word and in their order, and their settings and names."""

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

import noise2map_core
from noise2map_core.assessment import sample_files
from noise2map_core.chips import store
from noise2map_core.functions.settings import config_of
from noise2map_core.mapping import ledger, mosaic
from noise2map_core.models import spec
from noise2map_core.settings.labels import PolygonLabels
from noise2map_core.settings.reading import parse_yaml
from noise2map_core.workflows.infer_region import InferRegionConfig
from tests.raster_factories import frame, write_tif

COMMAND = Path(sys.executable).parent / "noise2map"
SHAPE = (120, 160)


def blocks(checkout: Path, page: str, language: str = "") -> list[str]:
    text = (checkout / "docs" / "how-to" / f"{page}.md").read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for of, block in found if of == language]


def ran(block: str, folder: Path) -> str:
    """What the one command of a block prints; it must succeed."""
    first, *words = shlex.split(block)
    assert first == "noise2map"
    ended = subprocess.run(
        [COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, (block, ended.stderr)
    return ended.stdout


def write_map(folder: Path, classes: np.ndarray) -> None:
    folder.mkdir(parents=True)
    write_tif(folder / "change.tif", classes, frame(*SHAPE), nodata=255)
    table = [{"value": 0, "name": "unchanged"}, {"value": 1, "name": "changed"}]
    asset = {"href": "./change.tif", "classification:classes": table}
    (folder / "item.json").write_text(json.dumps({"assets": {"change": asset}}))


@pytest.mark.slow
def test_a_map_is_sampled_assessed_and_compared_as_the_page_says(
    checkout: Path, tmp_path: Path
) -> None:
    truth = np.zeros(SHAPE, np.uint8)
    truth[30:90, 40:100] = 1
    wrong = np.random.default_rng(0).random(SHAPE)
    write_map(tmp_path / "out" / "map", np.where(wrong < 0.2, 1 - truth, truth).astype(np.uint8))
    write_map(tmp_path / "out" / "other", np.where(wrong < 0.1, 1 - truth, truth).astype(np.uint8))
    sample, assess, compare = blocks(checkout, "accuracy")
    ran(sample, tmp_path)
    path = tmp_path / "out" / "sample" / "sample.gpkg"
    points = gpd.read_file(path, layer="sample")
    seen = truth[points["row"], points["col"]]
    points["reference"] = np.where(seen == 1, "changed", "unchanged")
    points.loc[:2, "reference"], points.loc[3, "reference"] = "unsure", None
    points.to_file(path, layer="sample")
    assert "not counted: 3 unsure, 1 without an answer" in ran(assess, tmp_path)
    overall = json.loads((tmp_path / "accuracy.json").read_text())["overall_accuracy"]
    assert overall["interval_95"][0] < 0.8 < overall["interval_95"][1]
    assert "the second is better" in ran(compare, tmp_path)


@pytest.mark.slow
def test_templates_are_written_as_the_page_says_and_read_by_its_settings(
    checkout: Path, tmp_path: Path
) -> None:
    box = gpd.GeoSeries([shapely.box(15, 48, 15.01, 48.01)], crs=4326)
    box.to_file(tmp_path / "area.geojson")
    for block in blocks(checkout, "labels-in-qgis"):
        printed = ran(block, tmp_path)
        if "labels.gpkg" in block:
            (told,) = blocks(checkout, "labels-in-qgis", "yaml")
            settings = parse_yaml("\n".join(printed.splitlines()[2:]))["labels"]
            shown = parse_yaml(told)["labels"]
            assert {**settings, "path": "labels.gpkg"} == shown
            PolygonLabels.model_validate(shown)
    assert len(list(tmp_path.glob("*.gpkg"))) == 3


def test_the_page_on_python_names_what_there_is(checkout: Path) -> None:
    for block in blocks(checkout, "python", "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "n2m":
                assert node.attr in noise2map_core.__all__
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "n2m.map_region":
                given = [(one.arg, ast.literal_eval(one.value)) for one in node.keywords]
                named = {name: value for name, value in given if name}
                named |= next(value for name, value in given if name is None)
                config_of(InferRegionConfig, None, named)
    text = (checkout / "docs" / "how-to" / "python.md").read_text()
    functions = set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))
    assert functions == {"map_region", "ingest", "ingest_dataset", "finetune", "evaluate"}
    assert all(name in text for name in noise2map_core.__all__ if name != "write_chips")


def test_the_page_on_upgrades_names_the_formats_that_there_are(checkout: Path) -> None:
    text = (checkout / "docs" / "how-to" / "upgrade.md").read_text()
    told = dict(re.findall(r"^\| ([a-z ]+).*? \| (\d+) \|", text, flags=re.MULTILINE))
    formats = {name.strip(): int(number) for name, number in told.items()}
    assert formats["chip store"] == store.FORMAT_VERSION
    assert formats["checkpoint"] == spec.FORMAT_VERSION
    assert formats["mosaic and ledger"] == mosaic.FORMAT_VERSION == ledger.FORMAT_VERSION
    assert formats["sample"] == sample_files.FORMAT_VERSION
