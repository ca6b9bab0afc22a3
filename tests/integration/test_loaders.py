"""The second way of chips to training: streamed by Ray Data."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.data import Dataset

from noise2map_core.chips.store import open_store
from noise2map_core.distributed.chips import ChipSource
from noise2map_core.distributed.fitting import streams
from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.distributed.fitting.streams import (
    TURN,
    ChipStream,
    StreamLoader,
    stream_chips,
)
from noise2map_core.evaluation.batches import ChipReader, labelled_chips
from noise2map_core.learning.steps import Ranks
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.learning import ImagesConfig, PretrainingConfig
from noise2map_core.settings.reading import build_config
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.pretrain_denoiser import PretrainDenoiserConfig
from pipelines.pretrain_denoiser import run as pretrain
from tests.chip_factories import make_store, plan_store
from tests.integration.test_finetune_maps import SHORT, SPLIT, config

COLUMNS = ("image", "valid", "label_change")
READERS = ResourcesConfig(reader_cpus=0.5)


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    return make_store(plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT))


def test_a_stream_shows_every_chip_at_most_once_an_epoch_as_it_is_stored(
    ray_cluster: None, chips: Path
) -> None:
    store = open_store(chips)
    reader = ChipReader(store, ("change",))
    labelled = labelled_chips(store, store.chips_of("train"), "change")
    dataset = stream_chips(store, COLUMNS, labelled, 0, READERS)
    (part,) = dataset.streaming_split(1, equal=True)
    stream = ChipStream(part, SHORT.batch, 0, Ranks())
    loader = StreamLoader(stream, store, "change", len(labelled), SHORT.batch)
    orders, asked = [], list[tuple[int, int]]()
    for epoch in range(2):
        loader.begin_epoch(epoch)
        batches = [loader.read(step) for step in range(loader.num_steps)]
        order = np.concatenate([batch.chip for batch in batches])
        assert len(np.unique(order)) == len(order) > len(labelled) - SHORT.batch
        assert set(order) <= set(labelled)
        stored = reader.read(batches[-1].chip)
        np.testing.assert_array_equal(batches[-1].image, stored.image)
        np.testing.assert_array_equal(batches[-1].truth("change"), stored.truth("change"))
        orders.append(order.tolist())
        asked.append(ray.get(ray.get_actor(dataset.context.get_config(TURN)).current.remote()))
    assert orders[0] != orders[1]
    # What the readers mixed, and not only the rank's own buffer.
    assert asked == [(0, 0), (1, 0)]
    loader.begin_epoch(2)
    *first, second = (loader.read(step).showing for step in range(loader.num_steps + 1))
    assert not np.any(first) and second is not None and (second == 1).all()


def test_every_epoch_reads_the_shards_in_an_order_of_its_own_that_seed_and_epoch_decide(
    ray_cluster: None, chips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on with epoch 2 reads what one that was not stopped reads in it."""
    store = open_store(chips)
    monkeypatch.setattr(streams, "BUFFER_SHARDS", 1)

    def order(epochs: Sequence[int], seed: int) -> dict[int, list[int]]:
        """First chip of every reading task, in each epoch."""
        dataset = stream_chips(store, COLUMNS, store.chips_of("train"), seed, READERS)
        turn, found = ray.get_actor(dataset.context.get_config(TURN)), {}
        for epoch in epochs:
            ray.get(turn.begin.remote(epoch, 0))
            tasks = source_of(dataset).get_read_tasks(1)
            found[epoch] = [int(next(iter(task()))["chip"][0].as_py()) for task in tasks]
        return found

    whole, later, other = order(range(4), 0), order([2, 3], 0), order(range(4), 1)
    assert whole[2] == later[2] and whole[3] == later[3]
    assert len({tuple(one) for one in [*whole.values(), *other.values()]}) == 8


def source_of(dataset: Dataset) -> ChipSource:
    source = dataset._logical_plan.dag.datasource
    assert isinstance(source, ChipSource)
    return source


@pytest.mark.slow
def test_two_workers_learn_from_a_stream(ray_cluster: None, chips: Path, tmp_path: Path) -> None:
    settings = config(chips, tmp_path, loader="ray_data", num_workers=2)
    assert finetune(settings).trained
    load_checkpoint(tmp_path / "checkpoint")
    history = json.loads((tmp_path / "run.json").read_text())["history"]
    assert [entry["epoch"] for entry in history] == [2, 4]
    assert history[1]["loss"] < history[0]["loss"]


@pytest.mark.slow
def test_a_denoiser_learns_from_a_stream(ray_cluster: None, chips: Path, tmp_path: Path) -> None:
    training = PretrainingConfig(
        epochs=4, batch=16, checkpoint_epochs=2, worker_cpus=0.5, num_workers=2,
        ema_decay=0.5, learning_rate=3e-3, loader="ray_data",
    )  # fmt: skip
    settings = PretrainDenoiserConfig(chips=chips, output=tmp_path / "out", training=training)
    assert pretrain(settings).trained
    history = json.loads((tmp_path / "out" / "run.json").read_text())["history"]
    assert [entry["epoch"] for entry in history] == [2, 4]
    assert history[1]["val_loss"] < history[0]["val_loss"]


def test_image_files_are_not_streamed(real_data: Path, tmp_path: Path) -> None:
    settings = PretrainDenoiserConfig(
        images=ImagesConfig(root=real_data / "aid150.tar", chip_px=32), output=tmp_path / "out",
        training=PretrainingConfig(loader="ray_data"),
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"Set chips in place of images\.root"):
        pretrain(settings)
    assert not (tmp_path / "out").exists()


def test_what_a_stream_cannot_do_is_refused(chips: Path, tmp_path: Path) -> None:
    given = {"chips": str(chips), "output": str(tmp_path / "out")}
    balanced = {"training": {"loader": "ray_data", "balance": 0.5}}
    with pytest.raises(ConfigError, match=r"training: .*balance and use_every need the loader"):
        build_config(FinetuneMapsConfig, given | balanced, {})
    full = config(chips, tmp_path / "out", loader="ray_data", num_workers=2, worker_cpus=1.0)
    few = full.model_copy(update={"resources": ResourcesConfig(num_cpus=2)})
    with pytest.raises(ConfigError, match=r"1 reading task of 0\.25 CPUs do not fit into 2 CPUs"):
        finetune(few)
    with pytest.raises(ConfigError, match=r"a batch has 4096\. Lower training\.batch"):
        finetune(config(chips, tmp_path / "out", loader="ray_data", batch=4096))
    assert not (tmp_path / "out").exists()
