"""Configs that are written for an area of one's own."""

import re
from pathlib import Path

import pytest

from noise2map_core.cli.application import parse_config
from noise2map_core.cli.commands.configs.init import run
from noise2map_core.nightly.areas import iter_areas
from noise2map_core.runtime.errors import ConfigError, OutputError
from noise2map_core.settings.reading import parse_yaml
from noise2map_core.workflows.launch import find_command
from noise2map_core.workflows.run_nightly import NightlyConfig
from noise2map_core.workflows.tools.configs.catalogues import PLANETARY
from noise2map_core.workflows.tools.configs.init import InitConfig

DATES = {"before": "2020-06-01/2020-08-31", "after": "best 2024-06-01/2024-08-31"}
BOX = "8.0,47.0,8.1,47.1"


def written(folder: Path, **given: object) -> dict[str, object]:
    """What each command makes of the files that init writes, by the file's name."""
    made = run(InitConfig.model_validate({"folder": folder, "aoi": BOX, **DATES, **given}))
    configs = {}
    for file in made.files:
        command = file.read_text().splitlines()[0].split()[2]
        configs[file.name] = parse_config(find_command(command).workflow.config, [str(file)])
    return configs


def test_a_config_is_taken_by_its_command_and_says_what_was_asked_for(tmp_path: Path) -> None:
    config = written(tmp_path, imagery="landsat")["map.yaml"]
    assert (str(config.aoi), config.before, config.after) == (BOX, *DATES.values())
    assert config.search.collection == "landsat-c2-l2" and "nir08" in config.search.bands
    assert str(config.checkpoint) == "mad"
    assert config.output == tmp_path / "map"


def test_bands_are_those_that_the_named_collection_is_known_by(tmp_path: Path) -> None:
    named = {"catalog": PLANETARY + "/", "collection": "sentinel-2-l2a"}
    search = written(tmp_path, **named)["map.yaml"].search
    assert search.bands == ("B02", "B03", "B04", "B08", "B11", "B12")


@pytest.mark.parametrize("what", ["map", "train", "nightly"])
def test_a_config_in_another_folder_is_taken_beside_an_earlier_output_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for earlier in ("map", "chips.zarr", "training", "nights"):
        Path(earlier).mkdir()
    days = {"before": "2024-06-01/2024-08-31", "after": "2025-01-01"}
    written(Path("mine"), what=what, labels="a.gpkg", **days)


def test_of_a_checkpoint_the_bands_are_its_own(tmp_path: Path) -> None:
    assert not written(tmp_path, checkpoint="land")["map.yaml"].search.bands


@pytest.mark.parametrize(("labels", "kind"), [("a.gpkg", "polygons"), ("a.tif", "raster")])
def test_a_training_has_chips_of_labels_and_blocks_to_be_judged_on(
    tmp_path: Path, labels: str, kind: str
) -> None:
    configs = written(tmp_path / "new", what="train", labels=tmp_path / labels)
    chips, training = configs["chips.yaml"], configs["train.yaml"]
    assert chips.labels.kind == kind and chips.split.blocks is not None
    assert Path(chips.labels.path).resolve() == tmp_path / labels
    assert training.chips == chips.output == tmp_path / "new" / "chips.zarr"


def test_a_training_on_folders_of_images(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    configs = written(tmp_path, what="train", labels=tmp_path / "mine", resolution=0.5)
    dataset = configs["chips.yaml"].dataset
    assert (dataset.kind, dataset.resolution) == ("folders", 0.5)
    assert dataset.root.resolve() == tmp_path / "mine"


def test_an_area_of_nights_is_one_that_nights_take(tmp_path: Path) -> None:
    given = {"before": "2023-06-01/2023-08-31", "after": "2025-01-01"}
    config = written(tmp_path, what="nightly", **given)["nightly.yaml"]
    assert isinstance(config, NightlyConfig)
    ((name, area),) = iter_areas(config)
    assert name == "area-1" and str(area.config.since) == "2025-01-01"
    assert area.output == (tmp_path / "nights" / "area-1").resolve()


@pytest.mark.parametrize("what", ["map", "train", "nightly"])
def test_what_stands_behind_a_hash_is_a_setting_with_its_default(tmp_path: Path, what: str) -> None:
    given = {"labels": "a.gpkg", "before": "2020-01-01", "after": "2024-01-01"}
    plain = written(tmp_path / "a", what=what, **given)
    for file in (tmp_path / "a").iterdir():
        lines = file.read_text().splitlines()
        told = re.compile(r"\s*(- )?# \S")
        bare = [line if told.match(line) else line.replace("#", "", 1) for line in lines]
        assert bare != lines
        again = tmp_path / "a" / f"bare-{file.name}"
        again.write_text("\n".join(bare))
        if what != "nightly":  # alerts are something else than none
            assert parse_config(type(plain[file.name]), [str(again)]) == plain[file.name]
        else:
            assert iter_areas(parse_config(NightlyConfig, [str(again)]))
            assert parse_yaml(again.read_text())["areas"][0]["alerts"] == {"k": 2, "n": 4}


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("mine")
    with pytest.raises(OutputError, match=r"train.yaml is there already; nothing was written"):
        written(tmp_path, what="train", labels="a.gpkg")
    assert [file.name for file in tmp_path.iterdir()] == ["train.yaml"]
    assert (tmp_path / "train.yaml").read_text() == "mine"


def test_what_the_command_would_refuse_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nights choose no"):
        written(tmp_path, what="nightly", before="best 2020-01-01/2020-02-01", after="2024-01-01")
    assert not list(tmp_path.iterdir())


def test_what_is_needed_is_asked_for_in_a_terminal_and_named_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = InitConfig(folder=tmp_path, before="2020-01-01", after="2024-01-01")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ConfigError, match="map needs --aoi: Area"):
        run(needed)
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or BOX)
    run(needed)
    assert len(asked) == 1 and parse_yaml((tmp_path / "map.yaml").read_text())["aoi"] == BOX


def test_the_next_commands_are_printed(tmp_path: Path) -> None:
    made = run(InitConfig(folder=tmp_path, aoi=BOX, **DATES))
    assert made.summary()[1:] == [
        f"next      noise2map plan {tmp_path}/map.yaml",
        f"next      noise2map infer-region {tmp_path}/map.yaml",
    ]
