"""Chips a second over batch sizes, on all cores: one process a core, or one process for all.

This is what the defaults of `inference.batch` and `inference.threads` were taken from. They are
constants, and not measured at each start, because both belong to the key of a tile: a measurement
that came out otherwise the next night would make every tile again.

    python tests/benchmarks/batch_and_threads.py [--networks tiny small reference]
"""

import os
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.models.fixed_time import accelerate, inference_dtype
from noise2map_core.runtime.allocator import keep_freed_memory
from tests.benchmarks.inference_speed import CASES, TIMESTEP, Network

BATCHES = (1, 2, 4, 8, 16, 32)
LARGEST = {"reference": 8}
"""Batches beyond this need more memory than they could be worth."""
TIMEOUT_S = 600


def main(networks: tuple[Network, ...] = tuple(CASES), seconds: float = 5.0) -> None:
    """Print one line for each network and batch.

    Args:
        seconds: Of each measurement.
    """
    cores = os.cpu_count() or 1
    heads = f"{cores} x 1 thread", f"1 x {cores} threads"
    print(f"{'chips a second':16}{'batch':>6}{heads[0]:>16}{heads[1]:>16}")
    for name in networks:
        for batch in BATCHES:
            if batch <= LARGEST.get(name, batch):
                rates = [_rate(name, batch, n, cores // n, seconds) for n in (1, cores)]
                print(f"{name:14}{batch:6}{rates[0]:16.1f}{rates[1]:16.1f}", flush=True)


def _rate(name: str, batch: int, threads: int, processes: int, seconds: float) -> float:
    context = get_context("spawn")
    rates, ready = context.Queue(), context.Barrier(processes)
    arguments = (name, batch, threads, seconds, ready, rates)
    workers = [context.Process(target=_work, args=arguments) for _ in range(processes)]
    for worker in workers:
        worker.start()
    total = sum(rates.get(timeout=TIMEOUT_S) for _ in workers)
    for worker in workers:
        worker.join()
    return float(total)


def _work(name: str, batch: int, threads: int, seconds: float, ready: Any, rates: Any) -> None:
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    case = CASES[name]
    chips = torch.randn(batch, 6, case.chip_px, case.chip_px)
    network = accelerate(case.build(), TIMESTEP, inference_dtype(chips.device))
    timesteps = torch.full((batch,), TIMESTEP)
    for _ in range(2):
        network("change", chips, timesteps)
    ready.wait(TIMEOUT_S)
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        network("change", chips, timesteps)
        done += batch
    rates.put(done / (time.perf_counter() - begin))


if __name__ == "__main__":
    tyro.cli(main)
