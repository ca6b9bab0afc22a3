"""Two ways of chips to training: read by every worker itself, or streamed by Ray Data.

Reading alone: epochs of batches of one store, by `ShardedLoader` and by `StreamLoader`. Training:
`finetune-maps` with `training.loader` set to each, reading included, validation and start not. The
ways take turns, and the ratio of each round is told: sharded by ray_data, so that more than 1
speaks for the default.
Of reading alone, besides, what all processes took for a sample (CPU time), and what they read from
files in an epoch, by the store's own bytes (Linux's count of what `read` returned).

    python tests/benchmarks/data_paths.py [--epochs 5] [--rounds 3] [--batch 16] [--stride 16]
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tyro
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.chips.store import CHIPS_PER_SHARD, ChipStore, open_store, shard_key
from noise2map_core.cli.commands.demo import step_settings, write_whole_area
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.fitting.loaders import ShardedLoader
from noise2map_core.distributed.fitting.streams import ChipStream, StreamLoader, stream_chips
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.learning.steps import Ranks
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.settings.reading import build_config
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.testing.scenes import write_catalog
from noise2map_core.training.curve import CURVE_FILE, read_losses
from noise2map_core.training.training_data import TaskChips
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from pipelines.ingest_region import run

CHECKOUT = Path(__file__).resolve().parents[2]

CPUS = 2
COLUMNS = ("image", "valid", "label_change")


def main(
    epochs: int = 5, rounds: int = 3, batch: int = 16, stride: int = 16, train: bool = True
) -> None:
    """Print samples a second of each way, round by round, and the ratios.

    Args:
        stride: Of chips: less is more of them.
        train: Whether trainings are compared, too, which takes longest.
    """
    with tempfile.TemporaryDirectory() as folder:
        chips = _ingest(Path(folder), stride)
        _tell("reading alone", _compare_reading(chips, epochs, rounds, batch))
        if train:
            _tell("training", _compare_training(chips, Path(folder), epochs, rounds, batch))


@dataclass(frozen=True)
class Cost:
    """What epochs of a way took."""

    rate: float
    """Samples a second."""
    cpu_ms: float = math.nan
    """CPU time of a sample, of all processes."""
    reads: float = math.nan
    """Bytes read from files in an epoch, in parts of the store's."""


def _tell(what: str, costs: list[dict[str, Cost]]) -> None:
    print(what)
    for name in costs[0]:
        each = ", ".join(f"{cost[name].rate:.1f}" for cost in costs)
        cpu = statistics.median(cost[name].cpu_ms for cost in costs)
        reads = statistics.median(cost[name].reads for cost in costs)
        print(f"  {name:18} {each} samples/s; {cpu:.2f} CPU ms a sample; {reads:.2f} of the store")
    rates = [{name: cost.rate for name, cost in one.items()} for one in costs]
    for name in rates[0]:
        if name != "ray_data":
            ratios = [rate[name] / rate["ray_data"] for rate in rates]
            each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"  {name} / ray_data: {each}; median {statistics.median(ratios):.2f}")
    sys.stdout.flush()


def _ingest(root: Path, stride_px: int) -> Path:
    """A store of chips of 128 pixels of the invented scenes."""
    write_whole_area(write_catalog(root / "catalog"))
    settings = step_settings("ingest", root) | {"chips": {"chip_px": 128, "stride_px": stride_px}}
    config = build_config(IngestRegionConfig, settings, {})
    assert isinstance(config, IngestRegionConfig)
    run(config)
    return Path(str(config.output))


def _compare_reading(chips: Path, epochs: int, rounds: int, batch: int) -> list[dict[str, Cost]]:
    """What each way takes, a dictionary a round."""
    store = open_store(chips)
    numbers = store.chips_of("train")
    print(f"{len(numbers)} chips of 128 px, batches of {batch}, {epochs} epochs")
    with ray_session(ResourcesConfig(num_cpus=CPUS)):
        ways, size = _ways(store, numbers, batch), _train_bytes(store, numbers)
        _cost(ways["ray_data"](), 1, size)  # its workers start, and load their libraries
        return [
            {name: _cost(make(), epochs, size) for name, make in ways.items()}
            for _ in range(rounds)
        ]


def _train_bytes(store: ChipStore, chips: NDArray[np.int64]) -> int:
    """Stored, of the shards of these chips."""
    shards = np.unique(chips // CHIPS_PER_SHARD).tolist()
    return sum(store.objects[shard_key(name, shard)][0] for name in COLUMNS for shard in shards)


def _ways(store: Any, numbers: Any, batch: int) -> dict[str, Callable[[], Any]]:
    """The loaders, each made anew for every round."""
    training = TrainingConfig(batch=batch)

    def sharded() -> ShardedLoader:
        reader = ChipReader(store, ("change",))
        return ShardedLoader(reader, TaskChips(numbers, numbers), training, 0, Ranks())

    def streamed() -> StreamLoader:
        readers = ResourcesConfig(reader_cpus=0.5)
        dataset = stream_chips(store, COLUMNS, numbers, 0, readers)
        (part,) = dataset.streaming_split(1, equal=True)
        stream = ChipStream(part, batch, 0, Ranks())
        return StreamLoader(stream, store, "change", len(numbers), batch)

    return {"sharded": sharded, "ray_data": streamed}


def _cost(loader: Any, epochs: int, store_bytes: int) -> Cost:
    """Of some epochs, the first one's start included."""
    samples, begun, (cpu, read) = 0, time.perf_counter(), _used()
    for epoch in range(epochs):
        loader.begin_epoch(epoch)
        for step in range(loader.num_steps):
            samples += len(loader.read(step).chip)
    wall, (cpu_then, read_then) = time.perf_counter() - begun, _used()
    reads = (read_then - read) / epochs / store_bytes
    return Cost(samples / wall, 1000 * (cpu_then - cpu) / samples, reads)


def _used() -> tuple[float, int]:
    """CPU seconds of this process and all below it so far, and bytes that they read."""
    cpu, read, this = 0.0, 0, psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):
            times, counts = process.cpu_times(), process.io_counters()
            cpu, read = cpu + times.user + times.system, read + counts.read_chars
    return cpu, read


def _compare_training(
    chips: Path, root: Path, epochs: int, rounds: int, batch: int
) -> list[dict[str, Cost]]:
    return [
        {
            name: Cost(_train(chips, root / f"{name}{turn}", name, epochs, batch))
            for name in ("sharded", "ray_data")
        }
        for turn in range(rounds)
    ]


def _train(chips: Path, output: Path, loader: str, epochs: int, batch: int) -> float:
    """Samples a second of all steps of a run with one worker of one CPU."""
    command = [
        sys.executable, str(CHECKOUT / "pipelines" / "finetune_maps.py"), "--chips", str(chips),
        "--output", str(output), "--training.loader", loader,
        "--training.epochs", str(epochs), "--training.checkpoint_epochs", str(epochs),
        "--training.batch", str(batch), "--resources.num_cpus", str(CPUS),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=CHECKOUT)
    note = json.loads((output / "run.json").read_text())
    losses = _steps(output)
    return float(losses * batch / note["history"][-1]["train_s"])


def _steps(output: Path) -> int:
    return len(read_losses(output / "state" / CURVE_FILE))


if __name__ == "__main__":
    tyro.cli(main)
