"""Configs that ship, listed, named and resolved."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from noise2map_core.cli.application import parse_config
from noise2map_core.cli.commands.configs import config, presets, spaces
from noise2map_core.cli.main import main
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.search.space import read_space
from noise2map_core.workflows.configs import find_config, shipped_configs
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.tools.configs.config import ConfigConfig
from noise2map_core.workflows.tools.configs.presets import PresetsConfig
from noise2map_core.workflows.tools.configs.spaces import SpacesConfig


def shown(*words: str, flags: tuple[str, ...] = ()) -> config.ResolvedConfig:
    return config.run(ConfigConfig(action="show", configs=words, flags=flags))


COMMANDS = {"pairs": "pair-chips", "dataset": "ingest-dataset"}


@pytest.mark.parametrize("name", shipped_configs())
def test_every_config_that_ships_is_resolved_by_its_name(name: str) -> None:
    ending = name.rpartition("-")[2]
    if shipped_configs()[name].parent.name == "presets":
        assert shown("finetune-maps", name).missing == ["chips", "output"]
    elif ending == "first":  # with neither checkpoint nor labels
        assert shown("infer-region", name).missing == []
    else:
        resolved = shown(name)
        assert resolved.missing == []
        assert resolved.command == COMMANDS.get(ending) or resolved.command.startswith(ending)


def test_settings_that_several_commands_take_are_of_whom_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("chips: c\noutput: o\n")
    with pytest.raises(ConfigError, match=r"may be for pretrain-denoiser, finetune-maps, .*say"):
        shown(str(path))
    assert shown("finetune-maps", str(path)).command == "finetune-maps"


def test_what_is_shown_is_a_config_that_means_the_same_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("chips: c.zarr\noutput: o\nmodel: {backbone: start/checkpoint}\n")
    resolved = shown("best", str(mine))
    assert resolved.command == "finetune-maps" and not resolved.missing
    again = tmp_path / "sub" / "again.yaml"
    again.parent.mkdir()
    again.write_text("\n".join(resolved.summary()))
    before = parse_config(FinetuneMapsConfig, ["best", str(mine)])
    monkeypatch.chdir(tmp_path / "sub")
    assert parse_config(FinetuneMapsConfig, [str(again)]) == before
    assert before.chips == tmp_path / "c.zarr"


def test_what_is_still_needed_is_named() -> None:
    resolved = shown("best")
    assert resolved.missing == ["chips", "output"]
    assert resolved.settings["training"]["learning_rate"] == 3e-3
    assert resolved.settings["training"]["epochs"] == 40, "a default"


def test_what_no_command_takes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("chips: a\nepocs: 3\n")
    with pytest.raises(ConfigError, match="no command takes all settings"):
        shown(str(path))
    with pytest.raises(ConfigError, match=r"unknown setting epocs\. Did you mean training\.epochs"):
        shown("finetune-maps", str(path))


def test_no_secret_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("chips: a\noutput: b\nmlflow: {tracking_uri: 'https://me:geheim@host'}\n")
    assert "geheim" not in "\n".join(shown("finetune-maps", str(path)).summary())


def test_a_name_is_found_and_a_mistyped_one_told_the_nearest() -> None:
    assert find_config("best") == shipped_configs()["best"]
    with pytest.raises(ConfigError, match="Did you mean best"):
        find_config("bets")


def test_the_recipe_of_a_name_is_that_of_its_file() -> None:
    given = ["--chips", "c", "--output", "o"]
    by_name = parse_config(FinetuneMapsConfig, ["paper", *given])
    assert by_name == parse_config(FinetuneMapsConfig, [str(shipped_configs()["paper"]), *given])
    assert by_name != parse_config(FinetuneMapsConfig, given)


def test_of_several_configs_the_later_go_before_the_earlier(tmp_path: Path) -> None:
    for name, rate in (("a", 0.1), ("b", 0.2)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"training": {"jitter": rate}}))
    words = [str(tmp_path / "a.yaml"), "paper", str(tmp_path / "b.yaml")]
    found = parse_config(FinetuneMapsConfig, [*words, "--chips", "c", "--output", "o"])
    assert found.training.jitter == 0.2
    assert not found.training.reverse_dates, "the recipe's"


def test_all_that_ships_is_listed() -> None:
    told = "\n".join(presets.run(PresetsConfig()).summary())
    assert all(f"  {name} " in told for name in shipped_configs())
    told = spaces.run(SpacesConfig()).summary()
    for name in ("quick", "full", "ablation_schedules"):
        assert read_space(name)
        assert any(line.startswith(f"  {name} ") for line in told)


def test_a_config_that_ships_means_the_current_folder_but_finds_its_area(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = parse_config(InferRegionConfig, ["taizhou-infer"])
    assert found.output == Path("out/taizhou/map")
    assert found.aoi == checkout / "pipelines" / "aois" / "taizhou.geojson"
    monkeypatch.chdir(checkout)
    here = parse_config(InferRegionConfig, ["pipelines/configs/taizhou-infer.yaml"])
    assert here.aoi == Path("pipelines/aois/taizhou.geojson")
    assert here.search.catalog == "../shared/data/stac/catalog.json"


def test_configs_of_a_checkout_ship_though_the_package_is_installed_from_elsewhere(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(checkout / "pipelines", clone / "pipelines")
    (clone / "noise2map_core").mkdir()
    (clone / "noise2map_core" / "__init__.py").touch()
    monkeypatch.chdir(clone)
    told = parse_config(IngestRegionConfig, ["pipelines/configs/taizhou-ingest.yaml"])
    assert told.output == Path("out/taizhou/chips.zarr")
    monkeypatch.chdir(tmp_path)
    away = parse_config(IngestRegionConfig, ["clone/pipelines/configs/taizhou-ingest.yaml"])
    assert Path(str(away.aoi)) == (clone / "pipelines" / "aois" / "taizhou.geojson").resolve()


def test_flags_of_the_command_stand_behind_the_configs_and_go_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--chips", "c.zarr", "--output", "o", "--training.epochs", "3"]
    monkeypatch.setattr(
        sys, "argv", ["noise2map", "config", "show", "finetune-maps", "best", *flags]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    whole = parse_config(FinetuneMapsConfig, ["best", *flags]).model_dump(mode="json")
    assert settings == {**whole, "chips": str(tmp_path / "c.zarr"), "output": str(tmp_path / "o")}
    assert settings["training"]["epochs"] == 3


def test_flags_say_whose_the_configs_are(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("chips: c\noutput: o\n")
    assert shown(str(path), flags=("--training.epochs", "3", "--change.weight", "2")).command == (
        "finetune-maps"
    )


@pytest.mark.parametrize(
    ("words", "flag", "said"),
    [
        (("finetune-maps", "best"), "--epocs", r"unknown flag --epocs\. Did you mean"),
        (("best",), "--epocs", "no command takes all settings of best --epocs 3"),
    ],
)
def test_a_flag_that_the_command_has_not_is_refused(
    words: tuple[str, ...], flag: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        shown(*words, flags=(flag, "3"))
