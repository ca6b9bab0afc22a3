"""Does the noise pay? Buildings of Banepa and Kampala, with every noise and without, seed by seed.

Segmentation of single images, and change between pairs made of single images with masks. All
variants take equally many steps on equally many chips; epoch and threshold are chosen on
validation. Scores are of the test blocks: F1 of the class that is sought at the timestep of
inference (T - 1; 0 for Gaussian noise and none), of change also with the dates the other way round
and, where the noise is structured, at timestep 0 in both orders, for t and the order are nearly one
thing; F1 with haze over the images; expected calibration error after temperature scaling.

A run that is finished is not done again, so that the command may be interrupted.

    python tests/benchmarks/noise_variants.py OUT [--steps 400] [--seeds 3] [--only cd-paper …]
"""

import argparse
import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))

DATA = Path(os.environ.get("NOISE2MAP_DATA", CHECKOUT.parent / "shared" / "data"))
PLACES = {"banepa": "oam-banepa", "kampala": "oam-kampala"}
PRESETS = CHECKOUT / "pipelines" / "configs" / "presets"
BATCH = 8
HAZE_SEED = 11

NONE = {"corruption": {"kind": "none"}, "training_timesteps": {"kind": "fixed"}}
GAUSSIAN = {"corruption": {"kind": "gaussian"}}


@dataclass(frozen=True)
class Variant:
    """What is trained, apart from the paper's preset with this project's optimiser."""

    noise: dict[str, Any] = field(default_factory=dict)
    preset: str = "tiny"
    tasks: tuple[str, ...] = ("change",)
    training: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False


def _mixture(structured: str) -> dict[str, Any]:
    return {"corruption": {"kind": "mixture", "structured": structured, "gaussian_share": 0.1}}


def _variants() -> dict[str, Variant]:
    few, swap = {"labels_share": 0.1}, {"reverse_dates": True}
    change = {
        "paper": Variant(),
        "paper, no blind t": Variant({"min_gain": 0.2}),
        "gaussian": Variant(GAUSSIAN),
        "mixture": Variant(_mixture("swapped_pair")),
        "none": Variant(NONE),
        "none, random swap": Variant(NONE, training=swap),
        "no blind t, random swap": Variant({"min_gain": 0.2}, training=swap),
        "U-Net": Variant(NONE, preset="unet"),
        "U-Net, difference": Variant(NONE, preset="unet_difference"),
        "multi-task": Variant(tasks=("change", "segment")),
        "paper, pretrained": Variant(pretrained=True),
        "none, pretrained": Variant(NONE, pretrained=True),
        "paper, 10 % labels": Variant(training=few),
        "none, 10 % labels": Variant(NONE, training=few),
        "paper, pretrained, 10 %": Variant(training=few, pretrained=True),
    }
    segment = {
        "paper": Variant(),
        "gaussian": Variant(GAUSSIAN),
        "mixture": Variant(_mixture("self")),
        "none": Variant(NONE),
        "U-Net": Variant(NONE, preset="unet"),
        "paper, pretrained": Variant(pretrained=True),
        "paper, 10 % labels": Variant(training=few),
        "none, 10 % labels": Variant(NONE, training=few),
    }
    found = {f"CD {name}": variant for name, variant in change.items()}
    singles = {name: replace(one, tasks=("segment",)) for name, one in segment.items()}
    return found | {f"SS {name}": variant for name, variant in singles.items()}


def main() -> None:
    """Make the chips, train what is lacking two at a time, score it, print the table."""
    variants = _variants()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=400, help="at least so many, in whole epochs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=variants, default=list(variants))
    args = parser.parse_args()
    from noise2map_core.distributed.config import ResourcesConfig
    from noise2map_core.distributed.session import ray_session

    torch.set_num_threads(1)
    with ray_session(ResourcesConfig(num_cpus=2)):
        chips = _chips(args.output)
        backbone = _pretrained(args.output)
        jobs = [(name, seed) for seed in range(args.seeds) for name in args.only]
        work = partial(_figures, args.output / f"{args.steps}", chips, backbone, args.steps)
        with ThreadPoolExecutor(2) as pool:
            scores = list(pool.map(lambda job: work(variants[job[0]], *job), jobs))
    for line in _table(args, [name for name, _ in jobs], scores):
        print(line)


def _chips(output: Path) -> Path:
    """Pairs of both places, with the masks of both dates."""
    from noise2map_core.tools.pair_chips import PairChipsConfig
    from noise2map_core.tools.pair_chips import run as pair_chips
    from pipelines.ingest_region import IngestRegionConfig
    from pipelines.ingest_region import run as ingest

    stores = []
    for place, collection in PLACES.items():
        settings = yaml.safe_load((CHECKOUT / f"pipelines/configs/{place}-ingest.yaml").read_text())
        settings["aoi"] = CHECKOUT / settings["aoi"]
        settings["search"]["catalog"] = str(DATA / "stac" / "catalog.json")
        settings["labels"]["path"] = DATA / "stac" / collection / "buildings.geojson"
        settings["grid"]["resolution"] = 0.3
        settings["chips"] = {"chip_px": 64, "stride_px": 64}
        settings["split"]["buffer_px"] = 8
        settings["split"]["blocks"]["side_px"] = 256
        settings["output"] = output / f"{place}.zarr"
        ingest(IngestRegionConfig.model_validate(settings))
        stores.append(settings["output"])
    pairs = output / "pairs.zarr"
    if not pairs.exists():
        pair_chips(PairChipsConfig(chips=tuple(stores), output=pairs, per_chip=3))
    return pairs


def _pretrained(output: Path) -> Path:
    """A backbone that denoises aerial images of thirty kinds of places."""
    from pipelines.pretrain_denoiser import PretrainDenoiserConfig, run

    settings = {
        "images": {"root": DATA / "aid150.tar", "chip_px": 64},
        "output": output / "pretrained",
        "training": {"epochs": 3, "checkpoint_epochs": 3},
    }
    return run(PretrainDenoiserConfig.model_validate(settings)).checkpoint


def _figures(
    output: Path, chips: Path, backbone: Path, steps: int, variant: Variant, name: str, seed: int
) -> dict[str, dict[str, float]]:
    """Scores of one run by task, made or found."""
    folder = output / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
    scores = folder / "scores.json"
    if not scores.exists():
        checkpoint = _train(folder, chips, backbone, steps, variant, seed)
        figures = {task: _score(checkpoint, chips, task) for task in variant.tasks}
        scores.write_text(json.dumps(figures, indent=1))
    found: dict[str, dict[str, float]] = json.loads(scores.read_text())
    return found


def _train(
    folder: Path, chips: Path, backbone: Path, steps: int, variant: Variant, seed: int
) -> Path:
    from noise2map_core.imagery.chip_store import open_store
    from pipelines.finetune_maps import FinetuneMapsConfig, run

    settings = yaml.safe_load((PRESETS / "paper.yaml").read_text())
    for task in variant.tasks:
        settings[task]["diffusion"] |= variant.noise
    share = variant.training.get("labels_share", 1.0)
    whole = math.ceil(len(open_store(chips).chips_of("train")) / BATCH)
    # Whole epochs of all labels; of fewer labels, as many steps as come nearest to these.
    epochs = round(whole * math.ceil(steps / whole) / math.ceil(share * whole))
    settings["training"] |= variant.training | {
        "batch_size": BATCH,
        "epochs": epochs,
        "checkpoint_epochs": max(1, math.ceil(epochs / 4)),
        "worker_cpus": 0.9,
    }
    model = {"preset": variant.preset, "backbone": backbone if variant.pretrained else None}
    settings |= {"chips": chips, "output": folder, "seed": seed, "tasks": variant.tasks}
    return run(FinetuneMapsConfig.model_validate(settings | {"model": model})).checkpoint


def _score(checkpoint: Path, chips: Path, task: Any) -> dict[str, float]:
    from noise2map_core.imagery.chip_store import open_store
    from noise2map_core.inference.scores import evaluate_model
    from noise2map_core.learning.config import EvaluationConfig
    from noise2map_core.models.checkpoint import load_checkpoint

    model, store = load_checkpoint(checkpoint), open_store(chips)
    spec = model.spec.tasks[task]
    whole = evaluate_model(model, store, "test", task, EvaluationConfig())
    assert whole.calibration is not None
    found = {
        "F1": whole.classes[spec.classes[1].name].f1,
        "ECE": whole.calibration.ece_after,
        "pixels": whole.num_pixels,
        "blocks": whole.num_blocks,
    }
    f1 = partial(_f1, model, store, task)
    found["haze"] = f1(spec.inference_timesteps, _hazed)
    if task == "change":
        found["swapped"] = f1(spec.inference_timesteps, _swapped)
        if spec.corruption.kind in ("swapped_pair", "mixture"):
            found |= {"t=0": f1((0,), _same), "t=0 swapped": f1((0,), _swapped)}
    return found


def _same(batch: Any) -> Any:
    return batch


def _swapped(batch: Any) -> Any:
    return replace(batch, image=batch.image[:, ::-1].copy(), valid=batch.valid[:, ::-1].copy())


def _hazed(batch: Any) -> Any:
    """Haze of half the greatest thickness, another on each date; raw numbers of eight bits."""
    from noise2map_core.learning.augment import HAZE_CELLS

    count, dates, _, *size = batch.image.shape
    generator = torch.Generator().manual_seed(HAZE_SEED + int(batch.chip[0]))
    cells = torch.rand(count, dates, HAZE_CELLS, HAZE_CELLS, generator=generator) * 0.6
    opacity = torch.nn.functional.interpolate(cells, size, mode="bicubic", align_corners=True)
    over = opacity.clamp(0, 1)[:, :, None].numpy()
    image = batch.image + over * (235 - batch.image.astype(np.float32))
    return replace(batch, image=np.rint(image).astype(batch.image.dtype))


def _f1(
    model: Any, store: Any, task: Any, timesteps: Iterable[int], change: Callable[[Any], Any]
) -> float:
    """F1 of the class that is sought on test pixels whose images were changed."""
    from noise2map_core.inference.decision import decide_classes
    from noise2map_core.inference.evaluation import SplitPixels, model_logits, probability_of
    from noise2map_core.learning.metrics import ConfusionCounts

    spec, logits = model.spec.tasks[task], model_logits(model, timesteps, task)
    counts = ConfusionCounts.empty(len(spec.classes))
    for batch, truth in SplitPixels.of(store, "test", task, 16).batches():
        probability = probability_of(logits(change(batch)), spec.temperature)
        counts += ConfusionCounts.of(truth, decide_classes(probability, spec), len(spec.classes))
    return counts.scores(1).f1


def _table(
    args: argparse.Namespace, names: list[str], scores: list[dict[str, dict[str, float]]]
) -> Iterator[str]:
    columns = ["F1", "swapped", "t=0", "t=0 swapped", "haze", "ECE"]
    first = next(iter(scores[0].values()))
    yield (
        f"{args.steps} steps of {BATCH} chips of 64 px at 0.3 m, {args.seeds} seeds, mean ± "
        f"standard deviation; n = {first['pixels']:,} test pixels in "
        f"{first['blocks']} blocks (first task)"
    )
    yield f"{'':34}" + "".join(f"{column:>16}" for column in columns)
    for name in args.only:
        runs = [found for key, found in zip(names, scores, strict=True) if key == name]
        for task in runs[0]:
            label = name if len(runs[0]) == 1 else f"{name} ({task})"
            cells = (_cell([run[task].get(column) for run in runs]) for column in columns)
            yield f"{label:34}" + "".join(f"{cell:>16}" for cell in cells)


def _cell(values: list[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return ""
    spread = statistics.stdev(numbers) if len(numbers) > 1 else math.nan
    return f"{statistics.mean(numbers):.3f} ± {spread:.3f}"


if __name__ == "__main__":
    main()
