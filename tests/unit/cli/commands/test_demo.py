"""The settings that ship: of the demonstration, and of the real scenes."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from noise2map_core.cli.commands.demo import STEPS, step_settings
from noise2map_core.settings.reading import build_config, read_settings
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.launch import find_command
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig
from noise2map_core.workflows.tools.pair_chips import PairChipsConfig

TOOLS = {"pairs": PairChipsConfig, "dataset": IngestDatasetConfig}
PRESETS = sorted((Path(__file__).parents[4] / "pipelines" / "configs" / "presets").glob("*.yaml"))
CONFIGS = sorted((Path(__file__).parents[4] / "pipelines" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_that_ships_is_one_of_its_application(path: Path) -> None:
    assert build_config(_config_type(path.stem.rpartition("-")[2]), read_settings(path), {})


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_a_config_of_finetune_maps_given_chips_and_output(path: Path) -> None:
    flags = {"chips": "chips.zarr", "output": "out"}
    assert build_config(FinetuneMapsConfig, read_settings(path), flags)


def test_the_best_preset_for_change_spells_the_defaults_out() -> None:
    flags = {"chips": "chips.zarr", "output": "out"}
    (best,) = (path for path in PRESETS if path.stem == "best")
    of_preset = build_config(FinetuneMapsConfig, read_settings(best), flags)
    assert of_preset == build_config(FinetuneMapsConfig, {}, flags)


def _config_type(step: str) -> type[BaseModel]:
    if step in TOOLS:
        return TOOLS[step]
    return find_command(STEPS[step]).workflow.config


def test_every_path_of_the_demonstration_lies_in_its_output() -> None:
    output = Path("/elsewhere")
    for step in STEPS:
        settings = step_settings(step, output)
        assert "out/demo" not in str(settings)
        assert str(settings["output"]).startswith("/elsewhere")
    assert step_settings("infer", output)["search"]["catalog"] == "/elsewhere/catalog/catalog.json"
