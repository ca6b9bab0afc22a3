"""Speed of training from a chip store, against a bare loop over tensors in memory.

`finetune-maps` with one worker, on chips of 128 pixels of the invented scenes, and a plain PyTorch
loop with the same network, noise, loss, optimiser and moving average, whose one batch lies ready in
memory: no reading, no augmentation, no draws but the timesteps, nothing told. Both take the same
number of steps with the same threads; the bare loop takes half of its own before and half behind.

With --invariant: steps with all that `presets/invariant.yaml` sets against steps with no
augmentation at all, in turns in one process, on chips of 64 pixels in memory.

    python tests/benchmarks/train_speed.py [--steps 500] [--batch 8] [--threads 2] [--preset tiny]
    python tests/benchmarks/train_speed.py --invariant --steps 60 --batch 16 --threads 1
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.chips.store import open_store
from noise2map_core.cli.commands.demo import step_settings, write_whole_area
from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.noise2map import TaskInput
from noise2map_core.models.presets import network_of
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from noise2map_core.settings.network import Preset
from noise2map_core.settings.reading import build_config
from noise2map_core.testing.scenes import write_catalog
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from pipelines.ingest_region import run
from tests.factories import checkpoint_spec, samples

CHECKOUT = Path(__file__).resolve().parents[2]
INVARIANT = CHECKOUT / "pipelines" / "configs" / "presets" / "invariant.yaml"


@dataclass(frozen=True)
class Load:
    """What is trained, and how long."""

    steps: int
    batch: int
    threads: int
    preset: Preset


def main(
    steps: int = 500,
    batch: int = 8,
    threads: int = 2,
    preset: Preset = "tiny",
    bare: Path | None = None,
    invariant: bool = False,
) -> None:
    """Print samples a second of both, and the ratio.

    Args:
        steps: At least so many steps.
        bare: For the process that is measured.
        invariant: Measure what augmentations cost.
    """
    if invariant:
        return _compare_augmentations(Load(steps, batch, threads, preset))
    if bare:
        print(_bare_seconds(bare, steps, batch, threads))
        return
    with tempfile.TemporaryDirectory() as folder:
        _compare(Path(folder), Load(steps, batch, threads, preset))


def _compare(root: Path, load: Load) -> None:
    chips = _ingest(root)
    per_epoch = math.ceil(open_store(chips).attributes["counts"]["train"]["chips"] / load.batch)
    epochs = math.ceil(load.steps / per_epoch)
    # A first, short run makes the checkpoint whose network the bare loop trains.
    _finetune(chips, root / "short", load, 1)
    before = _run_bare(root / "short", load)
    own = _finetune(chips, root / "long", load, epochs)
    after = _run_bare(root / "short", load)
    steps = epochs * per_epoch
    own, before, after = (
        load.batch * count / seconds
        for count, seconds in ((steps, own), (load.steps / 2, before), (load.steps / 2, after))
    )
    print(
        f"{load.preset}, {load.batch} x 128 px, {load.threads} threads, {steps} steps, "
        f"{per_epoch} an epoch\n  bare loop      {before:7.1f} and {after:.1f} samples/s\n"
        f"  finetune-maps  {own:7.1f} samples/s\n"
        f"  ratio {own / ((before + after) / 2):.3f} (wanted: 0.93)"
    )


def _ingest(root: Path) -> Path:
    """A store of chips of 128 pixels."""
    write_whole_area(write_catalog(root / "catalog"))
    settings = step_settings("ingest", root) | {"chips": {"chip_px": 128, "stride_px": 64}}
    config = build_config(IngestRegionConfig, settings, {})
    assert isinstance(config, IngestRegionConfig)
    run(config)
    return Path(str(config.output))


def _finetune(chips: Path, output: Path, load: Load, epochs: int) -> float:
    """Seconds of all steps, reading included, validation and start not."""
    command = [
        sys.executable, str(CHECKOUT / "pipelines" / "finetune_maps.py"), "--chips", str(chips),
        "--output", str(output), "--model.preset", load.preset,
        "--training.epochs", str(epochs), "--training.checkpoint_epochs", str(epochs),
        "--training.batch", str(load.batch), "--training.worker_cpus", str(load.threads),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=CHECKOUT)
    note = json.loads((output / "run.json").read_text())
    return float(note["history"][-1]["train_s"])


def _run_bare(run: Path, load: Load) -> float:
    command = [sys.executable, __file__, "--bare", str(run / "checkpoint")]
    for name, value in (
        ("steps", load.steps // 2),
        ("batch", load.batch),
        ("threads", load.threads),
    ):
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def _bare_seconds(checkpoint: Path, steps: int, batch: int, threads: int) -> float:
    """The loop that a user would write around the network."""
    torch.set_num_threads(threads)
    model = load_checkpoint(checkpoint).train()
    spec = model.spec
    shape = (batch, 2 * len(spec.bands), 128, 128)
    x_0, valid = torch.randn(shape), torch.ones(batch, 1, 128, 128, dtype=torch.bool)
    target = torch.randint(0, 2, (batch, 128, 128))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    average: Any = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    started = time.perf_counter()
    for _ in range(steps):
        timesteps = torch.randint(0, len(model.alpha_bars("change")), (batch,))
        logits = model({"change": TaskInput(x_0=x_0, valid=valid, timesteps=timesteps)})["change"]
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(model)
    return time.perf_counter() - started


def _compare_augmentations(load: Load) -> None:
    """The median of steps with all augmentations and with none, which take turns."""
    torch.set_num_threads(load.threads)
    settings = yaml.safe_load(INVARIANT.read_text())["training"]
    none = {"flips": False, "reverse_dates": False, "jitter": 0.0}
    kinds = [TrainingConfig(**none), TrainingConfig(**settings)]
    learners = [_learner(load, training) for training in kinds]
    batch = _chips(load.batch)
    seconds = np.array(
        [[_step_seconds(one, batch, step) for one in learners] for step in range(load.steps)]
    )
    without, with_all = np.median(seconds, axis=0)
    print(
        f"{load.preset}, {load.batch} x 64 px, {load.threads} threads, {load.steps} steps of each\n"
        f"  no augmentation  {without * 1e3:7.1f} ms of CPU\n"
        f"  invariant.yaml   {with_all * 1e3:7.1f} ms of CPU\n"
        f"  ratio {without / with_all:.3f} (wanted: 0.93)"
    )


def _learner(load: Load, training: TrainingConfig) -> Learner:
    bands = ("red", "green", "blue")
    network = network_of(load.preset, 64)
    spec = checkpoint_spec(bands=bands, chip_px=64, network=network)
    model = new_model(spec, 0, torch.device("cpu"))
    return Learner(model, training, {"change": TaskTrainingConfig()}, {"change": (1.0, 1.0)}, 0)


def _chips(count: int) -> TrainingBatch:
    label = torch.randint(0, 2, (count, 64, 64))
    valid = torch.ones_like(label).bool()
    return TrainingBatch(torch.randn(count, 6, 64, 64), label, valid, samples(count))


def _step_seconds(learner: Learner, batch: TrainingBatch, step: int) -> float:
    """Of all threads, so that what else the machine does counts little."""
    started = time.process_time()
    learner.step({"change": batch}, 0, step, 10_000, Ranks())
    return time.process_time() - started


if __name__ == "__main__":
    tyro.cli(main)
