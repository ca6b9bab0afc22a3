"""Seconds of the products of a finished map, stage by stage, against those of another checkout.

A map of each size is drawn once, as `stage_costs.py --sampled 1` does: one tile is predicted, and
of all the truth is written. Then the command makes its products, by the code of this checkout and
of `--other` by turns, each in processes of its own on two CPUs with Ray. Memory is the peak of the
driver and of the largest worker, without pages that processes share. Files whose bytes differ
between the checkouts are named.

    python tests/benchmarks/products_speed.py --other PATH [--sizes 5000 30000] [--rounds 1]

A map of 30,000² wants 12 GB of disk in `--folder`, or in the folder for temporary files.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # neither is installed

from pipelines import infer_region
from tests.benchmarks.stage_costs import FEW, Clock, _config
from tests.large_region import CHECKOUT, train_checkpoint
from tests.measure import Measured, measured
from tests.region_in_process import in_process

STAGES = ("overviews", "rasters", "polygons", "GeoPackage", "vector tiles", "survey", "report",
          "digests")  # fmt: skip


class _DrawnError(Exception):
    """Ends a run whose tiles are written."""


def main(
    other: Path | None = None,
    sizes: tuple[int, ...] = (5_000, 30_000),
    tile_px: int = 2048,
    rounds: int = 1,
    folder: Path | None = None,
) -> None:
    """Print seconds, ratios and memory of each size.

    Args:
        other: Another checkout; without one, only this one is timed.
        rounds: How often each of them makes the products of a size.
        folder: Where scenes and maps are drawn, and left for the next time; None: they are deleted.
    """
    checkouts = {"this": CHECKOUT} | ({} if other is None else {"other": other.resolve()})
    peaks: dict[str, list[Measured]] = {name: [] for name in checkouts}
    with _root(folder) as root:
        for size in sizes:
            path = _drawn(root, size, tile_px)
            for number in range(rounds):
                _round(path, checkouts, peaks, f"{size}², round {number + 1}")
    for name, found in peaks.items():
        _tell_growth(name, sizes, found[rounds - 1 :: rounds])


@contextmanager
def _root(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def _drawn(root: Path, size: int, tile_px: int) -> Path:
    """The settings of a map whose tiles are all there, drawn unless they were before."""
    if not (root / "network").exists():
        train_checkpoint(root / "network", FEW, "cheap", steps=1)
    config, done = _config(root, size, tile_px, "map"), root / f"drawn{size}"
    if not done.exists():
        with (
            suppress(_DrawnError), in_process(), Clock(1, FEW).counting(),
            patch.object(infer_region, "write_products_of", side_effect=_DrawnError),
        ):  # fmt: skip
            infer_region.run(config)
        done.touch()
    return config.output


def _round(
    output: Path, checkouts: dict[str, Path], peaks: dict[str, list[Measured]], title: str
) -> None:
    """One turn of each checkout."""
    told = {}
    for name, checkout in checkouts.items():
        (output / "manifest.json").unlink(missing_ok=True)  # the products are made again
        script = str(checkout / "pipelines" / "infer_region.py")
        with patch.dict(os.environ, {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}):
            command = [sys.executable, script, str(output.with_suffix(".yaml"))]
            peaks[name].append(measured(command, every_s=1.0))
        told[name] = json.loads((output / "manifest.json").read_text())
        if told[name]["tiles"]["predicted"]:
            raise SystemExit(f"{checkout} does not know the tiles of {output} as its own.")
    _tell(title, told, {name: found[-1] for name, found in peaks.items()})


def _tell(title: str, told: dict[str, Any], found: dict[str, Measured]) -> None:
    print(f"{title}: {', '.join(told)}", flush=True)
    seconds = {name: manifest["seconds"] for name, manifest in told.items()}
    rows = {stage: [seconds[name].get(stage, 0.0) for name in told] for stage in STAGES}
    rows["all products"] = [sum(row) for row in zip(*rows.values(), strict=True)]
    rows["the command"] = [one.seconds for one in found.values()]
    for stage, row in rows.items():
        ratio = f"  ratio {row[-1] / row[0]:.2f}" if len(row) > 1 and row[0] else ""
        print(f"  {stage:14} {' '.join(f'{one:9.1f}' for one in row)} s{ratio}")
    for name, one in found.items():
        print(f"  {name}: driver {one.driver_mib:,.0f} MiB, largest worker {one.worker_mib:,.0f}")
    digests = [{file: one["sha256"] for file, one in made["products"].items()}
               for made in told.values()]  # fmt: skip
    unlike = sorted(file for file in {*digests[0], *digests[-1]}
                    if digests[0].get(file) != digests[-1].get(file))  # fmt: skip
    if len(digests) > 1:
        print(f"  files of other bytes: {', '.join(unlike) or 'none'}", flush=True)


def _tell_growth(name: str, sizes: tuple[int, ...], found: list[Measured]) -> None:
    """Memory of the last size against the first."""
    if len(found) > 1:
        first, last = (max(one.driver_mib, one.worker_mib) for one in (found[0], found[-1]))
        print(f"{name}: {sizes[-1]}² to {sizes[0]}², memory of the largest process "
              f"{last / first:.3f}")  # fmt: skip


if __name__ == "__main__":
    tyro.cli(main)
