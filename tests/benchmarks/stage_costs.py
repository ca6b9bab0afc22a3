"""What the stages of a map take, as `infra/scale.py stages` wants them, and whether it is right.

Invented scenes of several sizes, a trained network, `infer-region` with one predictor and one task
beside it, which reads or writes, a run a size. Costs are lines through the runs of `sizes`; the run
of `check` is not in them, and stands beside what they say of it.

    python tests/benchmarks/stage_costs.py [--sizes 2048 4096] [--check 8192] [--output FILE]
"""

import json
import sys
import tempfile
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # neither is installed

from infra.stage_model import PREDICT, Cluster, Costs, Run, stage_times
from tests.large_region import CHECKOUT, Change, infer_command, train_checkpoint, write_scenes
from tests.measure import measured

CPUS = 2
HANDED_OUT = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[2])
from noise2map_core.distributed import tasks
from noise2map_core.settings.reading import build_config, read_settings
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines.infer_region import run

tasks.WORTH_PX = 0
run(build_config(InferRegionConfig, read_settings(Path(sys.argv[1])), {}))
"""
"""The command, but for small regions, too, products are tasks of the cluster."""
RESOURCES = {
    "num_cpus": CPUS, "predictors": 1, "predictor_cpus": 0.75, "reader_cpus": 0.75,
    "predictor_gpus": 0,
}  # fmt: skip


def main(
    sizes: tuple[int, ...] = (2048, 4096),
    check: int = 8192,
    tile_px: int = 512,
    preset: str = "cheap",
    output: Path | None = None,
) -> None:
    """Print the costs, and the largest run beside what they say of it.

    Args:
        preset: Of the network; "cheap" computes almost nothing, so that the rest is measured.
        output: Where the costs go, as JSON.
    """
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        train_checkpoint(Path(folder) / "network", Change(), preset)
        for size in (*sizes, check):
            runs.append(_run(Path(folder), size, tile_px))
    *measured_runs, largest = runs
    costs = Costs.fitted(tile_px, measured_runs)
    if output is not None:
        output.write_text(costs.dump())
    print(costs.dump())
    compare(costs, largest)


def _run(root: Path, size: int, tile_px: int) -> Run:
    folder, output = root / f"scenes{size}", root / f"map{size}"
    write_scenes(folder, size, Change())
    settings = {"grid": {"tile_px": tile_px}, "resources": RESOURCES}
    *_, config = infer_command(folder, root / "network", output, settings)
    found = measured([sys.executable, "-c", HANDED_OUT, config, str(CHECKOUT)])
    manifest = json.loads((output / "manifest.json").read_text())
    print(f"{size}²: {found.seconds:.0f} s, {manifest['seconds']}", flush=True)
    return Run.of(manifest, CPUS, found.seconds)


def compare(costs: Costs, run: Run) -> None:
    """Print what the model says of a run beside what was measured."""
    times = stage_times(costs, run.tiles, Cluster(run.cpus - 1, 1))
    print(f"{run.tiles} tiles of {costs.tile_px}²       model  measured")
    for time in times:
        print(f"  {time.name:24} {time.seconds:8.1f}  {run.seconds.get(time.name, 0.0):8.1f}")
    said = sum(time.seconds for time in times)
    print(f"  {'all':24} {said:8.1f}  {run.wall_s:8.1f}   ratio {said / run.wall_s:.2f}")
    assert PREDICT in run.seconds


if __name__ == "__main__":
    tyro.cli(main)
