"""Does the search pay? A sweep on real chips, killed once, and its winner beside the defaults.

Chips of Taizhou (Landsat 7, see README). The sweep is killed after its first state and started
again. Then the winner's settings and the defaults are trained afresh, for equally many epochs, with
three seeds that the search has not seen, and scored on the test part, which it has not seen either.

    python tests/benchmarks/schedule_search.py [--space quick] [--trials 12] [--epochs 36]
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from noise2map_core.cli.main import main; main()"]
SEEDS = (1, 2, 3)


def main(space: str = "quick", trials: int = 12, epochs: int = 36, seeds: int = len(SEEDS)) -> None:
    """Print what comes out as it comes out.

    Args:
        seeds: Seeds of the comparison.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        chips = root / "chips.zarr"
        _run("ingest-region", "pipelines/configs/taizhou-ingest.yaml", "--output", str(chips))
        _sweep(chips, root / "sweep", space, trials, epochs)
        print(_run("compare-trials", str(root / "sweep")), flush=True)
        own = ["--chips", str(chips), "--training.epochs", str(epochs)]
        winner = [str(root / "sweep" / "winner.yaml")]
        for name, settings in (("winner", winner), ("default", own)):
            _train(root, chips, name, settings, SEEDS[:seeds])


def _sweep(chips: Path, output: Path, space: str, trials: int, epochs: int) -> None:
    """Search, killed once after the first state of a trial."""
    command = [
        *COMMAND, "search-schedules", "--chips", str(chips), "--output", str(output),
        "--space", space, "--trials", str(trials), "--epochs", str(epochs),
    ]  # fmt: skip
    begun = time.monotonic()
    process = subprocess.Popen(
        command, cwd=CHECKOUT, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not list(output.glob("trials/*/checkpoint_*")):
        time.sleep(0.1)
    if process.poll() is not None:
        sys.exit(f"the sweep ended with code {process.returncode} before it could be killed")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    print(f"killed after {time.monotonic() - begun:.0f} s, with a first state", flush=True)
    subprocess.run(command, cwd=CHECKOUT, check=True)
    minutes = (time.monotonic() - begun) / 60
    print(f"{trials} trials, killed once: {minutes:.1f} min (wanted: 20)\n", flush=True)


def _train(root: Path, chips: Path, name: str, settings: list[str], seeds: tuple[int, ...]) -> None:
    """Train with each seed and score on the test part."""
    scores, validated = [], []
    for seed in seeds:
        output = root / f"{name}-{seed}"
        _run("finetune-maps", *settings, "--output", str(output), "--seed", str(seed))
        validated.append(float(json.loads((output / "run.json").read_text())["val_f1"]))
        scores.append(_test_f1(output, chips))
        print(
            f"{name:8} seed {seed}: F1 {validated[-1]:.3f} on validation, {scores[-1]:.3f} on test",
            flush=True,
        )
    print(
        f"{name:8} n = {len(seeds)}: {_spread(validated)} on validation, {_spread(scores)} on test",
        flush=True,
    )


def _test_f1(output: Path, chips: Path) -> float:
    scores = output / "scores.json"
    _run(
        "evaluate-maps", "--checkpoint", str(output / "checkpoint"), "--chips", str(chips),
        "--split", "test", "--output", str(scores),
    )  # fmt: skip
    return float(json.loads(scores.read_text())["model"]["classes"]["changed"]["f1"])


def _spread(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.3f} ± {spread:.3f}"


def _run(*arguments: str) -> str:
    """A command's output; it ends the benchmark if it fails."""
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    tyro.cli(main)
