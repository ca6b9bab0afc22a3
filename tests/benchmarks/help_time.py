"""How long help takes, against Python's own start.

python tests/benchmarks/help_time.py
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from noise2map_core.workflows.launch import find_applications

COMMAND = str(Path(sys.executable).parent / "noise2map")
BARE = [sys.executable, "-c", "pass"]
ROUNDS = 7


def main() -> None:
    """Print one line for each command."""
    commands = [[COMMAND, "--help"]]
    commands += [[COMMAND, found.name, "--help"] for found in find_applications()]
    for command in commands:
        rounds = [(_seconds(command), _seconds(BARE)) for _ in range(ROUNDS)]
        shown, bare = (median(times) for times in zip(*rounds, strict=True))
        name = " ".join(["noise2map", *command[1:]])
        print(f"{name:40} {shown:.2f} s, {shown / bare:.0f} times Python's start")


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
