"""Races for the lease of an output: processes that start at once, and how many of them get it.

Each round, all processes wait at a barrier and then ask for the lease; who gets it holds it until
all have asked. One winner a round is right. On a disk, or against an address such as
s3://bucket/prefix.

    python tests/benchmarks/lease_races.py [--races 1000] [--runners 4] [--output s3://tests/races]
"""

import collections
import itertools
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed


from noise2map_core.runtime.errors import OutputHeldError
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.storage import location

WAIT_S = 120.0


def main(races: int = 1000, runners: int = 4, output: str | None = None) -> None:
    """Print how many races had how many winners."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        fences = race(output or f"{folder}/map", races, runners)
        seconds = time.perf_counter() - started
    winners = collections.Counter(map(len, fences))
    numbers = [fence for won in fences for fence in won]
    rising = all(a < b for a, b in itertools.pairwise(numbers))
    print(f"{races} races of {runners} processes for {output or 'a folder'}:")
    print(", ".join(f"{n} with {won} winner(s)" for won, n in sorted(winners.items())))
    print(f"fencing numbers rise: {rising}; {1000 * seconds / races:.1f} ms a race")


def race(output: str, races: int, runners: int) -> list[list[int]]:
    """The fencing numbers that were won in each race."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(runners), context.SimpleQueue()
    processes = [
        context.Process(target=_run, args=(output, races, barrier, results)) for _ in range(runners)
    ]
    for process in processes:
        process.start()
    won: list[list[int]] = [[] for _ in range(races)]
    for _ in processes:
        for number, fence in results.get():
            won[number].append(fence)
    for process in processes:
        process.join()
    return won


def _run(output: str, races: int, barrier: Barrier, results: Any) -> None:
    won = []
    for number in range(races):
        barrier.wait(WAIT_S)
        try:
            with hold_lease(location(output)) as fence:
                won.append((number, fence))
                barrier.wait(WAIT_S)  # all have asked
        except OutputHeldError:
            barrier.wait(WAIT_S)
        barrier.wait(WAIT_S)  # it is given back
    results.put(won)


if __name__ == "__main__":
    tyro.cli(main)
