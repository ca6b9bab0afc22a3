"""The demonstration: the whole line on an invented scene pair, better than differencing."""

from pathlib import Path

import numpy as np
import pytest
import rioxarray
from sklearn.metrics import f1_score, jaccard_score

from noise2map_core.cli.commands.demo import DemoResult, run, step_settings
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.testing.scenes import EmbeddedCatalog, write_catalog
from noise2map_core.workflows.tools.demo import DemoConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedCatalog:
    return write_catalog(tmp_path_factory.mktemp("demo") / "out" / "catalog")


@pytest.fixture(scope="module")
def result(scenes: EmbeddedCatalog, ray_cluster: None) -> DemoResult:
    return run(DemoConfig(output=scenes.root.parent))


def test_the_settings_that_ship_are_those_of_the_scenes(scenes: EmbeddedCatalog) -> None:
    ingest, infer = (step_settings(step, scenes.root.parent) for step in ("ingest", "infer"))
    for settings in (ingest, infer):
        assert settings["search"]["catalog"] == scenes.catalog
        assert settings["search"]["collection"] == scenes.collection
        assert (settings["before"], settings["after"]) == (scenes.before, scenes.after)
    assert tuple(ingest["search"]["bands"]) == scenes.bands
    assert ingest["labels"]["asset"] == scenes.label_asset
    boxes = ingest["split"]["boxes"]
    assert {split: [tuple(box) for box in boxes[split]] for split in scenes.train_boxes} == (
        scenes.train_boxes
    )
    from odc.geo.geom import Geometry

    mapped = Geometry(read_aoi(scenes.map_aoi).geometry, "EPSG:4326").to_crs(scenes.crs)
    np.testing.assert_allclose(mapped.boundingbox, boxes["test"][0], atol=1)


def test_the_map_is_better_than_change_vector_analysis(result: DemoResult) -> None:
    assert result.model.f1 > result.baseline.f1
    assert result.num_pixels > 300_000


def test_the_scores_are_those_of_an_independent_count(
    result: DemoResult, scenes: EmbeddedCatalog
) -> None:
    predicted = rioxarray.open_rasterio(result.output / "change.tif").squeeze()
    truth = rioxarray.open_rasterio(scenes.truth).squeeze()
    truth = truth.sel(x=predicted.x, y=predicted.y, method="nearest", tolerance=1.0)
    decided = predicted.values != 255
    assert result.num_pixels == decided.sum()
    pair = truth.values[decided], predicted.values[decided]
    assert result.model.f1 == pytest.approx(f1_score(*pair))
    assert result.model.iou == pytest.approx(jaccard_score(*pair))


def test_the_map_without_labels_is_scored_on_the_same_pixels(
    result: DemoResult, scenes: EmbeddedCatalog
) -> None:
    first = rioxarray.open_rasterio(result.output / "first" / "change.tif").squeeze()
    truth = rioxarray.open_rasterio(scenes.truth).squeeze()
    truth = truth.sel(x=first.x, y=first.y, method="nearest", tolerance=1.0)
    decided = first.values != 255
    assert result.num_pixels == decided.sum()
    assert result.first.f1 == pytest.approx(f1_score(truth.values[decided], first.values[decided]))
    assert result.model.f1 > result.first.f1


def test_the_last_lines_say_where_things_lie(result: DemoResult) -> None:
    lines = result.summary()
    for name, line in zip(("map", "polygons", "picture", "report"), lines[1:], strict=False):
        label, path = line.split()
        assert label == name
        assert Path(path).is_file()
    assert all("F1" in line for line in lines[-3:])


def test_a_second_demonstration_has_nothing_to_do(
    result: DemoResult, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    change = result.output / "change.tif"
    before = change.stat().st_mtime_ns
    assert run(DemoConfig(output=result.output)) == result
    assert change.stat().st_mtime_ns == before
    said = capsys.readouterr().out
    assert "nothing to do: trained already" in said
    assert said.count("nothing new:") == 3
