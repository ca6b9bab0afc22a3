"""Chip stores of invented worlds."""

from pathlib import Path

import numpy as np
import pytest

from noise2map_core.chips.store import open_chips, open_store
from noise2map_core.cli.commands import draw_worlds
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.testing.worlds.pair import render_pair
from noise2map_core.workflows.tools.draw_worlds import DrawWorldsConfig


def test_a_store_holds_the_worlds_of_its_seed(tmp_path: Path) -> None:
    config = DrawWorldsConfig(
        output=tmp_path / "chips.zarr",
        count=20,
        chip_px=64,
        seed=3,
        resolution_spread=1,
        classes="all",
    )
    draw_worlds.run(config)
    found = open_chips(config.output).load()
    assert found["split"].values.tolist() == ["train"] * 18 + ["val"] * 2
    pair = render_pair("buildings", 3, 17, 64, 0.5)
    chip = found.isel(chip=17)
    assert np.array_equal(chip["image"], [pair.before, pair.after])
    assert np.array_equal(chip["label_segment"], [pair.classes_before, pair.classes_after])
    assert np.array_equal(chip["label_change"], pair.changed)


def test_land_has_six_bands_and_masks_of_what_is_built_up(tmp_path: Path) -> None:
    config = DrawWorldsConfig(output=tmp_path / "chips.zarr", family="land", count=4, chip_px=64)
    draw_worlds.run(config)
    attributes = open_store(config.output).attributes
    names = [band["name"] for band in attributes["bands"]]
    assert names == ["blue", "green", "red", "nir", "swir16", "swir22"]
    assert [entry["name"] for entry in attributes["classes"]["segment"]] == [
        "background", "building",
    ]  # fmt: skip
    assert attributes["gsd"] == 10


def test_a_store_that_is_there_is_left_alone(tmp_path: Path) -> None:
    config = DrawWorldsConfig(output=tmp_path / "chips.zarr", count=2, chip_px=32)
    draw_worlds.run(config)
    with pytest.raises(OutputMismatchError, match="there already"):
        draw_worlds.run(config)
