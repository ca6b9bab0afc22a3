"""Settings by keyword are those of the command."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import noise2map_core
from noise2map_core.cli.application import parse_config
from noise2map_core.functions.settings import config_of
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig

FLAGS = [
    "--aoi", "1,2,3,4", "--catalog", "catalog.json", "--collection", "scenes",
    "--search.bands", "red", "green", "--after", "2020-05-01", "--output", "out/map",
    "--grid.resolution", "10",
]  # fmt: skip
KEYWORDS = {
    "aoi": "1,2,3,4", "catalog": Path("catalog.json"), "after": "2020-05-01",
    "search": {"collection": "scenes", "bands": ("red", "green")}, "output": Path("out/map"),
    "grid.resolution": 10,
}  # fmt: skip


def test_keywords_give_the_config_of_the_flags() -> None:
    assert config_of(InferRegionConfig, None, KEYWORDS) == parse_config(InferRegionConfig, FLAGS)


def test_keywords_go_before_a_file_a_mapping_and_a_config(tmp_path: Path) -> None:
    yaml = tmp_path / "map.yaml"
    yaml.write_text(
        "aoi: 9,9,10,10\nafter: 2020-05-01\noutput: out/map\ngrid: {resolution: 20}\n"
        "search: {catalog: catalog.json, collection: scenes, bands: [nir]}\n"
    )
    changes = {"aoi": "1,2,3,4", "bands": ["red", "green"], "grid.resolution": 10.0}
    expected = parse_config(InferRegionConfig, FLAGS)
    from_file = config_of(InferRegionConfig, yaml, changes)
    assert from_file == expected
    below = config_of(InferRegionConfig, str(yaml), {})
    assert config_of(InferRegionConfig, below, changes) == expected
    search = SearchConfig(catalog="catalog.json", collection="scenes", bands=("red", "green"))
    given = {"aoi": "1,2,3,4", "search": search, "after": "2020-05-01", "output": "out/map"}
    assert config_of(InferRegionConfig, given, {"grid": {"resolution": 10}}) == expected


def test_a_choice_of_another_kind_begins_anew() -> None:
    given = {"chips": "a.zarr", "output": "out", "change": {"diffusion": {
        "schedule": {"kind": "linear", "beta_end": 0.03}}}}  # fmt: skip
    found = config_of(FinetuneMapsConfig, given, {"change.diffusion.schedule": {"kind": "cosine"}})
    assert found.change.diffusion.schedule.kind == "cosine"


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"tresh": 1}, r"unknown setting tresh"),
        ({"gird.resolution": 1}, r"unknown setting gird"),
        ({"search": {"catalogue": "x"}}, r"unknown setting search\.catalogue\. Did you mean"),
        ({"grid.resolution": -1}, r"grid\.resolution: "),
    ],
)
def test_what_the_command_refuses_is_refused_in_its_words(
    keywords: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        noise2map_core.map_region(KEYWORDS, **keywords)
    with pytest.raises(ConfigError, match=r"missing settings aoi, search\.catalog, .*output"):
        noise2map_core.map_region()


def test_notebooks_are_shown_the_settings() -> None:
    parameters = inspect.signature(noise2map_core.map_region).parameters
    assert set(InferRegionConfig.model_fields) < set(parameters)
    assert parameters["aoi"].default is inspect.Parameter.empty
    assert parameters["before"].default is None
    assert "checkpoint: Directory that finetune-maps wrote" in inspect.getdoc(
        noise2map_core.map_region
    )


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    script = (
        "import sys, noise2map_core as n\n"
        "n.map_region, n.ingest, n.finetune, n.evaluate\n"
        "assert set(n.__all__) <= set(dir(n))\n"
        "print(sorted({'numpy', 'torch', 'ray', 'rasterio', 'xarray'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    for name in noise2map_core.__all__:
        found = getattr(noise2map_core, name)
        assert inspect.getdoc(found) and found.__name__ == name
