"""Commands that take the best days of ranges, or show the days that they would take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noise2map_core.chips.ingest import plan_ingest
from noise2map_core.cli.commands import plan
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.tools.plan import PlanConfig
from tests.pair_factories import SceneOf, write_pair
from tests.raster_factories import frame

SIDE = 96


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Of a catalogue whose latest day shows half of the area."""
    rng = np.random.default_rng(0)
    whole = [rng.integers(500, 3000, (4, SIDE, SIDE)).astype(np.uint16) for _ in range(3)]
    scenes = [
        SceneOf("2020-06-01", whole[0]),
        SceneOf("2022-06-01", whole[1]),
        SceneOf("2022-06-03", whole[2][:, :, :48]),
    ]
    made = write_pair(tmp_path / "scenes", scenes, frame(SIDE, SIDE))
    return {**made, "output": str(tmp_path / "out")}


def test_an_ingest_takes_the_best_day_of_a_range(settings: dict[str, Any]) -> None:
    del settings["mask"]
    chips = {"chip_px": 32}
    made = {**settings, "after": "best 2022-05-01/2022-07-01", "chips": chips}
    planned = plan_ingest(IngestRegionConfig.model_validate(made))
    assert planned.chosen == ("after: 2022-06-01, cloud not known, of 2 dates",)
    days = [[str(scene.datetime.date()) for scene in of_date] for of_date in planned.ingest.dates]
    assert days == [["2020-06-01"], ["2022-06-01"]]


def test_a_plan_draws_the_days_that_it_would_take(settings: dict[str, Any], tmp_path: Path) -> None:
    sheet = tmp_path / "pictures" / "days.png"
    made = {**settings, "previews": str(sheet), "grid": {"tile_px": 64}}
    said = plan.run(PlanConfig.model_validate(made)).summary()
    assert said[-1] == f"pictures {sheet}" and f"before   scene-{0}" in said
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "out").exists()
