"""What a run may ask of a checkpoint."""

from pathlib import Path
from typing import Any

import pytest

from noise2map_core.diffusion.corruption import difference_gain
from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.imagery.recipe import UNCHANGED, PixelRecipe
from noise2map_core.inference.planning import (
    MIN_GAIN,
    plan_evidence,
    require_gsd,
    require_threshold,
    suspecting,
)
from noise2map_core.inference.region import Pass
from noise2map_core.models.spec import ClassSpec
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.imagery import MapMaskConfig, MaskConfig
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.network import Task
from tests.factories import checkpoint_spec, task_spec

RGB = ("red", "green", "blue")
CHANGE, SEGMENT = task_spec("change"), task_spec("segment")


def suspicion_of(
    recipe: PixelRecipe = UNCHANGED, suspect: bool = True, task: Task = "change"
) -> Any:
    spec = checkpoint_spec(
        bands=RGB, tasks={name: task_spec(name, 3) for name in ("change", "segment")}
    )
    numbers = spec.task(task).normalisation
    mask = MapMaskConfig(suspect=suspect)
    return suspecting(recipe, mask, spec.bands, numbers, 10.0, "uint16").suspicion


def test_clouds_are_suspected_by_the_numbers_that_the_model_learnt_from() -> None:
    found = suspicion_of()
    assert found.mean == ((1000.0,) * 3,) * 2
    assert found.unit == (500.0, 500.0)
    assert sorted(found.bands) == [0, 1, 2]


def test_where_masks_know_nothing_is_suspected() -> None:
    assert suspicion_of(PixelRecipe(mask=MaskConfig(use="on"))) is None


def test_suspicion_is_off_by_a_flag_and_for_one_date() -> None:
    assert suspicion_of(suspect=False) is None
    assert suspicion_of(task="segment") is None


def test_without_disagreement_there_are_no_passes() -> None:
    assert plan_evidence(InferenceConfig(), CHANGE) == ()


def test_timesteps_at_which_the_dates_cannot_be_told_apart_are_left_out() -> None:
    passes = plan_evidence(InferenceConfig(disagreement="both"), CHANGE)
    gain = difference_gain(CHANGE.corruption, schedule_alpha_bars(CHANGE.schedule)).abs()
    timesteps = [one.timestep for one in passes if not one.reversed_dates]
    assert passes == tuple(Pass(t, order) for t in timesteps for order in (False, True))
    assert len(timesteps) == 4 and timesteps[0] == 0 and timesteps[-1] == 999
    assert all(gain[t] >= MIN_GAIN for t in timesteps)


def test_the_order_alone_is_tried_at_the_timesteps_of_the_map() -> None:
    config = InferenceConfig(disagreement="order", timesteps=(900,))
    assert plan_evidence(config, CHANGE) == (Pass(900), Pass(900, reversed_dates=True))


def test_flips_lay_chips_in_eight_ways_at_the_timesteps_of_the_map() -> None:
    passes = plan_evidence(InferenceConfig(disagreement="flips"), CHANGE)
    assert passes == tuple(Pass(999, turn=turn) for turn in range(8))
    assert [one.key() for one in passes[:2]] == [[999, False], [999, False, 1]]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (InferenceConfig(disagreement="timesteps", disagreement_timesteps=(258,)), "258"),
        (InferenceConfig(disagreement="both", disagreement_timesteps=(0, 1000)), "1000"),
    ],
)
def test_timesteps_that_say_nothing_are_refused(config: InferenceConfig, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        plan_evidence(config, CHANGE)


def test_one_date_has_no_order() -> None:
    with pytest.raises(ConfigError, match="one"):
        plan_evidence(InferenceConfig(disagreement="order"), SEGMENT)
    assert len(plan_evidence(InferenceConfig(disagreement="timesteps"), SEGMENT)) == 4


def test_a_map_of_many_classes_has_no_threshold_to_move() -> None:
    classes = tuple(ClassSpec(value=v, name=f"c{v}", color="#000000") for v in range(3))
    require_threshold(0.3, CHANGE)
    with pytest.raises(ConfigError, match="3"):
        require_threshold(0.3, task_spec("segment", classes=classes, threshold={}))


FINE = checkpoint_spec(gsd=0.3, gsd_range=(0.15, 0.6))


@pytest.mark.parametrize("side", [10.0, 0.7])
def test_a_map_coarser_than_a_checkpoint_accepts_is_not_told_to_invent_pixels(side: float) -> None:
    with pytest.raises(CheckpointError, match="choose finer imagery, or a checkpoint for") as error:
        require_gsd(side, FINE, Path("c"), finest=side)
    assert "grid.resolution" not in str(error.value)


def test_a_map_may_be_made_coarser_or_as_fine_as_its_imagery() -> None:
    with pytest.raises(CheckpointError, match=r"Set grid\.resolution to 0\.15 … 0\.6"):
        require_gsd(0.05, FINE, Path("c"), finest=0.05)
    with pytest.raises(CheckpointError, match=r"Set grid\.resolution to 0\.5 … 0\.6"):
        require_gsd(2.0, FINE, Path("c"), finest=0.5)
    require_gsd(0.6, FINE, Path("c"), finest=0.6)
