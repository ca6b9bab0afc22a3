"""infer-region --task change with a checkpoint that only segments: from what, to what, how much."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
import zarr

from noise2map_core.cli.commands.plan import run as plan
from noise2map_core.inference.region_result import InferRegionResult
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.products.verification import verify_output
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.tools.plan import PlanConfig
from tests.factories import checkpoint_spec, task_spec
from tests.region_in_process import map_here

NAMES = ("other", "building")
KINDS = ("other to building", "building to other")
FP32 = {"precision": "fp32", "batch": 4}
FROM = 0.2
"""Probability from which the map is changed here."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It only segments; its weights are chance, its opinions are strong."""
    torch.manual_seed(3)
    task = task_spec("segment", temperature=0.005)
    path = tmp_path_factory.mktemp("checkpoint") / "maps"
    spec = checkpoint_spec(tasks={"segment": task})
    save_checkpoint(Noise2Map(spec), spec, path, "# x\n")
    return path


def change(
    embedded: EmbeddedCatalog, checkpoint: Path, output: Path, **more: Any
) -> InferRegionResult:
    settings = {"task": "change", "inference": FP32, "products": {"threshold": FROM}, **more}
    return map_here(embedded, checkpoint, output, **settings)


@pytest.fixture(scope="module")
def output(
    embedded: EmbeddedCatalog, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    made = tmp_path_factory.mktemp("compared") / "map"
    said = change(embedded, checkpoint, made).summary()
    assert any(line.startswith("building: ") and "ha gained" in line for line in said)
    return made


def layer(output: Path, name: str) -> np.ndarray:
    return np.asarray(zarr.open_group(output / "mosaic.zarr", mode="r")[name][:])


def test_change_is_the_difference_of_what_segmentation_says_of_each_date(
    embedded: EmbeddedCatalog, checkpoint: Path, output: Path, tmp_path: Path
) -> None:
    buildings = []
    for name, day in (("before", embedded.before), ("after", embedded.after)):
        one = tmp_path / name
        map_here(embedded, checkpoint, one, before=None, after=day, task="segment", inference=FP32)
        classes, stored = layer(one, "class"), layer(one, "probability") / 10_000
        buildings.append(np.where(classes == 1, stored, 1 - stored))
    classes, stored = layer(output, "class"), layer(output, "probability") / 10_000
    decided = layer(output, "reason") == 0
    gain = (buildings[1] - buildings[0])[decided]
    np.testing.assert_allclose(stored[decided], np.abs(gain), atol=2.1e-4)
    sure = np.abs(np.abs(gain) - FROM) > 1e-3
    expected = np.where(np.abs(gain) < FROM, 0, np.where(gain > 0, 1, 2))
    # The mosaic is cut at the default threshold, the products at the one that was asked for.
    with rasterio.open(output / "change.tif") as file:
        cut = file.read(1)
    assert {0, 1, 2} <= set(np.unique(expected))
    counts = [int((expected == value).sum()) for value in range(3)]
    found = [int((cut == value).sum()) for value in range(3)]
    assert np.abs(np.subtract(counts, found)).sum() <= 2 * int((~sure).sum())
    assert (layer(output, "direction")[~decided] == 255).all()
    assert (classes[decided] > 0).sum() < sum(found[1:])


def test_areas_gained_and_lost_are_those_of_the_pixels(output: Path) -> None:
    figures = json.loads((output / "manifest.json").read_text())["figures"]
    with rasterio.open(output / "change.tif") as file:
        cut, hectare = file.read(1), abs(file.res[0] * file.res[1]) / 1e4
    gained, lost = ((cut == value).sum() * hectare for value in (1, 2))
    # Pixels are measured on the ellipsoid: up to 0.1 % from the plane.
    building = figures["balance"]["building"]
    assert building["gained_ha"] == pytest.approx(gained, rel=2e-3)
    assert building["lost_ha"] == pytest.approx(lost, rel=2e-3)
    other = figures["balance"]["other"]
    assert (other["gained_ha"], other["lost_ha"]) == (building["lost_ha"], building["gained_ha"])
    assert [figures["pixels"][name] for name in KINDS] == [(cut == 1).sum(), (cut == 2).sum()]


def test_polygons_and_report_say_from_what_to_what(output: Path) -> None:
    for polygons in (
        gpd.read_parquet(output / "polygons.parquet"),
        gpd.read_file(output / "polygons.gpkg", layer="polygons"),
    ):
        assert set(polygons["class_name"]) == set(KINDS)
        said = [
            f"{one} to {other}" for one, other in polygons[["from", "to"]].itertuples(index=False)
        ]
        assert said == polygons["class_name"].tolist()
    report = (output / "report.html").read_text("utf-8")
    assert "other to building" in report and "ha gained" in report
    assert verify_output(output)


def test_a_rerun_changes_nothing_and_another_threshold_predicts_nothing(
    embedded: EmbeddedCatalog, checkpoint: Path, output: Path
) -> None:
    assert change(embedded, checkpoint, output).figures is None
    again = change(embedded, checkpoint, output, products={"threshold": 0.9})
    assert again.predicted == 0 and again.figures is not None
    restored = change(embedded, checkpoint, output)
    assert restored.predicted == 0 and restored.figures is not None
    assert again.figures.changed_m2 < restored.figures.changed_m2


def test_evidence_is_how_far_the_change_moves(
    embedded: EmbeddedCatalog, checkpoint: Path, output: Path, tmp_path: Path
) -> None:
    passes = {"disagreement": "timesteps", "disagreement_timesteps": [500, 999]}
    change(embedded, checkpoint, tmp_path / "evidence", inference=FP32 | passes)
    moved = layer(tmp_path / "evidence", "disagreement")
    assert 0 < np.median(moved[moved != 65_535]) < 10_000
    np.testing.assert_array_equal(
        layer(tmp_path / "evidence", "probability"), layer(output, "probability")
    )


def test_a_plan_measures_tiles_of_it(
    embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    config = PlanConfig.model_validate({
        "aoi": str(embedded.map_aoi), "task": "change",
        "search": {"catalog": str(embedded.catalog), "collection": embedded.collection},
        "before": embedded.before, "after": embedded.after, "checkpoint": str(checkpoint),
        "output": str(tmp_path / "map"), "grid": {"tile_px": 64}, "inference": FP32,
    })  # fmt: skip
    found = plan(config)
    assert found.estimate.todo == found.estimate.tiles > 0 and found.estimate.cost is not None
    assert not (tmp_path / "map").exists()


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"inference": {"compare": "images"}}, CheckpointError, "does not do task 'change'"),
        ({"task": "segment", "before": None, "inference": {"compare": "maps"}}, ConfigError,
         "inference.compare maps is for change"),
        ({"inference": {"disagreement": "order"}}, ConfigError, "needs two dates"),
        ({"before": None}, ConfigError, "change needs two dates"),
        ({"inference": {"timesteps": [5000]}}, ConfigError, "inference.timesteps must lie"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path, more: dict[str, Any],
    error: type[Exception], words: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=words) as refused:
        change(embedded, checkpoint, tmp_path / "out", **more)
    assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()
