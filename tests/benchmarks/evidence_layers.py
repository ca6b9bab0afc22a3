"""Which further passes find where a model is wrong: timesteps and orders, flips, or a second seed?

    python tests/benchmarks/evidence_layers.py [--sets gz_cd ombria] [--steps 300] [--chips 400]

Trains two seeds of `tiny` with the paper's noise on places of each set, chooses thresholds and
temperature on others, and asks on places that neither saw whether a doubt finds the pixels that the
first seed decides wrongly: area under the ROC curve of "wrong", mean risk over all coverages, and
risk at 80 % coverage, each layer from eight passes (2 x 4 of two seeds), as maps keep it: highest
less lowest probability. Beside them what costs no pass: how near the probability is to the
threshold. Intervals are of the difference of the ROC areas to timesteps and orders, by a bootstrap
over chips. Data: NOISE2MAP_DATA.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noise2map_core.chips.places import dealt
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.cli.commands.ingest_dataset import run as ingest
from noise2map_core.diffusion.timesteps import spread_timesteps
from noise2map_core.evaluation.batches import ChipBatch, ChipReader
from noise2map_core.evaluation.counting import SplitPixels
from noise2map_core.evaluation.evidence.passes import probability_by, spread_over
from noise2map_core.evaluation.evidence.risk_coverage import RiskCoverage
from noise2map_core.inference.decision import decide_classes
from noise2map_core.inference.region import Pass
from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.metrics import ConfusionCounts
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.settings.datasets import FoldersConfig
from noise2map_core.settings.labels import PlacesConfig
from noise2map_core.settings.learning import LossConfig, TaskTrainingConfig, TrainingConfig
from noise2map_core.training.finetuning import TrainingJob, plan_job
from noise2map_core.training.validation import validate, validation_of, with_validation
from noise2map_core.workflows.finetune_maps import TrialSettings
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig

DATA = Path(os.environ.get("NOISE2MAP_DATA", "../shared/data"))
SETS = {
    # Of gz_cd the scene; of ombria, whose neighbouring numbers are one event, the tens.
    "gz_cd": FoldersConfig(root=DATA / "change/gz_cd", resolution=0.55,
                           area_pattern="(.+?)-[0-9]+-[0-9]+"),
    "ombria": FoldersConfig(root=DATA / "change/ombria", resolution=10.0,
                            area_pattern="([0-9]*)[0-9]$"),
}  # fmt: skip
BATCH, CHIP_PX, DRAWS = 8, 64, 500
EACH = 8
"""Pairs of a place, at most."""
LAYERS = ("timesteps and orders", "flips", "two seeds", "near the threshold")


@dataclass(frozen=True)
class Judged:
    """Doubts of each layer, chip by chip."""

    layers: dict[str, list[RiskCoverage]]
    f1: float

    def total(self, name: str, chosen: NDArray[np.int64] | None = None) -> RiskCoverage:
        each = self.layers[name]
        return reduce(add, each if chosen is None else [each[n] for n in chosen])


def main(sets: list[str], steps: int, chips: int, output: Path | None) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    found = {name: measure(name, steps, chips) for name in sets}
    if output is not None:
        output.write_text(json.dumps(found, indent=2) + "\n")


def measure(name: str, steps: int, chips: int) -> dict[str, object]:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store, places = ingested(name, Path(folder))
        models = [trained(store, steps, seed) for seed in (0, 1)]
        judged = judge(models, store, chips)
        areas = sorted({*store.places[store.splits == "test"].tolist()})
    pixels = int(judged.total(LAYERS[0]).counts.sum())
    print(
        f"\n{name}: {len(areas)} test places of {places}, {pixels:,} pixels, F1 {judged.f1:.3f}, "
        f"{steps} steps, {time.monotonic() - begun:.0f} s"
    )
    return {"f1": judged.f1, "pixels": pixels, "layers": dict(table(judged))}


def ingested(name: str, folder: Path) -> tuple[ChipStore, int]:
    """A third of the places is for testing, a sixth for validation; by name, in turn."""
    dataset = SETS[name].model_copy(update={"root": sampled(SETS[name], folder / name)})
    path = folder / "chips.zarr"
    ingest(IngestDatasetConfig(dataset=dataset, chip_px=CHIP_PX, output=path))
    store = open_store(path)
    known = sorted(set(store.places.tolist()))
    test, val = tuple(known[2::3]), tuple(known[1::6])
    return dealt(store, PlacesConfig(val=val, test=test)), len(known)


def sampled(config: FoldersConfig, folder: Path) -> Path:
    """A folder of links to at most `EACH` pairs of every place, spread over it."""
    by_place: dict[str, list[str]] = {}
    for path in sorted((config.root / "A").iterdir()):
        found = re.match(config.area_pattern or "(.*)", path.stem)
        by_place.setdefault(found[1] if found else path.stem, []).append(path.stem)
    for names in by_place.values():
        for stem in names[:: max(1, len(names) // EACH)][:EACH]:
            for part in ("A", "B", "label"):
                (folder / part).mkdir(parents=True, exist_ok=True)
                (file,) = (config.root / part).glob(f"{stem}.*")
                (folder / part / file.name).symlink_to(file.resolve())
    return folder


def trained(store: ChipStore, steps: int, seed: int) -> Noise2Map:
    settings = TrialSettings(
        change=TaskTrainingConfig(loss=LossConfig(class_weights="inverse_frequency")),
        training=TrainingConfig(epochs=1, batch=BATCH, ema_warmup=True),
    )
    job = plan_job(settings, store, Path("unused"), seed)
    model = new_model(job.spec, seed, torch.device("cpu"))
    learner = Learner(model, job.training, job.tasks, job.class_weights, seed)
    for step, batch in enumerate(drawn(store, job, steps, seed)):
        learner.step({"change": prepared(model, batch, step)}, 0, step, steps, Ranks())
    pixels = SplitPixels.of(store, "val", "change", BATCH)
    judged = validation_of(validate(learner.averaged, pixels), job.spec.tasks["change"])
    chosen = Noise2Map(with_validation(job.spec, {"change": judged}))
    chosen.load_state_dict(learner.averaged.state_dict())
    return chosen.eval()


def drawn(store: ChipStore, job: TrainingJob, steps: int, seed: int) -> Iterator[ChipBatch]:
    chips, reader = job.chosen["change"].train, ChipReader(store, ("change",))
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        yield reader.read(np.sort(generator.choice(chips, BATCH, replace=False)))


def prepared(model: Noise2Map, batch: ChipBatch, step: int) -> TrainingBatch:
    image, valid = batch.inputs("change")
    draws = batch.draws_of("change")
    draws[:, 1] = step  # a chip that comes again is augmented anew
    return TrainingBatch(
        image=model.normalise(image, valid, "change"),
        label=torch.from_numpy(batch.labels_of("change")).long(),
        valid=valid.all(dim=1),
        draws_of=draws,
    )


def judge(models: list[Noise2Map], store: ChipStore, chips: int) -> Judged:
    first, task = models[0], models[0].spec.tasks["change"]
    last = task.inference_timesteps[0]
    steps = spread_timesteps(TaskTrainingConfig().diffusion, 4)
    passes = {
        "timesteps and orders": [(first, Pass(t, order)) for t in steps for order in (False, True)],
        "flips": [(first, Pass(last, turn=turn)) for turn in range(8)],
        "two seeds": [(model, Pass(last, turn=turn)) for model in models for turn in range(4)],
    }
    layers: dict[str, list[RiskCoverage]] = {name: [] for name in LAYERS}
    confusion = ConfusionCounts.empty(2)
    for batch, truth in some_of(SplitPixels.of(store, "test", "change", BATCH), chips).batches():
        probability = probability_by(first, batch, "change", Pass(last))
        decided = decide_classes(probability, task)
        confusion += ConfusionCounts.of(truth, decided, 2)
        doubts = {
            name: spread_over(probability_by(model, batch, "change", one) for model, one in chosen)
            for name, chosen in passes.items()
        }
        doubts["near the threshold"] = nearness(probability[:, 1], task.decided_from)
        for name, doubt in doubts.items():
            pairs = zip(doubt, truth, decided, strict=True)
            layers[name] += [RiskCoverage.of(*each) for each in pairs]
    return Judged(layers, confusion.scores(1).f1)


def some_of(pixels: SplitPixels, chips: int) -> SplitPixels:
    order = np.random.default_rng(0).permutation(len(pixels.chips))
    return replace(pixels, chips=np.sort(pixels.chips[order[:chips]]))


def nearness(probability: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """1 at the threshold, 0 at certainty of either class."""
    reach = np.where(probability >= threshold, 1 - threshold, threshold)
    return np.asarray(1 - np.abs(probability - threshold) / np.maximum(reach, 1e-6))


def table(judged: Judged) -> Iterator[tuple[str, dict[str, float | list[float]]]]:
    generator = np.random.default_rng(0)
    count = len(judged.layers[LAYERS[0]])
    draws = [generator.integers(count, size=count) for _ in range(DRAWS)]
    base = [judged.total(LAYERS[0], draw).roc_auc or 0.0 for draw in draws]
    print(f"{'doubt':22} {'AUROC':>6} {'against timesteps':>20} {'AURC':>7} {'risk at 80 %':>13}")
    for name in LAYERS:
        total = judged.total(name)
        own = [judged.total(name, draw).roc_auc or 0.0 for draw in draws]
        low, high = np.percentile(np.subtract(own, base), [2.5, 97.5])
        area, risk = total.roc_auc or 0.0, total.risk_at(0.8)
        print(f"{name:22} {area:6.3f} {low:+9.3f} … {high:+.3f} {total.area:9.4f} {risk:11.4f}")
        yield name, {"roc_auc": area, "difference": [low, high], "aurc": total.area, "risk": risk}
    print(f"{'no doubt':22} {0.5:6.3f} {'':20} {total.risk_at(1.0):8.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--chips", type=int, default=400, help="test chips, drawn at random")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    main(options.sets, options.steps, options.chips, options.output)
