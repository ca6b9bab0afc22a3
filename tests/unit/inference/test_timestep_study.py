import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from noise2map_core.errors import ConfigError
from noise2map_core.imagery.chip_store import ChipStore, open_store
from noise2map_core.inference.chip_batches import ChipReader
from noise2map_core.inference.timestep_study import study_chip, telling_timesteps
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.tools.study_timesteps import StudyTimestepsConfig, run
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec, task_spec
from tests.unit.inference.test_evaluation import SPLIT


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    return open_store(make_store(plan_store(folder / "a", folder / "chips.zarr", split=SPLIT)))


@pytest.fixture(scope="module")
def model(store: ChipStore) -> Noise2Map:
    torch.manual_seed(0)
    return Noise2Map(checkpoint_spec(bands=tuple(store.bands), chip_px=16)).eval()


def test_every_timestep_and_order_is_what_the_model_says(
    store: ChipStore, model: Noise2Map
) -> None:
    batch = ChipReader(store, ("change",)).read(store.chips_of("val")[:1])
    study = study_chip(model, batch, "change", (0, 700, 999))
    image, valid = batch.inputs("change")
    # One mean and one spread for both dates: so the order can be changed before normalising, too.
    swapped = torch.cat(list(image.chunk(2, dim=1))[::-1], dim=1), valid.flip(1)
    with torch.inference_mode():
        for order, (pixels, seen) in enumerate(((image, valid), swapped)):
            for index, t in enumerate((0, 700, 999)):
                expected = model.logits(pixels, t, seen).softmax(dim=1)[0, 1]
                np.testing.assert_allclose(study.probability[order, index], expected, atol=1e-4)
    assert study.orders == ("normal", "swapped")
    assert study.changes_its_mind[~study.observed].sum() == 0


def test_timesteps_that_cannot_tell_the_dates_are_left_out(model: Noise2Map) -> None:
    chosen = telling_timesteps(model, "change", 100)
    assert chosen[0] == 0 and chosen[-1] == 999
    left = {round(t) for t in np.linspace(0, 999, 100)} - set(chosen)
    assert left and min(left) < 258 < max(left)


def test_one_date_has_one_order(store: ChipStore) -> None:
    torch.manual_seed(0)
    tasks = {"segment": task_spec("segment")}
    model = Noise2Map(checkpoint_spec(tasks=tasks, chip_px=16)).eval()
    batch = ChipReader(store, ("change",)).read(store.chips_of("val")[:1])
    labels = {"segment": np.zeros_like(batch.valid, dtype=np.uint8)}
    single = type(batch)(batch.image, batch.valid, labels, batch.chip)
    study = study_chip(model, single, "segment", telling_timesteps(model, "segment", 4))
    assert study.orders == ("normal",)
    assert study.probability.shape == (1, 4, 16, 16)


def test_the_command_draws_a_chip_and_sums_up_all(
    store: ChipStore, model: Noise2Map, tmp_path: Path
) -> None:
    save_checkpoint(model, model.spec, tmp_path / "checkpoint", "card")
    config = StudyTimestepsConfig(
        chips=store.path, checkpoint=tmp_path / "checkpoint", split="val", num_chips=3,
        output=tmp_path / "study",
    )  # fmt: skip
    result = run(config)
    pictures = sorted((tmp_path / "study").glob("chip-*.png"))
    assert len(pictures) == result.num_chips == 3
    with Image.open(pictures[0]) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    document = json.loads((tmp_path / "study" / "study.json").read_text())
    assert document["f1"].keys() == {"normal", "swapped"}
    assert len(document["timesteps"]) == len(document["f1"]["normal"])
    with pytest.raises(ConfigError, match=r"must lie in 0 … 999"):
        run(config.model_copy(update={"timesteps": (1000,)}))
