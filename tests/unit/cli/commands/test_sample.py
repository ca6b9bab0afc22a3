"""From a map to a sample, and back to its accuracy, as commands."""

import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from noise2map_core.assessment.design import read_class_names
from noise2map_core.assessment.result import assess
from noise2map_core.cli.commands.interpreted.assess import run as run_assess
from noise2map_core.cli.commands.interpreted.sample import run as run_sample
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from noise2map_core.workflows.tools.interpreted.assess import AssessConfig
from noise2map_core.workflows.tools.interpreted.sample import SampleConfig
from tests.raster_factories import frame, write_tif
from tests.said import errors

SHAPE = (200, 240)
COMMAND = Path(sys.executable).parent / "noise2map"


def truth() -> np.ndarray:
    """True classes: change in a square."""
    classes = np.zeros(SHAPE, np.uint8)
    classes[40:110, 60:130] = 1
    return classes


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output directory whose map finds part of the change, and some that is none."""
    mapped = np.zeros(SHAPE, np.uint8)
    mapped[50:115, 60:120] = 1
    mapped[:, :20] = 255
    write_tif(tmp_path / "change.tif", mapped, frame(*SHAPE), nodata=255)
    classes = [{"value": 0, "name": "unchanged"}, {"value": 1, "name": "changed"}]
    asset = {"href": "./change.tif", "classification:classes": classes}
    (tmp_path / "item.json").write_text(json.dumps({"assets": {"change": asset}}))
    return tmp_path


def fill(path: Path) -> Path:
    """Interpret every point without an error."""
    table = gpd.read_file(path, layer="sample")
    table["reference"] = truth()[table["row"], table["col"]].astype(int)
    table.to_file(path)
    return path


@pytest.mark.parametrize("name", ["sample.gpkg", "sample.geojson"])
def test_a_filled_sample_gives_back_the_true_area_within_its_interval(
    output: Path, name: str, tmp_path: Path
) -> None:
    drawn = run_sample(SampleConfig(map=output, output=tmp_path / "sample", target_error=0.02))
    assert [entry.name for entry in drawn.design.classes] == ["unchanged", "changed"]
    assert sum(entry.samples for entry in drawn.design.classes) == len(drawn.design.units)
    assert drawn.design.map_sha256 == file_sha256(output / "change.tif")
    sample = fill(tmp_path / "sample" / name)

    result = run_assess(AssessConfig(sample=sample, output=tmp_path / "accuracy.json"))
    changed = result.report.classes[1]
    true_m2 = truth()[:, 20:].sum() * 100 / 0.9996**2
    assert abs(changed.area.value - true_m2) < 1.5 * 1.96 * changed.area.standard_error
    with rasterio.open(output / "change.tif") as file:
        mapped = file.read(1)
    right = (mapped == truth())[mapped != 255].mean()
    assert (
        abs(result.report.overall.value - right) < 1.5 * 1.96 * result.report.overall.standard_error
    )

    document = json.loads((tmp_path / "accuracy.json").read_text())
    assert document["overall_accuracy"]["value"] == result.report.overall.value
    assert document["classes"][1]["estimated_area_m2"]["value"] == changed.area.value
    assert np.sum(document["sample_matrix"]) == len(drawn.design.units)
    assert any("1 changed" in line for line in result.summary())


def test_the_same_command_draws_the_same_sample(output: Path, tmp_path: Path) -> None:
    first = run_sample(SampleConfig(map=output, output=tmp_path / "a", seed=3))
    again = run_sample(SampleConfig(map=output / "change.tif", output=tmp_path / "b", seed=3))
    assert first.design == again.design
    for name in ("strata.json", "sample.geojson"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_filled_sample_is_never_overwritten(output: Path) -> None:
    config = SampleConfig(map=output, output=output / "sample")
    run_sample(config)
    run_sample(config)
    before = fill(output / "sample" / "sample.gpkg").read_bytes()
    with pytest.raises(OutputMismatchError, match="nothing was touched"):
        run_sample(config)
    assert (output / "sample" / "sample.gpkg").read_bytes() == before


def test_a_class_that_the_map_lacks_can_still_be_found(output: Path, tmp_path: Path) -> None:
    write_tif(output / "change.tif", np.zeros(SHAPE, np.uint8), frame(*SHAPE))
    drawn = run_sample(SampleConfig(map=output, output=tmp_path / "sample", target_error=0.02))
    assert [entry.samples for entry in drawn.design.classes] == [len(drawn.design.units), 0]
    result = run_assess(AssessConfig(sample=fill(tmp_path / "sample" / "sample.gpkg")))
    area = result.report.classes[1].area
    assert (
        area.value > 0 and abs(area.value - truth().sum() * 100) < 1.5 * 1.96 * area.standard_error
    )
    assert result.document()["classes"][1]["users_accuracy"]["value"] is None
    json.dumps(result.document(), allow_nan=False)


def test_accuracies_are_expected_of_every_class(output: Path, tmp_path: Path) -> None:
    config = SampleConfig(map=output, output=tmp_path / "sample", expected_accuracy={0: 0.9})
    with pytest.raises(ConfigError, match="has no value for class 1 of the map"):
        run_sample(config)
    both = config.model_copy(update={"expected_accuracy": {0: 0.99, 1: 0.9}})
    assert len(run_sample(both).design.units) < len(
        run_sample(config.model_copy(update={"expected_accuracy": 0.8})).design.units
    )


def test_a_class_of_a_single_pixel_is_refused_before_anyone_interprets(
    output: Path, tmp_path: Path
) -> None:
    classes = np.zeros(SHAPE, np.uint8)
    classes[3, 4] = 1
    write_tif(output / "change.tif", classes, frame(*SHAPE))
    with pytest.raises(ConfigError, match="class 1 has a single pixel"):
        run_sample(SampleConfig(map=output, output=tmp_path / "sample"))
    assert not (tmp_path / "sample").exists()


def test_a_stratum_with_one_sample_unit_is_refused(output: Path, tmp_path: Path) -> None:
    design = run_sample(SampleConfig(map=output, output=tmp_path / "sample")).design
    one = next(unit for unit in design.units if unit[2] == 1)
    others = [unit for unit in design.units if unit[2] == 0]
    thinned = design.model_copy(update={"units": (one, *others)})
    with pytest.raises(ConfigError, match=r"stratum 1 \(changed\) has 1 sample unit"):
        assess(thinned, np.zeros(len(thinned.units), np.int64))


def test_names_come_from_the_item_of_this_map_only(output: Path) -> None:
    assert read_class_names(output / "change.tif") == {0: "unchanged", 1: "changed"}
    assert read_class_names(output / "other.tif") == {}


def test_a_folder_without_a_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no change\.tif or classes\.tif"):
        run_sample(SampleConfig(map=tmp_path, output=tmp_path / "sample"))


def noise2map(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *args], capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_the_commands_take_their_file_first_and_end_with_exit_codes(output: Path) -> None:
    folder = output / "sample"
    drawn = noise2map(
        "sample", output, "--output", folder, "--expected-accuracy", "{0: 0.9, 1: 0.8}"
    )
    assert (drawn.returncode, errors(drawn.stderr)) == (0, [])
    assert str(folder / "sample.gpkg") in drawn.stdout
    empty = noise2map("assess", folder / "sample.gpkg")
    assert empty.returncode == 2
    (line,) = errors(empty.stderr)
    assert "not one of" in line
    fill(folder / "sample.gpkg")
    assessed = noise2map("assess", folder / "sample.gpkg", "--output", folder / "accuracy.json")
    assert (assessed.returncode, errors(assessed.stderr)) == (0, [])
    assert "overall accuracy" in assessed.stdout
    unread = noise2map("sample", "no.yaml", "--output", folder)
    assert (unread.returncode, unread.stderr) == (
        2,
        "ConfigError: config no.yaml does not exist.\n",
    )
