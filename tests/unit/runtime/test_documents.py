"""Files that people hand over: read, or refused at once with the reason, whoever reads them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from noise2map_core.assessment.sample_files import read_design, read_references
from noise2map_core.evaluation.ranking import read_scores
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.runtime.documents import MAX_DOCUMENT, parse_json, read_file, read_text
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.search.space import read_space
from noise2map_core.search.sweep import SWEEP_FILE, open_sweep
from noise2map_core.settings.reading import build_config, parse_yaml, read_settings
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.tools.plan import PlanConfig


def sweep_at(path: Path) -> object:
    path.rename(path.with_name(SWEEP_FILE))
    return open_sweep(path.parent)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "settings": ("a.yaml", read_settings),
    "space": ("space.yaml", lambda path: read_space(str(path))),
    "area": ("area.geojson", read_aoi),
    "table": ("scores.json", read_scores),
    "table of text": ("scores.csv", read_scores),
    "design": ("strata.json", read_design),
    "sample": ("sample.geojson", lambda path: read_references(path, None)),
    "sweep": ("note.json", sweep_at),
}


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def holding(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


NONSENSE: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path),
    "terabyte": huge,
    "UTF-16": holding('{"a": 1}'.encode("utf-16")),
    "Latin-1": holding('{"a": "ü"}'.encode("latin-1")),
    "deep": holding(b"[" * 200_000),
    "objects in objects": holding(b'{"a":' * 200_000),
    "a key twice": holding(b'{"type": "Polygon", "type": "Polygon"}'),
    "number": holding(b"7"),
    "digits": holding(b"9" * 100_000),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("reader", READERS)
def test_whatever_lies_there_is_refused_in_one_line(
    reader: str, nonsense: str, tmp_path: Path
) -> None:
    name, read = READERS[reader]
    NONSENSE[nonsense](tmp_path / name)
    with pytest.raises(ConfigError) as refused:
        read(tmp_path / name)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 1000


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf" + b"output: a\n")
    assert read_text(path) == "output: a\n"
    assert read_settings(path) == {"output": "a"}


def test_a_file_is_read_up_to_the_bound_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, more than the 4 that are read"):
        read_file(tmp_path / "a", 4)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "b")
    assert MAX_DOCUMENT >= 1 << 24


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": [-Infinity]}', '{"a": 1e999}'])
def test_numbers_of_json_are_finite(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        parse_json(text)
    assert parse_json(text, allow_nan=True) is not None


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5, None, "x", {"b": True}]}, [], "text", 0, {"é": "ü"}]
)
def test_json_means_what_the_library_says(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


def test_a_setting_that_stands_twice_is_refused_and_merges_are_not() -> None:
    with pytest.raises(yaml.YAMLError, match="'epochs' stands twice"):
        parse_yaml("training:\n  epochs: 3\n  epochs: 30\n")
    merged = "c: &c {x: 1}\nbase: {inner: &b {<<: *c, x: 2}}\nd: {<<: *b, y: 3}\n"
    assert parse_yaml(merged)["d"] == {"x": 2, "y": 3}


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "nan", "Infinity", "1e999"])
@pytest.mark.parametrize(
    ("config", "path"),
    [
        (FinetuneMapsConfig, "training.learning_rate"),
        (FinetuneMapsConfig, "training.jitter"),
        (FinetuneMapsConfig, "change.weight"),
        (FinetuneMapsConfig, "change.loss.dice"),
        (PlanConfig, "price_per_hour"),
        (InferRegionConfig, "grid.resolution"),
    ],
)
def test_no_setting_is_without_end(config: type, path: str, value: str) -> None:
    given = {"chips": "c", "output": "o", "aoi": "a", "after": "2020", "checkpoint": "c",
             "search": {"catalog": "c", "collection": "d"}}  # fmt: skip
    given = {name: one for name, one in given.items() if name in config.model_fields}
    *way, last = path.split(".")
    settings: dict[str, Any] = {last: parse_yaml(value)}
    for part in reversed(way):
        settings = {part: settings}
    with pytest.raises(ConfigError, match=path.rpartition(".")[2]):
        build_config(config, given, settings)
