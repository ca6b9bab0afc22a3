"""What ranks read and draw: each its own part, however many they are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from noise2map_core.chips import order
from noise2map_core.chips.store import CHIPS_PER_SHARD, ChipStore, Columns, open_store
from noise2map_core.distributed.fitting.loaders import ShardedLoader
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.settings.diffusion import DiffusionConfig, GaussianCorruption
from noise2map_core.settings.learning import InvarianceConfig, TaskTrainingConfig, TrainingConfig
from noise2map_core.training.training_data import TaskChips, require_trainable, task_chips
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec, samples, task_spec
from tests.unit.evaluation.test_evaluation import SPLIT

NUM_SHARDS, PX, HELD = 313, 8, 100
"""A store of which only a part fits into memory."""


@dataclass(frozen=True)
class CountedStore(ChipStore):
    """Shards that are in nobody's file, and how often each was read."""

    reads: Counter[int] = field(default_factory=Counter)

    def array(self, name: str) -> Any:
        shape = (PX, PX) if name == "label_change" else (2, PX, PX)
        dtype = {"image": np.uint16, "valid": np.bool_}.get(name, np.uint8)
        return np.broadcast_to(np.zeros((), dtype), (self.num_chips, *shape))

    def read_shard(self, shard: int, columns: Sequence[str]) -> Columns:
        self.reads[shard] += 1
        return {name: self.array(name)[:CHIPS_PER_SHARD] for name in columns}

    def lights(self, chips: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.zeros(len(chips))

    def alterations(self, chips: NDArray[np.int64]) -> None:
        return None


def reads_of_epochs(
    world_size: int, monkeypatch: pytest.MonkeyPatch, **training: Any
) -> list[float]:
    """How often each of three epochs reads a shard on average, over all ranks."""
    store = CountedStore(Path(), {"num_chips": NUM_SHARDS * CHIPS_PER_SHARD}, {})
    chips = np.arange(store.num_chips)
    size = ChipReader(store, ("change",)).shard_bytes
    monkeypatch.setattr(order, "CACHE_BYTES", HELD * size)
    config, totals = TrainingConfig(batch=64, **training), np.zeros(3)
    for rank in range(world_size):
        reader, ranks = ChipReader(store, ("change",)), Ranks(rank, world_size)
        loader = ShardedLoader(reader, TaskChips(chips, chips), config, 5, ranks)
        for epoch in range(3):
            before = store.reads.total()
            loader.begin_epoch(epoch)
            for step in range(loader.num_steps):
                loader.read(step)
            totals[epoch] += store.reads.total() - before
    return [float(total) / NUM_SHARDS for total in totals]


@pytest.mark.parametrize("world_size", [1, 8, 64])
def test_an_epoch_reads_the_store_once_however_many_ranks_there_are(
    world_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *later = reads_of_epochs(world_size, monkeypatch)
    assert 0.95 <= first <= 1.05
    assert all(times <= 1.05 for times in later)


def test_the_exact_order_has_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    assert min(reads_of_epochs(8, monkeypatch, order="exact")) > 5


def test_no_shard_is_read_before_the_first_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = plan_store(tmp_path / "sources", tmp_path / "chips.zarr", split=SPLIT)
    store = open_store(make_store(job))
    read: list[int] = []
    read_shard = ChipStore.read_shard

    def counted(self: ChipStore, shard: int, columns: Sequence[str]) -> Columns:
        read.append(shard)
        return read_shard(self, shard, columns)

    monkeypatch.setattr(ChipStore, "read_shard", counted)
    require_trainable(store, ["change"])
    config = TrainingConfig(batch=4, balance=0.5)
    chosen = task_chips(store, "change", config, 0)
    loader = ShardedLoader(ChipReader(store, ("change",)), chosen, config, 0, Ranks())
    loader.begin_epoch(0)
    assert not read
    batch = loader.read(0)
    assert len(read) == len(set((batch.chip // CHIPS_PER_SHARD).tolist()))


def drawn_by(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> tuple[int, float]:
    """Numbers that a rank draws for its part of a batch of 16 chips, and the loss of that part."""
    count = 0

    def counted(draw: Any) -> Any:
        def drawing(self: ChipRandom, *given: Any) -> torch.Tensor:
            nonlocal count
            found: torch.Tensor = draw(self, *given)
            count += found.numel()
            return found

        return drawing

    with monkeypatch.context() as patch:
        for name in ("rand", "randn", "randint", "noise"):
            patch.setattr(ChipRandom, name, counted(getattr(ChipRandom, name)))
        one = learner()
        mine = slice(ranks.rank, None, ranks.world_size)
        image = torch.randn(16, 4, 16, 16, generator=torch.Generator().manual_seed(1))
        label = torch.randint(0, 2, (16, 16, 16), generator=torch.Generator().manual_seed(2))
        valid = torch.ones_like(label).bool()
        part = TrainingBatch(image[mine], label[mine], valid[mine], samples(16)[mine])
        prepared, _ = one._prepare("change", part, epoch=0)
        assert prepared.epsilon is not None
        return count, float(prepared.epsilon.double().sum() + prepared.x_0.double().sum())


def learner() -> Learner:
    diffusion = DiffusionConfig(corruption=GaussianCorruption())
    spec = checkpoint_spec(
        chip_px=16, tasks={"change": task_spec("change", corruption=diffusion.corruption)}
    )
    config = TrainingConfig(
        haze=0.5, crop=0.3, invariance=InvarianceConfig(shift_px=1.0, shadow=0.5, noise=0.1)
    )
    tasks = {"change": TaskTrainingConfig(diffusion=diffusion)}
    return Learner(new_model(spec, 0, torch.device("cpu")), config, tasks, {"change": (1, 1)}, 0)  # type: ignore[arg-type]


def test_a_rank_draws_for_its_own_chips_alone_and_all_ranks_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, total = drawn_by(Ranks(), monkeypatch)
    for world_size in (2, 4, 16):
        parts = [drawn_by(Ranks(rank, world_size), monkeypatch) for rank in range(world_size)]
        assert {count for count, _ in parts} == {whole // world_size}
        assert sum(value for _, value in parts) == pytest.approx(total, rel=1e-5)


def test_an_order_that_is_not_used_is_refused_and_the_usual_one_changes_no_digest() -> None:
    with pytest.raises(ValidationError, match="order exact needs the loader sharded"):
        TrainingConfig(loader="ray_data", order="exact")
    assert "order" not in TrainingConfig().model_dump()
    assert TrainingConfig(order="exact").model_dump()["order"] == "exact"
