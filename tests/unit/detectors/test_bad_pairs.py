"""Pairs that a detector cannot compare, each with a line that says what to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noise2map_core.runtime.errors import CheckpointError, Noise2MapError, PairRejectedError
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines import infer_region
from tests.pair_factories import BANDS, SceneOf, write_pair
from tests.raster_factories import frame
from tests.region_in_process import in_process

SIDE = 160
BEFORE, AFTER = "2020-06-01", "2022-06-01"


def ground(seed: int, bands: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(500, 3000, (bands, SIDE, SIDE)).astype(np.uint16)


def mapped(folder: Path, *scenes: SceneOf, bands: tuple[str, ...] = BANDS, **more: Any) -> Any:
    settings = write_pair(folder, scenes, frame(SIDE, SIDE))
    settings["search"]["bands"] = list(bands)
    settings |= {"output": str(folder / "map"), "grid": {"tile_px": 64}, **more}
    with in_process():
        return infer_region.run(InferRegionConfig.model_validate(settings))


def test_one_band_is_mapped_by_the_change_vector(tmp_path: Path) -> None:
    scenes = SceneOf(BEFORE, ground(0)), SceneOf(AFTER, ground(1))
    said = mapped(tmp_path, *scenes, bands=("nir",)).summary()
    assert any("the detector cva made the map" in line for line in said)


@pytest.mark.parametrize(
    ("after", "error", "words"),
    [
        pytest.param(
            SceneOf(AFTER, ground(1, 3), bands=("blue", "green", "red")),
            Noise2MapError, "scene-1 has no band 'nir'.*Set search.bands", id="other bands",
        ),
        pytest.param(
            SceneOf(AFTER, np.where(np.arange(SIDE) < 158, 0, ground(1)).astype(np.uint16)),
            PairRejectedError, "only 0 of .* observed at both dates.* Set other dates",
            id="no overlap",
        ),
        pytest.param(
            SceneOf(AFTER, np.full_like(ground(1), 700)),
            PairRejectedError, "no band varies at both dates.* Set other dates or bands",
            id="constant bands",
        ),
    ],
)  # fmt: skip
def test_dates_that_cannot_be_compared(
    tmp_path: Path, after: SceneOf, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        mapped(tmp_path, SceneOf(BEFORE, ground(0)), after)
    assert not (tmp_path / "map").exists()


def test_less_than_one_percent_of_overlap_is_too_little(tmp_path: Path) -> None:
    gap = np.where(np.arange(SIDE) < 154, 0, ground(1))
    gap[:, 30:] = 0
    with pytest.raises(PairRejectedError, match=r"only \d+ of [\d,]+ pixels of the sample"):
        mapped(tmp_path, SceneOf(BEFORE, ground(0)), SceneOf(AFTER, gap.astype(np.uint16)))


def test_a_checkpoint_that_is_none_tells_of_detectors(tmp_path: Path) -> None:
    words = "checkpoint .*irrmad has no model.json.* ships with noise2map: buildings.* Or name a "
    scenes = SceneOf(BEFORE, ground(0)), SceneOf(AFTER, ground(1))
    with pytest.raises(CheckpointError, match=words + "detector.*: mad, irmad, cva[.]$"):
        mapped(tmp_path, *scenes, checkpoint="irrmad")
