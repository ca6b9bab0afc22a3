"""The model card: README.md of a checkpoint directory."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from noise2map_core.chips.places import CHOSEN_ON
from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.card_scores import NO_SCORES
from noise2map_core.learning.skill import warning
from noise2map_core.models.denoiser import DenoiserSpec
from noise2map_core.models.spec import CheckpointSpec, TaskSpec
from noise2map_core.report.cards import SCORES
from noise2map_core.report.pages import render
from noise2map_core.settings.inference import CardConfig
from noise2map_core.settings.learning import SelectionConfig
from noise2map_core.settings.network import Task
from noise2map_core.training.cost import COST_NOTE, cost_of
from noise2map_core.training.validation import TaskValidation

Row = tuple[str, str]
"""What it is, and its value."""

USES = {
    "change": "Predicts, per pixel, whether land changed between images of one place.",
    "segment": "Predicts, per pixel, what an image shows.",
}

MAX_ITEMS = 50
"""Source items that a card names one by one."""

INTENDED_USE = (
    "Maps of land like that of the training data, from images of these bands, pixel sizes and raw "
    "numbers."
)


def write_card(
    spec: CheckpointSpec,
    store: ChipStore,
    validation: Mapping[Task, TaskValidation],
    val_f1: float,
    epoch: int,
    history: Sequence[dict[str, Any]],
    seed: int,
    words: CardConfig | None = None,
    selection: SelectionConfig | None = None,
) -> str:
    """The card's Markdown; `validation` is what validation says of each task in the chosen epoch,
    `history` what the workers recorded of every validated one."""
    words, made_pairs = words or CardConfig(), store.attributes.get("made_pairs")
    return render(
        "model_card.md",
        tasks=list(spec.tasks),
        warnings=[
            warning(name, validation[name].doubts) for name in spec.tasks if validation[name].doubts
        ],
        uses=[USES[name] for name in spec.tasks],
        rows=[
            *_rows(spec, validation),
            ("validation F1", f"{val_f1:.4f}, after {epoch} epochs; one training, seed {seed}"),
            *_choice_rows(store, selection or SelectionConfig()),
            ("trained by", f"noise2map {spec.code_version}"),
        ],
        intended_use=words.intended_use or INTENDED_USE,
        scores=SCORES,
        no_scores=NO_SCORES,
        num_train=len(store.chips_of("train")),
        num_val=len(store.chips_of("val")),
        paste=f"{made_pairs['paste']:.0%}" if made_pairs else None,
        licences=list(_licence_rows(store.attributes)),
        credit=words.credit,
        items=list(_item_lines(store.attributes["items"])),
        limits=words.limits,
        **_cost(history),
    )


def _rows(spec: CheckpointSpec, validation: Mapping[Task, TaskValidation]) -> Iterator[Row]:
    """What the model is, and of each task what validation found."""
    (gsd_low, gsd_high), (low, high) = spec.gsd_range, spec.value_range
    yield "bands, in order", ", ".join(spec.bands)
    yield "ground sample distance", f"{spec.gsd:g} m (accepts {gsd_low:g} to {gsd_high:g} m)"
    yield "expected raw numbers", f"{low:g} to {high:g}"
    yield "chips", f"{spec.chip_px} px, {spec.stride_px} px apart at inference"
    yield "network", f"preset {spec.preset}"
    for name, task in spec.tasks.items():
        yield from _task_rows(name, task, validation[name])


def _choice_rows(store: ChipStore, selection: SelectionConfig) -> Iterator[Row]:
    """How the epoch was chosen, where that is not by F1 on a part of its own."""
    if CHOSEN_ON in store.attributes:
        part, protocol = store.attributes[CHOSEN_ON], store.attributes["dataset"]["protocol"]
        told = f"chosen on part {part}, as protocol {protocol} does: its scores flatter"
        yield "epoch, threshold, temperature", told
    if selection.by == "last":
        yield "epoch", "the last: none was chosen"
    if selection.by == "cross_entropy":
        at = "inference's" if selection.timestep is None else f"t = {selection.timestep}"
        yield "epoch chosen by", f"lowest weighted cross-entropy, {at}"


def _task_rows(name: str, task: TaskSpec, validation: TaskValidation) -> Iterator[Row]:
    thresholds = ", ".join(f"{value:g} for {label}" for label, value in task.threshold.items())
    rows = {
        "classes": ", ".join(entry.name for entry in task.classes),
        "noise": f"{task.corruption.kind}, schedule {task.schedule.kind}, "
        f"T = {task.schedule.num_timesteps}",
        "timesteps at inference": ", ".join(map(str, task.inference_timesteps)),
        "decision threshold": f"{thresholds}; chosen on the validation part" if thresholds else "",
        "validation F1": f"{validation.f1:.4f} ± {validation.error:.4f} "
        f"(standard error{_sample_size(task, validation)})",
        "temperature": f"{task.temperature:g}{_left_out(task, validation)}"
        f"{_calibration_error(validation)}",
    }
    yield from ((f"{name}: {what}", value) for what, value in rows.items() if value)


def _sample_size(task: TaskSpec, validation: TaskValidation) -> str:
    if validation.num_pixels is None:
        return ""
    of = f" of {task.classes[1].name} among {validation.num_pixels:,}"
    return f", n = {validation.num_sought:,} pixels{of if len(task.classes) == 2 else ''}"


def _cost(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    cost = cost_of(history)
    return {"cost": cost.rows() if cost else [], "cost_note": COST_NOTE}


def _left_out(task: TaskSpec, validation: TaskValidation) -> str:
    """A temperature that is not taken, and why."""
    best = validation.best_temperature
    if best is None or task.temperature == best:
        return ""
    return f" (that of the highest likelihood, {best:.3g}, is no better where it was not chosen)"


def _calibration_error(validation: TaskValidation) -> str:
    if validation.ece_before is None or validation.ece_after is None:
        return ""
    return (
        f"; expected calibration error on the validation part {validation.ece_before:.4f} without, "
        f"{validation.ece_after:.4f} with"
    )


def _licence_rows(found: Mapping[str, Any]) -> Iterator[Row]:
    """Whose imagery and labels are; a published data set names both in one."""
    imagery = Counter(item.get("attribution") or "not stated" for item in found["items"])
    for attribution, count in imagery.items():
        yield f"imagery, {count:,} item{'s' if count > 1 else ''}", attribution
    of_dataset = found.get("dataset", {}).get("attribution")
    for attribution in found.get("labels_from") or [of_dataset or "not stated"]:
        yield "labels", attribution


def _item_lines(items: list[dict[str, str]]) -> Iterator[str]:
    for item in items[:MAX_ITEMS]:
        attribution = f" ({item['attribution']})" if item.get("attribution") else ""
        yield f"{item['collection']}/{item['id']}, {item['datetime']}{attribution}"
    if len(items) > MAX_ITEMS:
        yield f"and {len(items) - MAX_ITEMS:,} more, in the chip store's attributes"


def write_denoiser_card(
    spec: DenoiserSpec, num_train: int, num_val: int, history: list[dict[str, Any]]
) -> str:
    """The Markdown of a pretrained backbone's card."""
    return render(
        "denoiser_card.md",
        spec=spec,
        num_train=num_train,
        num_val=num_val,
        epochs=history[-1]["epoch"],
        val_loss=f"{history[-1]['val_loss']:.4f}",
        **_cost(history),
    )
