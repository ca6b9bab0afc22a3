"""How far models carry to places that they never saw: one table of a set, all rows on all folds.

Whole places are dealt into folds; each is scored by the model of its fold, at the threshold and
temperature that other places gave (`evaluate-maps --protocol transfer`). Every row sees the same
chips, as often. A run that was killed goes on.

    python tests/benchmarks/transfer.py oscd [--rows plain paper unet] [--folds 7] [--epochs 30]
    python tests/benchmarks/transfer.py gz_cd
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the applications are not installed

from noise2map_core.chips.store import open_store
from noise2map_core.cli.commands import ingest_dataset
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.evaluation.transfer import TransferScores
from noise2map_core.evaluation.transfer_table import TransferResult
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig
from pipelines import evaluate_maps, finetune_maps, ingest_region

Settings = dict[str, Any]

BANDS = ["blue", "green", "red", "nir", "swir16", "swir22"]
NO_NOISE: Settings = {"change": {"diffusion": {"corruption": {"kind": "none"}}}}
SCENE: Settings = {"normalisation": {"of": "scene"}}
INVARIANT: Settings = {
    "training": {
        "jitter": 0.2, "haze": 0.1,
        "invariance": {
            "unchanged": 0.2, "pasted": 0.1, "shift_px": 1.0, "warp_px": 1.0, "mix": 0.1,
            "shadow": 0.6, "light": 0.2, "tone": 0.5, "seam": 0.2, "blur_px": 1.0, "noise": 0.1,
            "jpeg": 0.1,
        },
    }
}  # fmt: skip
DIFFERENCE: Settings = {"model": {"fusion": "difference"}}
ALTERATION: Settings = {
    "model": {"fusion": "alteration"}, "training": {"jitter": 0.0, "context_dropout": 0.1},
}  # fmt: skip
RANKS: Settings = {**ALTERATION, "model": {"fusion": "ranks"}}
PIXELWISE: Settings = {
    "model": {"preset": "pixelwise"},
    "training": {
        "batch": 8, "weight_decay": 0.5, "ema_warmup": True, "jitter": 0.0, "context_dropout": 0.3,
    },
}  # fmt: skip

ROWS: dict[str, list[Settings]] = {
    "unet": [{"model": {"preset": "unet"}}, NO_NOISE],
    "unet siamese": [{"model": {"preset": "unet_difference"}}, NO_NOISE],
    "lite0": [{"model": {"preset": "lite0"}}, NO_NOISE],
    "lite0 siamese": [{"model": {"preset": "lite0_difference"}}, NO_NOISE],
    "lite0 siamese, scene": [{"model": {"preset": "lite0_difference"}}, NO_NOISE, SCENE],
    "plain": [NO_NOISE],
    "paper": [],
    "plain, scene": [NO_NOISE, SCENE],
    "paper, scene": [SCENE],
    "plain, scene, difference": [NO_NOISE, SCENE, DIFFERENCE],
    "paper, scene, difference": [SCENE, DIFFERENCE],
    "plain, scene, alteration": [NO_NOISE, SCENE, ALTERATION],
    "paper, scene, alteration": [SCENE, ALTERATION],
    "plain, scene, ranks": [NO_NOISE, SCENE, RANKS],
    "paper, scene, ranks": [SCENE, RANKS],
    "pixelwise": [NO_NOISE, SCENE, PIXELWISE],
    "plain, all": [NO_NOISE, SCENE, DIFFERENCE, INVARIANT],
    "paper, all": [SCENE, DIFFERENCE, INVARIANT],
}
"""What is learnt otherwise than by default, by row: preset tiny. paper: its noise; plain: none."""


def main(
    places: Annotated[Literal["oscd", "gz_cd"], tyro.conf.Positional] = "oscd",
    rows: tuple[str, ...] = tuple(ROWS),
    data: Path = Path("../shared/data"),
    output: Path = Path("out/transfer"),
    folds: int = 7,
    epochs: int = 20,
    seeds: tuple[int, ...] = (0,),
    threads: float = 1.0,
    chips_only: bool = False,
) -> None:
    """Train what is missing, and print the table.

    Args:
        places: the set.
        rows: names of the rows that are trained and scored.
        data: folder with `stac/` and `change/`.
        output: stores, trainings and tables; a rerun goes on there.
        folds: how many the places are dealt into.
        epochs: of every training.
        seeds: of every row.
        threads: of a training.
        chips_only: write the chip store, and train nothing.
    """
    with ray_session(ClusterConfig(num_cpus=2)):
        chips = _store(places, data, output)
        if chips_only:
            return
        done: list[TransferScores] = []
        for row in rows:
            for seed in seeds:
                run = output / places / row.replace(", ", "-").replace(" ", "-") / f"seed-{seed}"
                finetune_maps.run(_training(ROWS[row], chips, run, folds, epochs, seed, threads))
                result = _score(row if len(seeds) == 1 else f"{row} {seed}", run, chips)
                done = [*done[: len(done)], result.rows[0]]
                print("\n".join(result.summary()), flush=True)
        table = TransferResult("change", str(chips), result.folds, (*done, *result.rows[1:]))
        print("\n".join(table.summary()), flush=True)


def _training(
    row: list[Settings], chips: Path, run: Path, folds: int, epochs: int, seed: int, threads: float
) -> FinetuneMapsConfig:
    settings: Settings = {
        "chips": chips, "output": run, "seed": seed, "places": {"folds": folds},
        "training": {"epochs": epochs, "checkpoint_epochs": max(1, epochs // 4), "balance": 0.3,
                     "worker_cpus": threads, "precision": "bf16"},
    }  # fmt: skip
    for part in row:
        settings = _merged(settings, part)
    return FinetuneMapsConfig.model_validate(settings)


def _merged(one: Settings, other: Settings) -> Settings:
    """The other's values where both have some."""
    both = {
        name: _merged(one[name], value)
        for name, value in other.items()
        if isinstance(value, dict) and isinstance(one.get(name), dict)
    }
    return {**one, **other, **both}


def _score(name: str, run: Path, chips: Path) -> TransferResult:
    config = EvaluateMapsConfig(
        checkpoint=run, chips=chips, name=name, protocol="transfer", output=run / "transfer.json"
    )
    result = evaluate_maps.run(config)
    assert isinstance(result, TransferResult)
    return result


def _store(places: str, data: Path, output: Path) -> Path:
    path = output / f"{places}.zarr"
    if places == "gz_cd":
        root = data / "change" / "gz_cd"
        dataset = {
            "kind": "folders",
            "root": root,
            "resolution": 0.55,
            "area_pattern": "(.+?)-[0-9]+-[0-9]+",
        }
        ingest_dataset.run(
            IngestDatasetConfig.model_validate({"output": path, "chip_px": 128, "dataset": dataset})
        )
    else:
        for config in _cities(data / "stac", output, path):
            ingest_region.run(config)
    open_store(path)
    return path


def _cities(stac: Path, output: Path, path: Path) -> Iterator[IngestRegionConfig]:
    """Each city of OSCD; they lie in several zones."""
    folder = stac / "oscd"
    with (folder / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        name = f"oscd-{row['city']}-{row['before'].replace('-', '')}"
        item = json.loads((folder / name / f"{name}.json").read_text())
        area = output / "areas" / f"{row['city']}.geojson"
        area.parent.mkdir(parents=True, exist_ok=True)
        feature = {"type": "Feature", "properties": {}, "geometry": item["geometry"]}
        area.write_text(json.dumps(feature))
        yield IngestRegionConfig.model_validate(
            {
                "aoi": area, "before": row["before"], "after": row["after"], "output": path,
                "search": {
                    "catalog": str(stac / "catalog.json"), "collection": "oscd", "bands": BANDS,
                },
                "chips": {"chip_px": 128, "stride_px": 128}, "mask": {"use": "off"},
                "labels": {"kind": "raster", "asset": "change"},
            }
        )  # fmt: skip


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
