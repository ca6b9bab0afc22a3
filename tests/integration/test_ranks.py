"""Several ranks learn what one learns, and each works for itself alone."""

from pathlib import Path

import pytest

from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.settings.chips import ChipsConfig
from noise2map_core.settings.diffusion import DiffusionConfig, GaussianCorruption
from noise2map_core.settings.labels import SplitConfig
from noise2map_core.settings.learning import TaskTrainingConfig
from noise2map_core.training.finetuning import TrainingJob, plan_job
from noise2map_core.workflows.finetune_maps import TrialSettings
from tests.chip_factories import changed_land, make_store, plan_store
from tests.ranks import losses_alone, losses_together
from tests.unit.evaluation.test_evaluation import bounds

SPLIT = SplitConfig(boxes={"train": (bounds(0, 0, 90, 78),), "val": (bounds(0, 94, 40, 110),)})
"""Of several shards, so that there are lanes."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    job = plan_store(
        folder / "sources", folder / "chips.zarr", split=SPLIT, pixels=changed_land(),
        chips=ChipsConfig(chip_px=16, stride_px=4),
    )  # fmt: skip
    return open_store(make_store(job))


def job(store: ChipStore, state: Path, **training: object) -> TrainingJob:
    """Everything that is drawn is drawn; steps are small, for a rounding grows with each."""
    given = {"batch": 8, "epochs": 2, "learning_rate": 3e-4, "checkpoint_steps": 1,
             "haze": 0.3, "crop": 0.2,
             "invariance": {"shift_px": 1.0, "noise": 0.1, "pasted": 0.2}}  # fmt: skip
    settings = TrialSettings.model_validate(
        {
            "training": given | training,
            "change": TaskTrainingConfig(
                diffusion=DiffusionConfig(corruption=GaussianCorruption())
            ),
        }
    )
    state.mkdir()
    return plan_job(settings, store, state, seed=3)


@pytest.mark.slow
def test_four_ranks_have_the_losses_of_one_with_four_times_the_accumulation(
    store: ChipStore, tmp_path: Path
) -> None:
    """Over a hundred steps, in fp32."""
    assert compare(store, tmp_path) > 100


def test_four_ranks_have_the_losses_of_one_for_a_few_steps(
    store: ChipStore, tmp_path: Path
) -> None:
    assert compare(store, tmp_path, batch=64, epochs=1) >= 5


def compare(store: ChipStore, folder: Path, **training: object) -> int:
    """Check the losses of four ranks; how many there are."""
    alone = losses_alone(job(store, folder / "one", accumulation=4, **training))
    together = losses_together(job(store, folder / "four", **training), 4, folder)
    for losses in together:
        assert losses == pytest.approx(alone, rel=1e-4)
    return len(alone)
