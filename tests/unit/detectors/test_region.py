"""Detectors as maps of regions: the same bytes however the work is cut, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from sklearn.metrics import roc_auc_score

from noise2map_core.detectors.detector import Detector
from noise2map_core.detectors.fitting import FILE, keep_detector
from noise2map_core.detectors.spec import DetectorSpec, dump_detector, load_detector
from noise2map_core.inference.model import read_model
from noise2map_core.products.verification import verify_output
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.runtime.storage import location, read_bytes
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from tests.memory_bucket import keep_in_memory
from tests.region_in_process import map_here

PLAIN = {
    "aoi": "a", "after": "2000-01-01", "output": "o",
    "search": {"catalog": "c", "collection": "c"},
}  # fmt: skip


def settings(embedded: EmbeddedCatalog, **more: Any) -> dict[str, Any]:
    search = {
        "catalog": str(embedded.catalog), "collection": embedded.collection,
        "bands": ["blue", "green", "red", "nir"],
    }  # fmt: skip
    return {"search": search, **more}


@pytest.fixture(scope="module")
def output(embedded: EmbeddedCatalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map without a checkpoint."""
    made = tmp_path_factory.mktemp("detector") / "map"
    said = map_here(embedded, None, made, **settings(embedded)).summary()
    assert any(line.startswith("no checkpoint was named: the detector mad") for line in said)
    return made


def test_a_map_needs_no_checkpoint(output: Path, embedded: EmbeddedCatalog) -> None:
    assert verify_output(output)
    with rasterio.open(output / "probability.tif") as map_, rasterio.open(embedded.truth) as truth:
        window = truth.window(*map_.bounds).round_offsets().round_lengths()
        found, known = map_.read(1), truth.read(1, window=window)
    assert roc_auc_score(known[found != 65_535], found[found != 65_535]) > 0.75
    model = json.loads((output / "manifest.json").read_text())
    assert model["model_digest"] and not model["config"]["checkpoint"]


def test_a_rerun_reads_no_imagery_and_changes_nothing(
    output: Path, embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("imagery was read")

    monkeypatch.setattr("noise2map_core.detectors.fitting.sample_pair", never)
    before = {path: file_sha256(path) for path in output.rglob("*") if path.is_file()}
    result = map_here(embedded, None, output, **settings(embedded))
    assert (result.predicted, result.figures) == (0, None)
    lock = output / "ledger" / "fence.json"
    after = {path: file_sha256(path) for path in output.rglob("*") if path.is_file()}
    assert {path for path in before if before[path] != after[path]} <= {lock}


@pytest.mark.parametrize("kind", ["mad", "irmad", "cva"])
def test_tiles_of_any_size_give_the_same_pixels(
    embedded: EmbeddedCatalog, tmp_path: Path, kind: str
) -> None:
    for tile_px in (64, 256):
        out = tmp_path / str(tile_px)
        map_here(embedded, Path(kind), out, **settings(embedded, grid={"tile_px": tile_px}))
    for name in ("change.tif", "probability.tif"):
        with (
            rasterio.open(tmp_path / "64" / name) as small,
            rasterio.open(tmp_path / "256" / name) as large,
        ):
            assert small.transform == large.transform
            np.testing.assert_array_equal(small.read(), large.read())


def test_more_false_alarms_are_more_change(embedded: EmbeddedCatalog, tmp_path: Path) -> None:
    areas = []
    for alarms in (0.001, 0.05):
        result = map_here(
            embedded, Path("mad"), tmp_path / str(alarms),
            **settings(embedded, detector={"false_alarms": alarms}),
        )  # fmt: skip
        assert result.figures is not None
        areas.append(result.figures.changed_m2)
    assert areas[0] < areas[1]


def test_a_detector_is_read_back_as_it_was_fitted(output: Path) -> None:
    text = (output / FILE).read_text()
    key = json.loads(text)["key"]
    fitted = load_detector(text, key)
    assert isinstance(fitted, Detector)
    again = DetectorSpec("mad", ("a", "b", "c", "d"), 0.01, fitted, key)
    assert dump_detector(again) == text
    assert load_detector(text, "another") is None
    for damaged in (text[:-40], "{}", "[]", text.replace('"null"', '"nul"')):
        assert load_detector(damaged, key) is None


def test_a_detector_is_kept_as_an_object_too(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (output / FILE).read_text()
    key = json.loads(text)["key"]
    spec = DetectorSpec("mad", ("a", "b", "c", "d"), 0.01, load_detector(text, key), key)
    keep_in_memory(monkeypatch)
    keep_detector(spec, location("s3://bucket/map"))
    assert read_bytes(location("s3://bucket/map") / FILE).decode() == text


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"task": "segment", "before": None}, CheckpointError, "cannot segment"),
        ({"inference": {"batch": 4}}, ConfigError, "inference.batch is not used by a detector"),
        ({"search": {"catalog": "x.json", "collection": "x"}}, ConfigError, "Set search.bands"),
        (
            {"checkpoint": "buildings", "detector": {"false_alarms": 0.1}},
            ConfigError,
            "detector.false_alarms is not used with checkpoint buildings",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    embedded: EmbeddedCatalog, tmp_path: Path, more: dict[str, Any],
    error: type[Exception], words: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=words):
        checkpoint = Path(more.pop("checkpoint", "mad"))
        map_here(embedded, checkpoint, tmp_path / "out", **settings(embedded, **more))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_a_rate_outside_its_limits_is_refused(embedded: EmbeddedCatalog, rate: float) -> None:
    with pytest.raises(ValueError, match="false_alarms"):
        InferRegionConfig.model_validate({**PLAIN, "detector": {"false_alarms": rate}})


def test_a_directory_of_that_name_goes_before_a_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = InferRegionConfig.model_validate(
        {
            "aoi": "a",
            "after": "2000-01-01",
            "output": "o",
            "search": {"catalog": "c", "collection": "c"},
        }
    )
    assert isinstance(read_model(Path("mad"), ("a",), config), DetectorSpec)
    (tmp_path / "mad").mkdir()
    with pytest.raises(CheckpointError):
        read_model(Path("mad"), ("a",), config)
