"""How long help takes: seconds of CPU, which other work hardly moves, and of a clock.

python tests/benchmarks/help_time.py [COMMAND ...]
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from noise2map_core.workflows.launch import find_applications, find_tools

COMMAND = str(Path(sys.executable).parent / "noise2map")
ROUNDS = 3


def main() -> None:
    """Print one line for each command, the slowest last."""
    names = sys.argv[1:] or [one.name for one in (*find_applications(), *find_tools())]
    asked = [[], *([name] for name in names)]
    rows = [(*_taken([*words, "--help", *more]), " ".join([*words, "--help", *more]))
            for words in asked for more in ([], ["all"])[: 1 + bool(words)]]  # fmt: skip
    print("CPU    clock  noise2map …")
    for cpu, clock, words in sorted(rows):
        print(f"{cpu:.2f} s {clock:.2f} s {words}")


def _taken(words: list[str]) -> tuple[float, float]:
    """Seconds of CPU and of a clock, each the median of the rounds."""
    rounds = [_once([COMMAND, *words]) for _ in range(ROUNDS)]
    cpu, clock = (median(times) for times in zip(*rounds, strict=True))
    return cpu, clock


def _once(command: list[str]) -> tuple[float, float]:
    begin, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    after = os.times()
    cpu = after.children_user + after.children_system
    return cpu - before.children_user - before.children_system, time.perf_counter() - begin


if __name__ == "__main__":
    main()
