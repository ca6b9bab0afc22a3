"""Does the noise pay? Buildings of Banepa and Kampala, with every noise and without, seed by seed.

Segmentation of single images, and change between pairs made of single images with masks. All
variants take equally many steps on equally many chips; the moving average at the end is taken, and
the threshold is chosen on validation. Beside them two whole recipes: the reference's and this
project's defaults. Scores are of the test blocks: F1 of the class that is sought at the timestep of
inference (T - 1; 0 for Gaussian noise and none), of change also with the dates the other way round
and, where the noise is structured, at timestep 0 in both orders, for t and the order are nearly one
thing; F1 with haze over the images; expected calibration error after temperature scaling.

A run that is finished is not done again, so that the command may be interrupted. bf16 wants a
processor that has it; elsewhere take fp32.

    python tests/benchmarks/noise_variants.py [OUT] [--steps 150] [--seeds 3] [--precision bf16]
        [--only "CD paper" …]
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import ray
import torch
import tyro
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.chips.store import open_store
from noise2map_core.cli.commands.pair_chips import run as pair_chips
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.fitting.finetuning import train_in_process
from noise2map_core.distributed.tuning import TuneLink
from noise2map_core.evaluation.counting import SplitPixels, model_logits, probability_of
from noise2map_core.evaluation.scores import evaluate_model
from noise2map_core.inference.decision import decide_classes
from noise2map_core.learning.draws import CELLS
from noise2map_core.learning.metrics import ConfusionCounts
from noise2map_core.models.noise2map import Noise2Map, at_timestep
from noise2map_core.settings.learning import EvaluationConfig
from noise2map_core.settings.reading import read_settings
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.training.finetuning import plan_training
from noise2map_core.training.validation import TaskValidation, with_validation
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.pretrain_denoiser import PretrainDenoiserConfig
from noise2map_core.workflows.tools.pair_chips import PairChipsConfig
from pipelines.ingest_region import run as ingest
from pipelines.pretrain_denoiser import run

CHECKOUT = Path(__file__).resolve().parents[2]

DATA = Path(os.environ.get("NOISE2MAP_DATA", CHECKOUT.parent / "shared" / "data"))
PLACES = {"banepa": "oam-banepa", "kampala": "oam-kampala"}
PRESETS = CHECKOUT / "pipelines" / "configs" / "presets"
BATCH = 8
LANES = 2
"""Runs at once, with a thread each."""
Figures = dict[str, dict[str, float]]
"""By task, then by the name of the score."""
HAZE_SEED = 11

NONE = {"corruption": {"kind": "none"}, "training_timesteps": {"kind": "fixed"}}
GAUSSIAN = {"corruption": {"kind": "gaussian"}}
PAPER = {"change": "CD paper", "segment": "SS paper"}
GAIN = "less paper's"
COLUMNS = {
    "F1": 16, GAIN: 26, "swapped": 16, "t=0": 16, "t=0 swapped": 16, "haze": 16, "ECE": 16,
    "seconds": 12,
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """What is trained, apart from the recipe: the paper's noise with this project's optimiser."""

    noise: dict[str, Any] = field(default_factory=dict)
    recipe: str | None = "paper"
    preset: str = "tiny"
    tasks: tuple[str, ...] = ("change",)
    training: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    beside: bool = False
    """Trained only where it is asked for."""
    told: bool = True
    """Whether the network is told the timestep."""


def _mixture(structured: str) -> dict[str, Any]:
    return {"corruption": {"kind": "mixture", "structured": structured, "gaussian_share": 0.1}}


def _mixed_or_told() -> dict[str, Variant]:
    """The input mixed with t or clean, the network told t or not, each at three rates: what is due
    to the noise, and what to the timestep that is told."""
    clean = {"corruption": {"kind": "none"}}
    arms = {
        "mixed, told": Variant(beside=True),
        "mixed, hidden": Variant(told=False, beside=True),
        "clean, told": Variant(clean, beside=True),
        "clean, hidden": Variant(clean, told=False, beside=True),
    }
    return {
        f"{name}, rate {rate:g}": replace(arm, training={"learning_rate": rate})
        for name, arm in arms.items()
        for rate in (1e-3, 3e-3, 1e-2)
    }


def _variants() -> dict[str, Variant]:
    few, swap = {"labels_share": 0.1}, {"reverse_dates": True}
    recipes = {
        "reference recipe": Variant(recipe="reference-recipe", beside=True),
        "defaults": Variant(recipe=None, beside=True),
        "paper, rate 1e-3": Variant(training={"learning_rate": 1e-3}, beside=True),
        "paper, rate 3e-4": Variant(training={"learning_rate": 3e-4}, beside=True),
        "paper, no jitter": Variant(training={"jitter": 0}, beside=True),
    }
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
        **recipes,
        **_mixed_or_told(),
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
        **recipes,
        "best": Variant(recipe="best-segment", beside=True),
    }
    found = {f"CD {name}": variant for name, variant in change.items()}
    singles = {name: replace(one, tasks=("segment",)) for name, one in segment.items()}
    return found | {f"SS {name}": variant for name, variant in singles.items()}


VARIANTS = _variants()
Name = tyro.extras.literal_type_from_choices(list(VARIANTS))
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    output: Path
    steps: int
    seeds: int
    precision: Precision
    only: tuple[str, ...]
    """Names of variants."""


def main(
    output: tyro.conf.Positional[Path] = Path("out/noise"),
    steps: int = 150,
    seeds: int = 3,
    precision: Precision = "bf16",
    only: tuple[Annotated[str, tyro.conf.arg(constructor=Name)], ...] = (),
) -> None:
    """Make the chips, train what is lacking two at a time, score it, print the table.

    Args:
        steps: At least so many, in whole epochs.
        only: Default: all but whole recipes and other rates.
    """
    names = only or tuple(name for name, one in VARIANTS.items() if not one.beside)
    options = Options(output, steps, seeds, precision, names)
    with ray_session(ResourcesConfig(num_cpus=LANES)):
        chips = _chips(options.output)
        backbone = _pretrained(options)
        jobs = [(name, seed) for seed in range(seeds) for name in names]
        scores = _all_figures(options, chips, backbone, jobs)
    for line in _table(options, [name for name, _ in jobs], scores):
        print(line)


def _all_figures(
    options: Options, chips: Path, backbone: Path, jobs: list[tuple[str, int]]
) -> list[Figures]:
    """Scores of every run, in the order of `jobs`, as many at once as there are lanes."""
    work = ray.remote(num_cpus=1, max_retries=0)(_figures)
    tasks = [
        work.remote(options, chips, backbone, VARIANTS[name], name, seed) for name, seed in jobs
    ]
    waiting = dict(zip(tasks, jobs, strict=True))
    while waiting:
        (done,), _ = ray.wait(list(waiting))
        (name, seed), figures = waiting.pop(done), ray.get(done)
        f1 = ", ".join(f"{task} F1 {one['F1']:.3f}" for task, one in figures.items())
        print(f"{len(jobs) - len(waiting)}/{len(jobs)} {name}, seed {seed}: {f1}", flush=True)
    return ray.get(tasks)


def _chips(output: Path) -> Path:
    """Pairs of both places, with the masks of both dates."""
    stores = []
    for place, collection in PLACES.items():
        settings = read_settings(CHECKOUT / f"pipelines/configs/{place}-ingest.yaml")
        settings["aoi"] = CHECKOUT / settings["aoi"]
        settings["search"]["catalog"] = str(DATA / "stac" / "catalog.json")
        settings["labels"]["path"] = str(DATA / "stac" / collection / "buildings.geojson")
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


def _pretrained(options: Options) -> Path:
    """A backbone that denoises aerial images of thirty kinds of places."""
    training = {"epochs": 3, "checkpoint_epochs": 3, "worker_cpus": LANES}
    settings = {
        "images": {"root": DATA / "aid150.tar", "chip_px": 64},
        "output": options.output / f"pretrained-{options.precision}",
        "training": training | {"precision": options.precision},
    }
    return run(PretrainDenoiserConfig.model_validate(settings)).checkpoint


def _figures(
    options: Options, chips: Path, backbone: Path, variant: Variant, name: str, seed: int
) -> Figures:
    """Scores of one run by task, made or found."""
    runs = options.output / f"{options.steps}-{options.precision}"
    path = runs / f"{name.replace(' ', '-').replace(',', '')}-{seed}.json"
    if not path.exists():
        model, seconds = _train(chips, backbone, options, variant, seed)
        dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
        scores = {task: _score(model, dtype, chips, task) for task in variant.tasks}
        figures = {task: found | {"seconds": seconds} for task, found in scores.items()}
        runs.mkdir(exist_ok=True)
        path.with_suffix(".part").write_text(json.dumps(figures, indent=1))
        path.with_suffix(".part").rename(path)
    found: Figures = json.loads(path.read_text())
    return found


def _train(
    chips: Path, backbone: Path, options: Options, variant: Variant, seed: int
) -> tuple[Any, float]:
    """The model with the moving average, thresholds and temperatures; seconds of its steps.

    As finetune-maps trains, in this process, which spares the start of workers and the report.
    """

    class Link(TuneLink):
        def last_checkpoint(self) -> None:
            """Always from the beginning."""

        def report(self, metrics: dict[str, Any], state: Any) -> None:
            """The last one counts."""
            self.metrics, self.state = metrics, state

    job, link = _job(chips, backbone, options, variant, seed), Link(0)
    if where := train_in_process(job, link):
        sys.exit(f"diverged {where}")
    tasks = {name: TaskValidation(**found) for name, found in link.metrics["tasks"].items()}
    model = Noise2Map(with_validation(job.spec, tasks))
    model.load_state_dict(link.state["average"])
    return model.eval(), link.metrics["train_s"]


def _job(chips: Path, backbone: Path, options: Options, variant: Variant, seed: int) -> Any:
    """What finetune-maps would train."""
    settings: dict[str, Any] = {"training": {}}
    if variant.recipe:
        settings = read_settings(PRESETS / f"{variant.recipe}.yaml")
    if variant.noise:
        for task in variant.tasks:
            settings[task]["diffusion"] |= variant.noise
    share = variant.training.get("labels_share", 1.0)
    store = open_store(chips)
    whole = math.ceil(len(store.chips_of("train")) / BATCH)
    # Whole epochs of all labels; of fewer labels, as many steps as come nearest to these.
    epochs = round(whole * math.ceil(options.steps / whole) / math.ceil(share * whole))
    # The reference trains in float32, which is a part of its recipe.
    precision = "fp32" if variant.recipe == "reference-recipe" else options.precision
    settings["training"] |= variant.training | {
        "precision": precision,
        "batch": BATCH,
        "epochs": epochs,
        "checkpoint_epochs": epochs,
    }
    model = {
        "preset": variant.preset,
        "backbone": backbone if variant.pretrained else None,
        "tell_timestep": variant.told,
    }
    settings |= {"chips": chips, "output": "", "seed": seed, "task": variant.tasks}
    return plan_training(FinetuneMapsConfig.model_validate(settings | {"model": model}), store)


def _score(model: Any, dtype: torch.dtype, chips: Path, task: Any) -> dict[str, float]:
    """As maps are computed: by the form of the network at one timestep."""
    store, spec = open_store(chips), model.spec.tasks[task]
    (last,) = spec.inference_timesteps
    map_model = at_timestep(model, last, dtype)
    whole = evaluate_model(map_model, store, "test", task, EvaluationConfig())
    assert whole.calibration is not None
    found = {
        "F1": whole.classes[spec.classes[1].name].f1,
        "ECE": whole.calibration.ece_after,
        "pixels": whole.num_pixels,
        "blocks": whole.num_blocks,
    }
    f1 = partial(_f1, list(SplitPixels.of(store, "test", task, 16).batches()), task)
    found["haze"] = f1(map_model, last, _hazed)
    if task == "change":
        found["swapped"] = f1(map_model, last, _swapped)
        if spec.corruption.kind in ("swapped_pair", "mixture"):
            first = at_timestep(model, 0, dtype)
            found |= {"t=0": f1(first, 0, _same), "t=0 swapped": f1(first, 0, _swapped)}
    return found


def _same(batch: Any) -> Any:
    return batch


def _swapped(batch: Any) -> Any:
    return replace(batch, image=batch.image[:, ::-1].copy(), valid=batch.valid[:, ::-1].copy())


def _hazed(batch: Any) -> Any:
    """Haze of half the greatest thickness, another on each date; raw numbers of eight bits."""
    count, dates, _, *size = batch.image.shape
    generator = torch.Generator().manual_seed(HAZE_SEED + int(batch.chip[0]))
    cells = torch.rand(count, dates, CELLS, CELLS, generator=generator) * 0.6
    opacity = torch.nn.functional.interpolate(cells, size, mode="bicubic", align_corners=True)
    over = opacity.clamp(0, 1)[:, :, None].numpy()
    image = batch.image + over * (235 - batch.image.astype(np.float32))
    return replace(batch, image=np.rint(image).astype(batch.image.dtype))


def _f1(
    pixels: list[Any], task: Any, model: Any, timestep: int, change: Callable[[Any], Any]
) -> float:
    """F1 of the class that is sought on test pixels whose images were changed."""
    spec, logits = model.spec.tasks[task], model_logits(model, (timestep,), task)
    counts = ConfusionCounts.empty(len(spec.classes))
    for batch, truth in pixels:
        probability = probability_of(logits(change(batch)), spec.temperature)
        counts += ConfusionCounts.of(truth, decide_classes(probability, spec), len(spec.classes))
    return counts.scores(1).f1


def _table(options: Options, names: list[str], scores: list[Figures]) -> Iterator[str]:
    first = next(iter(scores[0].values()))
    yield (
        f"{options.steps} steps of {BATCH} chips of 64 px at 0.3 m ({options.precision}), "
        f"{options.seeds} seeds, mean ± standard deviation; "
        "F1 less that of the paper's noise, seed by seed, with a "
        f"95 % interval (Student's t); n = {first['pixels']:,} test pixels in {first['blocks']} "
        "blocks (first task)"
    )
    yield f"{'':34}" + "".join(f"{name:>{width}}" for name, width in COLUMNS.items())
    runs = {
        name: [found for key, found in zip(names, scores, strict=True) if key == name]
        for name in options.only
    }
    for name, seeds in runs.items():
        for task in seeds[0]:
            label = name if len(seeds[0]) == 1 else f"{name} ({task})"
            values = {column: [run[task].get(column) for run in seeds] for column in COLUMNS}
            cells = {column: _cell(each) for column, each in values.items()}
            paper = [run[task]["F1"] for run in runs.get(PAPER[task], [])]
            cells[GAIN] = _gain([run[task]["F1"] for run in seeds], paper)
            row = (f"{cells[column]:>{width}}" for column, width in COLUMNS.items())
            yield f"{label:34}" + "".join(row)


def _cell(values: list[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return ""
    spread = statistics.stdev(numbers) if len(numbers) > 1 else math.nan
    digits = 3 if max(numbers) <= 1 else 0
    return f"{statistics.mean(numbers):.{digits}f} ± {spread:.{digits}f}"


def _gain(values: list[float], paper: list[float]) -> str:
    """Mean of the differences seed by seed, and its 95 % interval."""
    if len(paper) != len(values) or len(values) < 2:
        return ""
    gains = [one - other for one, other in zip(values, paper, strict=True)]
    mean, error = statistics.mean(gains), statistics.stdev(gains) / math.sqrt(len(gains))
    half = float(stats.t.ppf(0.975, len(gains) - 1)) * error
    return f"{mean:+.3f} ({mean - half:+.3f} – {mean + half:+.3f})"


if __name__ == "__main__":
    tyro.cli(main)
