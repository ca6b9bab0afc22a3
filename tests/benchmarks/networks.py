"""The table of networks: parameters, GFLOP and milliseconds a chip, for pairs of three bands.

Milliseconds are of the fast path (baselines: float32) at one chip a pass, the least of all rounds,
which are interleaved so that other load on the machine meets all networks alike.

    python tests/benchmarks/networks.py [--threads 2] [--rounds 10]
"""

import time
from typing import get_args

import torch
import tyro
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from noise2map_core.models.fixed_time import inference_dtype
from noise2map_core.models.noise2map import Noise2Map, at_timestep, count_parameters
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import (
    CheckpointSpec,
    ClassSpec,
    Normalisation,
    RivalSpec,
    SegmentationModelSpec,
    TaskSpec,
)
from noise2map_core.settings.diffusion import LinearSchedule, SwappedPairCorruption
from noise2map_core.settings.network import Preset

T = 999
CHIP_PX = {"reference": 256}
"""Side of the chips of a preset; 128 where it is not here."""


def build(preset: Preset) -> Noise2Map:
    """A model with random weights, for change between pairs of three bands."""
    px, rows = CHIP_PX.get(preset, 128), ((127.5,) * 3,) * 2
    task = TaskSpec(
        num_dates=2,
        normalisation=Normalisation(mean=rows, std=rows),
        corruption=SwappedPairCorruption(),
        schedule=LinearSchedule(),
        inference_timesteps=(T,),
        classes=tuple(ClassSpec(value=v, name=str(v), color="#000000") for v in range(2)),
    )
    spec = CheckpointSpec(
        tasks={"change": task}, bands=("red", "green", "blue"), gsd=1, gsd_range=(0.5, 2),
        value_range=(0, 255), chip_px=px, stride_px=px, preset=preset,
        network=network_of(preset, px), code_version="0",
    )  # fmt: skip
    return Noise2Map(spec).eval()


def gflop(model: Noise2Map, chip: torch.Tensor) -> float:
    """10⁹ floating-point operations of one forward pass; a multiplication and a sum are two."""
    with FlopCounterMode(display=False) as counter:
        model.logits(chip, T)
    return counter.get_total_flops() / 1e9


def main(threads: int = 2, rounds: int = 10) -> None:
    """Print one table."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    dtype = inference_dtype(torch.device("cpu"))
    models: dict[str, nn.Module] = {}
    rows, chips = {}, {}
    for preset in get_args(Preset):
        model = build(preset)
        px = model.spec.chip_px
        chips[preset] = torch.randint(0, 256, (1, 6, px, px), dtype=torch.uint8)
        rows[preset] = (px, count_parameters(model) / 1e6, gflop(model, chips[preset]))
        baseline = isinstance(model.spec.network, SegmentationModelSpec | RivalSpec)
        models[preset] = model if baseline else at_timestep(model, T, dtype)
    least = dict.fromkeys(models, float("inf"))
    for _ in range(rounds + 1):
        for preset, model in models.items():
            begin = time.perf_counter()
            model.logits(chips[preset], T)
            least[preset] = min(least[preset], time.perf_counter() - begin)
    print(f"{threads} threads, fast path in {dtype}, least of {rounds} rounds")
    print(
        "| preset | chip | parameters | GFLOP a chip | ms a chip |\n| --- | --- | --- | --- | --- |"
    )
    for preset, (px, millions, flop) in rows.items():
        print(
            f"| `{preset}` | {px} px | {millions:.1f} M | {flop:.1f} | {1e3 * least[preset]:.0f} |"
        )


if __name__ == "__main__":
    tyro.cli(main)
