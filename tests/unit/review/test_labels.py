"""Verdicts as labels: confirmed is changed, rejected unchanged, and nothing else is known."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import yaml

from noise2map_core.chips.ingest import plan_ingest
from noise2map_core.chips.plan import read_labels
from noise2map_core.cli.commands.nights import review
from noise2map_core.cli.commands.nights.review import IngestFailedError, run
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.review.labels import write_labels
from noise2map_core.review.parts import plan_parts
from noise2map_core.review.queue import alerts_with_verdicts
from noise2map_core.review.scenes import read_scenes, write_scenes
from noise2map_core.review.verdict_files import Filled, take_in
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.tools.nights.review import ReviewConfig
from tests.review_factories import DAY, write_reviewed_area

VERDICTS = ["confirmed", "confirmed", "unsure", "rejected", "rejected", ""]


@pytest.fixture
def area(tmp_path: Path, embedded: EmbeddedCatalog) -> Path:
    area = write_reviewed_area(tmp_path, embedded, embedded.train_aoi, 6)
    filled = [
        Filled(f"a{number}", verdict, "cloud" if verdict == "rejected" else "", "ada")
        for number, verdict in enumerate(VERDICTS)
    ]
    take_in(area / "alerts", filled, tmp_path / "v", DAY)
    return area


def settings_of(path: Path) -> IngestRegionConfig:
    return IngestRegionConfig.model_validate(yaml.safe_load(path.read_text()))


def test_chips_know_what_was_judged_and_nothing_else(area: Path, tmp_path: Path) -> None:
    lines = run(ReviewConfig(area=area, labels=tmp_path / "labels")).summary()
    assert lines[0].endswith(f"{DAY}.geojson: 2 changed, 2 unchanged")
    assert lines[-1] == f"then     noise2map finetune-maps --chips {tmp_path}/labels/chips.zarr"
    plan = plan_ingest(settings_of(tmp_path / "labels" / f"{DAY}.yaml"))
    grid, labels = plan.ingest.grid, plan.ingest.labels
    assert labels is not None
    found = read_labels(labels, grid, grid.region)["label_change"]
    judged = alerts_with_verdicts(area / "alerts")
    values = judged["verdict"].map({"confirmed": 1, "rejected": 0, "unsure": 255, "": 255})
    expected = rasterio.features.rasterize(
        zip(judged.geometry, values, strict=True), found.shape, fill=255,
        transform=grid.transform(grid.region), dtype="uint8",
    )  # fmt: skip
    np.testing.assert_array_equal(found, expected)
    assert {int(v): int((found == v).sum()) for v in (0, 1)} == {0: 32, 1: 32}


def test_chips_show_the_pair_of_dates_that_the_alerts_were_judged_by(
    area: Path, tmp_path: Path, embedded: EmbeddedCatalog
) -> None:
    """An alert that names a later item is a label of the slice with that item."""
    (shown,) = read_scenes(area)
    later, other = DAY + timedelta(5), replace(shown.after[0], id="later")
    grid = RegionGrid.covering(read_aoi(str(embedded.train_aoi)), embedded.crs, 10.0)
    write_scenes(area, later, shown.before, [other], grid)
    text = (area / "settings" / f"{DAY}.yaml").read_text()
    (area / "settings" / f"{later}.yaml").write_text(text)
    judged = alerts_with_verdicts(area / "alerts")
    judged.loc[judged["object_id"] == "a1", "after_item"] = "later"
    files = write_labels(area, judged, tmp_path / "labels", "chips.zarr")
    assert [(one.day, one.confirmed, one.rejected) for one in files] == [(DAY, 1, 2), (later, 1, 0)]
    assert gpd.read_file(files[1].polygons)["object_id"].tolist() == ["a1"]


def test_without_a_verdict_there_is_nothing_to_label(
    tmp_path: Path, embedded: EmbeddedCatalog
) -> None:
    area = write_reviewed_area(tmp_path, embedded, embedded.train_aoi, 4)
    with pytest.raises(ConfigError, match="there is nothing to label"):
        run(ReviewConfig(area=area, labels=tmp_path / "labels"))
    assert not (tmp_path / "labels").exists()


def test_a_slice_whose_settings_are_gone_is_named(area: Path, tmp_path: Path) -> None:
    (area / "settings" / f"{DAY}.yaml").unlink()
    with pytest.raises(ConfigError, match=rf"settings/{DAY}.yaml is missing"):
        run(ReviewConfig(area=area, labels=tmp_path / "labels"))


def test_an_ingest_that_fails_hands_on_its_code(
    area: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "fails.py"
    script.write_text("import sys; sys.exit(2)")
    command = type("Command", (), {"path": script})
    monkeypatch.setattr(review, "find_command", lambda _: command)
    with pytest.raises(IngestFailedError, match="ended with code 2") as caught:
        run(ReviewConfig(area=area, chips=tmp_path / "chips.zarr"))
    assert caught.value.exit_code == 2


def test_many_verdicts_are_parted_in_space_with_both_kinds_in_each_part(
    tmp_path: Path, embedded: EmbeddedCatalog
) -> None:
    area = write_reviewed_area(tmp_path, embedded, embedded.train_aoi, 50)
    judged = alerts_with_verdicts(area / "alerts")
    kinds = ["confirmed"] * 25 + ["rejected"] * 25
    order = judged["object_id"].str[1:].astype(int)
    judged["verdict"] = [kinds[number] for number in order]
    (shown,) = read_scenes(area)
    found = plan_parts(judged, shown)
    assert found is not None and set(found.fractions) == {"train", "val"}
    assert plan_parts(judged.head(1), shown) is None
