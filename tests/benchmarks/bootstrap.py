"""Is a student better than the detector that taught it? Taizhou (Landsat 7), seed by seed.

`noise2map bootstrap` on the whole scene: a network learns from the pixels that a detector is sure
of, with the paper's noise and without any, and maps the blocks that it did not learn from. All
labelled pixels are scored; no label is used for anything else. Trainings that are there are not
done again, so that the command may be interrupted.

    python tests/benchmarks/bootstrap.py [OUT] [--seeds 3] [--epochs 40] [--margin_px 0]
"""

import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # applications are not installed

from noise2map_core.cli.commands.bootstrap import run
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.settings.reading import read_settings
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.tools.bootstrap import BootstrapConfig
from pipelines.ingest_region import run as ingest

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("NOISE2MAP_DATA", CHECKOUT.parent / "shared" / "data"))
COLUMNS = {"f1": "F1", "best_f1": "best F1", "roc_auc": "ROC AUC"}
Scores = dict[str, dict[str, float]]


def main(
    output: tyro.conf.Positional[Path] = Path("out/bootstrap"),
    seeds: int = 3,
    epochs: int = 40,
    confidence: float = 0.9,
    margin_px: int = 0,
) -> None:
    """Ingest, learn with each seed, print scores as they come and a table of all."""
    training = TrainingConfig(epochs=epochs)
    found = []
    with ray_session(ResourcesConfig(num_cpus=2)):
        chips = _chips(output)
        for seed in range(seeds):
            config = BootstrapConfig(
                chips=chips, output=output / f"{seed}", seed=seed, training=training,
                confidence=confidence, margin_px=margin_px,
            )  # fmt: skip
            result = run(config)
            print("\n".join(result.summary()), flush=True)
            found.append(result.note["scores"])
    for line in table(found):
        print(line)


def _chips(output: Path) -> Path:
    """The whole scene, with its labels, and no part set apart."""
    settings: dict[str, Any] = read_settings(CHECKOUT / "pipelines/configs/taizhou-ingest.yaml")
    del settings["split"]
    settings["aoi"] = CHECKOUT / settings["aoi"]
    settings["search"]["catalog"] = str(DATA / "stac" / "catalog.json")
    settings["output"] = output / "chips.zarr"
    ingest(IngestRegionConfig.model_validate(settings))
    return output / "chips.zarr"


def table(found: Sequence[Scores]) -> Iterator[str]:
    """A row for the teacher and each student: mean and standard deviation over the seeds."""
    yield f"{'':10}" + "".join(f"{name:>16}" for name in COLUMNS.values())
    for name in found[0]:
        cells = [[scores[name][column] for scores in found] for column in COLUMNS]
        yield f"{name:10}" + "".join(f"{_spread(values):>16}" for values in cells)


def _spread(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.3f} ± {spread:.3f}"


if __name__ == "__main__":
    tyro.cli(main)
