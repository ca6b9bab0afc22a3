"""Each preset and task learns eight real chips by heart: F1 on them, and how long it took.

`python tests/benchmarks/overfit.py --presets base reference` (reference: about ten minutes).
"""

import os
import sys
import time
from pathlib import Path
from typing import Literal

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from tests.overfit import overfit

CHECKOUT = Path(__file__).resolve().parents[2]

Preset = Literal["tiny", "small", "base", "reference"]
STEPS: dict[Preset, tuple[int, float]] = {
    "tiny": (150, 3e-3),
    "small": (150, 2e-3),
    "base": (80, 3e-4),
    "reference": (80, 3e-4),
}
"""Steps and learning rate of each preset."""


def main(presets: tuple[Preset, ...] = ("tiny", "small"), px: int = 64) -> None:
    """Print a line a preset and set of tasks."""
    data = Path(os.environ.get("NOISE2MAP_DATA", CHECKOUT.parent / "shared" / "data"))
    print(f"eight chips of {px} x {px} pixels, seed 0")
    for preset in presets:
        steps, rate = STEPS[preset]
        for tasks in (("change",), ("segment",), ("change", "segment")):
            start = time.perf_counter()
            f1 = overfit(preset, tasks, data, px=px, steps=steps, rate=rate)
            scores = ", ".join(f"{task} F1 {value:.4f}" for task, value in f1.items())
            seconds = time.perf_counter() - start
            print(f"{preset:10} {steps} steps: {scores}  ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
