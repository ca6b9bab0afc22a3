"""What the report says of a training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from noise2map_core.chips.store import ChipStore
from noise2map_core.chips.summary import acquisition_times
from noise2map_core.evaluation.calibration_tally import CurvePoint
from noise2map_core.evaluation.scores import MapScores, ScoredClass
from noise2map_core.learning.skill import warning
from noise2map_core.models.spec import CheckpointSpec, ClassSpec, TaskSpec
from noise2map_core.products.styles.palette import NUM_SHADES, amount_shades, css_color
from noise2map_core.report.charts import Chart, Mark, Points, Series, thinned
from noise2map_core.report.pages import Table
from noise2map_core.runtime.redact import redacted, unsigned
from noise2map_core.settings.network import Task
from noise2map_core.settings.reading import flattened
from noise2map_core.training.cost import COST_NOTE, cost_of
from noise2map_core.training.report.evidence import TaskEvidence
from noise2map_core.training.report.page import TaskSection, TrainingPage
from noise2map_core.training.validation import doubts_of_chosen

TITLES = {"change": "Change", "segment": "Segmentation"}
COLORS = {"change": "#d7301f", "segment": "#1f78b4"}
LOSS_COLOR = "#6a3d9a"
MAX_SOURCES = 200
"""Source items that are listed one by one."""
FILES = [
    ("checkpoint/README.md", "model card"),
    ("checkpoint/model.json", "all that inference must know"),
    ("checkpoint/model.safetensors", "weights"),
    ("run.json", "settings and what every validation found"),
]


def training_page(
    note: Mapping[str, Any],
    spec: CheckpointSpec,
    store: ChipStore,
    evidence: Mapping[Task, TaskEvidence],
    losses: Points,
) -> TrainingPage:
    """Everything that the page says. `note` is the run's `run.json`, `losses` are (step, loss)."""
    history = note["history"]
    items = store.attributes["items"]
    splits = store.attributes["counts"]
    return TrainingPage(
        title=f"Training: {' and '.join(spec.tasks)}",
        summary=_summary(note, spec),
        curves=_curves(note, spec, losses),
        training=_training(note, spec, history),
        settings=[(name, redacted(value)) for name, value in flattened(note["config"])],
        tasks=[_section(name, task, evidence[name]) for name, task in spec.tasks.items()],
        data={"Chip store": _data(store)},
        class_header=("", *splits),
        class_pixels=list(_class_pixels(store, spec)),
        sources_note=_sources_note(len(items)),
        sources=[_source(item) for item in items[:MAX_SOURCES]],
        attribution=sorted({item["attribution"] for item in items if item.get("attribution")}),
        files=FILES,
    )


def _summary(note: Mapping[str, Any], spec: CheckpointSpec) -> str:
    return (
        f"{_told('this model', doubts_of_chosen(note))}"
        f"F1 {note['val_f1']:.4f} on validation after {note['epoch']} epochs, preset "
        f"{spec.preset}, seed {note['config']['seed']}. Validation chose epoch and threshold, so "
        "its scores are too high: evaluate-maps scores a part that was held out."
    )


def _told(what: str, doubts: str) -> str:
    return f"{warning(what, doubts)} " if doubts else ""


def _curves(note: Mapping[str, Any], spec: CheckpointSpec, losses: Points) -> list[Chart]:
    history = note["history"]
    steps = [Series("steps", LOSS_COLOR, thinned(losses), faint=True)] if losses else []
    per_epoch = (losses[-1][0] / history[-1]["epoch"]) if losses else 1.0
    means = [(entry["epoch"] * per_epoch, entry["loss"]) for entry in history]
    epochs = Series("mean of an epoch", LOSS_COLOR, means, dots=True)
    return [
        Chart("Loss", "step" if losses else "epoch", "loss", [*steps, epochs]),
        _validation_chart(note, spec),
    ]


def _validation_chart(note: Mapping[str, Any], spec: CheckpointSpec) -> Chart:
    """F1 of each task over epochs, ± a standard error."""
    history, chosen = note["history"], note["epoch"]
    series: list[Series] = []
    marks: list[Mark] = []
    for name in spec.tasks:
        found = [entry["tasks"][name] for entry in history]
        points = [(entry["epoch"], task["f1"]) for entry, task in zip(history, found, strict=True)]
        errors = [task["error"] for task in found]
        series.append(Series(f"{name} ± standard error", COLORS[name], points, errors, dots=True))
        marks += [Mark("chosen", COLORS[name], *point) for point in points if point[0] == chosen]
    return Chart("F1 on validation", "epoch", "F1", series, marks[:1])


def _training(
    note: Mapping[str, Any], spec: CheckpointSpec, history: Sequence[dict[str, Any]]
) -> dict[str, Table]:
    cost = cost_of(history)
    model = [
        ("preset", spec.preset),
        ("bands", ", ".join(spec.bands)),
        ("pixel", f"{spec.gsd:g} m (accepts {spec.gsd_range[0]:g} to {spec.gsd_range[1]:g} m)"),
        ("chips", f"{spec.chip_px} px"),
        ("weights", f"epoch {note['epoch']} of {note['config']['training']['epochs']}, averaged"),
        ("model digest", spec.digest),
        ("noise2map", spec.code_version),
    ]
    costs: dict[str, Table] = {"Cost": [*cost.rows(), ("counted", COST_NOTE)]} if cost else {}
    return {"Model": model, **costs}


def _section(name: Task, task: TaskSpec, evidence: TaskEvidence) -> TaskSection:
    shades = amount_shades()
    amount = f"probability of {task.classes[1].name if len(task.classes) == 2 else 'the class'}"
    return TaskSection(
        title=f"{TITLES[name]}: validation",
        summary=_decision(task, evidence.scores),
        classes=[(entry.color, entry.name) for entry in task.classes],
        scores=[_score_row(entry, evidence.scores) for entry in task.classes],
        curve=_precision_recall(task, evidence.scores),
        confusion=evidence.scores.confusion,
        figures=list(_figures(task, evidence.scores)),
        worst=evidence.worst,
        best=evidence.best,
        amounts=[
            (css_color(shade), f"{amount} {percent} %")
            for shade, percent in zip(shades[:: NUM_SHADES // 2], (0, 50, 100), strict=True)
        ],
        timesteps=evidence.timesteps,
    )


def _decision(task: TaskSpec, scores: MapScores) -> str:
    thresholds = ", ".join(f"{name} from {value:.3f}" for name, value in task.threshold.items())
    return (
        f"{_told('the model', scores.doubts)}"
        f"{scores.num_pixels:,} labelled, observed pixels in {scores.num_blocks:,} spatial "
        f"block{'' if scores.num_blocks == 1 else 's'}, which the bootstrap of the 95 % intervals "
        "draws; at the decision "
        f"{f'threshold: {thresholds}' if thresholds else 'of the most probable class'}."
    )


def _score_row(entry: ClassSpec, scores: MapScores) -> tuple[str, ...]:
    one = scores.classes[entry.name]
    curves = scores.calibration.precision_recall if scores.calibration else {}
    area = f"{average_precision(curves[entry.name]):.3f}" if entry.name in curves else "–"
    return (
        entry.name, f"{one.f1:.3f}", f"{one.f1_low:.3f} – {one.f1_high:.3f}", f"{one.iou:.3f}",
        f"{one.precision:.3f}", f"{one.recall:.3f}", area, f"{one.support:,}",
    )  # fmt: skip


def average_precision(curve: Sequence[CurvePoint]) -> float:
    """Precision, mean over recall: Σ (R_n − R_{n+1}) P_n over rising thresholds."""
    recalls = [*(recall for _, _, recall in curve[1:]), 0.0]
    return sum(
        (recall - after) * precision
        for (_, precision, recall), after in zip(curve, recalls, strict=True)
    )


def _precision_recall(task: TaskSpec, scores: MapScores) -> Chart:
    assert scores.calibration is not None  # a model's
    colors = {entry.name: entry.color for entry in task.classes}
    curves = scores.calibration.precision_recall
    series = [
        Series(name, colors[name], [(recall, precision) for _, precision, recall in curve])
        for name, curve in curves.items()
    ]
    marks = [_decided(colors[name], scores.classes[name]) for name in curves]
    unit = (0.0, 1.0)
    return Chart("Precision and recall", "recall", "precision", series, marks, unit, unit)


def _decided(color: str, one: ScoredClass) -> Mark:
    return Mark("as decided", color, one.recall, one.precision)


def _figures(task: TaskSpec, scores: MapScores) -> Iterator[tuple[str, str]]:
    yield "mean F1", f"{scores.mean_f1:.3f}"
    yield "mean IoU", f"{scores.mean_iou:.3f}"
    yield "accuracy", f"{scores.accuracy:.3f}"
    interval = (
        "" if scores.kappa_low is None else f" ({scores.kappa_low:.3f} – {scores.kappa_high:.3f})"
    )
    yield "kappa", f"{scores.kappa:.3f}{interval}"
    if scores.roc_auc is not None:
        yield "area under the ROC curve", f"{scores.roc_auc:.3f}"
    if scores.objects is not None:
        found = scores.objects
        yield (
            f"objects of {task.classes[1].name} at IoU 0.5",
            f"F1 {found.f1:.3f} ({found.truths:,} there, {found.predictions:,} predicted)",
        )
    if scores.calibration is not None:
        one = scores.calibration
        yield (
            "expected calibration error",
            f"{one.ece_before:.4f}, with temperature {one.temperature:.2f} {one.ece_after:.4f}",
        )
        if one.timestep_spread is not None:
            yield "standard deviation over timesteps", f"{one.timestep_spread:.4f}"


def _data(store: ChipStore) -> Table:
    found, origin = store.attributes, store.attributes.get("dataset") or {}
    places = found["crs_table"]
    return [
        ("chip store", redacted(unsigned(str(store.path)))),
        *((name.replace("_", " "), str(value)) for name, value in origin.items()
          if isinstance(value, str | int | float)),
        ("bands", ", ".join(store.bands)),
        ("pixel", f"{found['gsd']:g} m"),
        ("chips", f"{store.num_chips:,} of {found['chip_px']} px, {store.num_dates} date(s)"),
        ("grid", places[0] if len(places) == 1 else f"{len(places)} places"),
        ("acquired", acquisition_times(store)),
        ("splits", f"by place, {found['buffer_px']} px apart"),
    ]  # fmt: skip


def _class_pixels(store: ChipStore, spec: CheckpointSpec) -> Iterator[tuple[str, ...]]:
    counts = store.attributes["counts"]
    yield "chips", *(f"{part['chips']:,}" for part in counts.values())
    for name, task in spec.tasks.items():
        for entry in task.classes:
            pixels = (part["label_px"][name][entry.name] for part in counts.values())
            yield f"{name}: {entry.name}, pixels", *(f"{count:,}" for count in pixels)


def _sources_note(count: int) -> str:
    if count <= MAX_SOURCES:
        return f"All {count:,} source items."
    return f"{MAX_SOURCES} of {count:,} source items; the chip store's attributes have all."


def _source(item: Mapping[str, Any]) -> tuple[str, ...]:
    name = f"{item['collection']}/{item['id']}"
    return name, str(item["datetime"]), redacted(unsigned(str(item.get("href", ""))))
