"""Every product as QGIS shows it, without a hand: names, colours, what shines through."""

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pystac
import pytest

from noise2map_core.alert_products.rasters import STATUS_COLORS
from noise2map_core.alerts.verdicts import CHOICES
from noise2map_core.cli.commands.interpreted.sample import run as run_sample
from noise2map_core.cli.commands.interpreted.template import run as run_template
from noise2map_core.nightly.changes_files import EVENT_COLORS, STATE_COLORS
from noise2map_core.products.bundle import write_products
from noise2map_core.review.package import COLORS, JUDGED, write_package
from noise2map_core.settings.products import ProductsConfig
from noise2map_core.testing.nights import publish
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.run_nightly import NightlyConfig
from noise2map_core.workflows.tools.interpreted.sample import SampleConfig
from noise2map_core.workflows.tools.interpreted.template import TemplateConfig
from pipelines import run_nightly
from tests.alert_product_factories import AS_OF, alert_table
from tests.map_factories import blobs, region_grid, subject_of, write_mosaic
from tests.nightly_factories import (
    ByPixel,
    Here,
    cloudy_nights,
    nightly_settings,
    random_checkpoint,
)

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

PYTHON = "/usr/bin/python3"
"""Debian's, for which it packs QGIS."""
GREEN = "#00ff00"
"""What is drawn upon."""
HOSTILE = '<b>"Äcker"</b> & Wald\'s/Wiese'
PHOTOS = ("before.tif", "after.tif")
ALERTS = {"k": 1, "n": 3, "m": 2, "minimum_m2": 2000}


@dataclass
class World:
    root: Path
    map: Path
    area: Path

    def looked_at(self, *files: Path) -> dict[str, Any]:
        """By the end of its name, what QGIS makes of each layer; all are drawn to `root`/png."""
        (self.root / "png").mkdir(exist_ok=True)
        script = Path(__file__).parent / "qgis_look.py"
        environment = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(self.root), "PATH": os.defpath}
        done = subprocess.run(
            [PYTHON, script, self.root / "png", *files], check=True, capture_output=True,
            env=environment, text=True,
        )  # fmt: skip
        assert "may only be partially supported" not in done.stderr
        found = json.loads(done.stdout)
        for layer in found.values():
            assert layer["valid"] and layer["errors"] == [] and layer["crs"] == "EPSG:32633"
        return {name.rpartition("|")[2]: layer for name, layer in found.items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog) -> World:
    """A map whose classes bear hostile names, and an area of three nights with alerts."""
    root = tmp_path_factory.mktemp("qgis")
    (root / "map").mkdir()
    mosaic = write_mosaic(root / "map" / "mosaic.zarr", blobs(300, 400))
    subject = subject_of(root / "scenes", 300, 400, name=HOSTILE)
    classes = [{**entry, "name": f"{entry['name']} {HOSTILE}"} for entry in subject.classes]
    write_products(mosaic, replace(subject, classes=classes), ProductsConfig(evidence=True))
    return World(root, root / "map", _nights(root, embedded))


def _nights(root: Path, embedded: EmbeddedCatalog) -> Path:
    checkpoint = random_checkpoint(root / "checkpoint", tuple(embedded.bands))
    publish(embedded, cloudy_nights(embedded, root / "files", 3), root / "table.parquet")
    settings = nightly_settings(embedded, root / "table.parquet", checkpoint, root / "nights")
    settings["areas"][0] |= {"window_days": 1, "alerts": ALERTS}
    night = run_nightly.run(NightlyConfig.model_validate(settings), Here(predictor=ByPixel()))
    assert len(night.areas[0].slices) == 3 and not night.areas[0].error
    return root / "nights" / "farm"


def test_the_rasters_of_a_map_have_the_classes_that_there_are_over_what_lies_below(
    world: World,
) -> None:
    found = world.looked_at(*sorted(world.map.glob("*.tif")))
    change = found["change.tif"]
    assert change["legend"] == [
        [0, f"unchanged {HOSTILE}", "#cccccc", 0], [1, f"changed {HOSTILE}", "#d7191c", 255],
    ]  # fmt: skip
    assert set(change["colors"]) == {GREEN, "#d7191c"}
    assert change["colors"][GREEN] > 5 * 400  # unchanged, and no decision
    reason = found["reason.tif"]
    assert [label for _, label, *_ in reason["legend"]][4] == "cloud before"
    assert set(reason["colors"]) == {GREEN, "#2b83ba"} and len(reason["legend"]) == 12
    assert found["valid.tif"]["legend"][1] == [1, "observed", "#000000", 0]
    probability = found["probability.tif"]
    assert [probability["legend"][at][:2] for at in (0, 5, -1)] == [
        [0.0, "0%"], [0.5, "50%"], [1.0, "100%"],
    ]  # fmt: skip
    assert probability["legend"][0][3] == 0
    assert probability["colors"][GREEN] > 100 and len(probability["colors"]) > 50


def test_the_colours_of_classes_do_not_hang_on_the_style_alone(world: World) -> None:
    lone = world.root / "lone" / "change.tif"
    lone.parent.mkdir(exist_ok=True)
    for suffix in ("", ".aux.xml"):
        (lone.parent / f"change.tif{suffix}").write_bytes(
            (world.map / f"change.tif{suffix}").read_bytes()
        )
    change = world.looked_at(lone)["change.tif"]
    assert [entry[2:] for entry in change["legend"]] == [["#cccccc", 0], ["#d7191c", 255]]
    assert change["legend"][1][1] == f"changed {HOSTILE}"


def test_polygons_of_a_map_have_their_names_and_colours_by_both_styles(world: World) -> None:
    polygons = world.looked_at(world.map / "polygons.gpkg")["polygons"]
    assert polygons["legend"] == [["1", f"changed {HOSTILE}", "#d7191c", 90]]
    assert "#d7191c" in polygons["colors"]
    (rule,) = polygons["by_sld"]["rules"]
    assert rule[0] == f"changed {HOSTILE}" and rule[2] == "#d7191c"


def test_changes_and_objects_of_three_nights_open_with_their_styles(world: World) -> None:
    found = world.looked_at(world.area / "changes.gpkg")
    for name, colors in (("changes", EVENT_COLORS), ("objects", STATE_COLORS)):
        legend = {value: color for value, _, color, _ in found[name]["legend"]}
        assert legend == colors
        assert {rule[0]: rule[2] for rule in found[name]["by_sld"]["rules"]} == colors
    assert STATE_COLORS["present"] in found["objects"]["colors"]
    assert set(found["changes"]["colors"]) & set(EVENT_COLORS.values())


def test_the_slices_of_three_nights_open_like_maps(world: World) -> None:
    for folder in sorted((world.area / "slices").iterdir()):
        files = [*folder.glob("*.tif"), folder / "polygons.gpkg"]
        for name, layer in world.looked_at(*files).items():
            if name in PHOTOS:
                assert layer["kind"] == "multibandcolor" and len(layer["colors"]) > 50, name
                continue
            assert layer["legend"], name
            assert GREEN in layer["colors"] or name == "polygons", name


def test_alerts_open_with_days_and_status(world: World) -> None:
    collection = pystac.Collection.from_file(str(world.area / "collection.json"))
    (item,) = (one for one in collection.get_items() if "alert:k" in one.properties)
    folder = Path(item.self_href).parent
    found = world.looked_at(*sorted(folder.glob("*.tif")), folder / "alerts.gpkg")
    status = found["alert_status.tif"]
    assert [entry[1:] for entry in status["legend"]][:2] == [
        ["no alert", "#eeeeee", 0], ["provisional", STATUS_COLORS["provisional"], 255],
    ]  # fmt: skip
    assert GREEN in status["colors"] and len(status["legend"]) == 4
    first = found["alert_first.tif"]
    assert all(label.startswith("20") for _, label, *_ in first["legend"])
    legend = {value: color for value, _, color, _ in found["alerts"]["legend"]}
    assert legend == STATUS_COLORS
    assert all(layer["legend"] for layer in found.values())


def test_what_reviewers_fill_in_opens_with_a_colour_a_verdict(world: World) -> None:
    alerts = alert_table(region_grid(300, 400, 64))
    judged = alerts.assign(**dict.fromkeys(JUDGED, ""))
    judged["verdict"] = ["", "confirmed", "rejected", "unsure"]
    write_package(world.root / "review.gpkg", judged, AS_OF)
    review = world.looked_at(world.root / "review.gpkg")["review"]
    assert {value: color for value, _, color, _ in review["legend"]} == COLORS
    rules = {rule[0]: rule[1] for rule in review["by_sld"]["rules"]}
    assert "NULL" in rules["not judged"] and "'confirmed'" in rules["confirmed"]
    assert len(review["colors"]) > len(COLORS)
    form = review["form"]
    assert [stored for _, stored in form["verdict"]["choices"]][1:] == list(CHOICES)
    assert form["reject_reason"]["widget"] == "ValueMap"
    assert form["verdict"]["editable"] and not form["object_id"]["editable"]


def test_labels_are_drawn_with_a_form_that_takes_their_names_alone(world: World) -> None:
    names = ("changed", 'Wald\'s "Äcker"')
    config = {"kind": "labels", "aoi": "15,48,15.01,48.01", "classes": names}
    template = run_template(
        TemplateConfig.model_validate({**config, "output": world.root / "labels.gpkg"})
    )
    found = world.looked_at(template.config.output)
    labels, offered = found["labels"], [*names, "unchanged"]
    assert [value for value, *_ in labels["legend"]] == offered
    assert found["area"]["legend"] and len(found["area"]["colors"]) > 1
    label = labels["form"]["label"]
    assert label["choices"] == [[name, name] for name in offered]
    assert all(label["said"][name] == [] for name in offered)
    assert label["said"]["None"] and label["said"]["nonsense"]


def test_a_sample_is_answered_by_name_and_an_answer_may_be_missing(world: World) -> None:
    drawn = run_sample(SampleConfig(map=world.map, output=world.root / "sample", minimum=20))
    sample = world.looked_at(world.root / "sample" / "sample.gpkg")["sample"]
    names = [entry.name for entry in drawn.design.classes]
    assert names[1] == f"changed {HOSTILE}"
    reference = sample["form"]["reference"]
    assert [stored for _, stored in reference["choices"]][1:] == [*names, "unsure"]
    assert reference["said"]["None"] == [] and reference["alias"] == "what is truly there"
    assert not sample["form"]["row"]["editable"] and not sample["form"]["sample_id"]["editable"]
    assert sample["legend"][0][1] == "not answered" and "#f5c211" in sample["colors"]
