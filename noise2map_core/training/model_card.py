"""The model card: README.md of a checkpoint directory."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.card_scores import NO_SCORES, SCORES
from noise2map_core.learning.skill import warning
from noise2map_core.models.denoiser import DenoiserSpec
from noise2map_core.models.spec import CheckpointSpec, TaskSpec
from noise2map_core.settings.inference import CardConfig
from noise2map_core.settings.network import Task
from noise2map_core.training.cost import COST_NOTE, cost_of
from noise2map_core.training.validation import TaskValidation

USES = {
    "change": "Predicts, per pixel, whether land changed between images of one place.",
    "segment": "Predicts, per pixel, what an image shows.",
}

MAX_ITEMS = 50
"""Source items that a card names one by one."""

CARD = """# Noise2Map model: {tasks}

{warnings}{uses}

One forward pass of a diffusion network a timestep (A. Shibli, A. Nascetti, Y. Ban: Noise2Map, IEEE
TGRS 2026).

| | |
| --- | --- |
| bands, in order | {bands} |
| ground sample distance | {gsd:g} m (accepts {gsd_low:g} to {gsd_high:g} m) |
| expected raw numbers | {low:g} to {high:g} |
| chips | {chip_px} px, {stride_px} px apart at inference |
| network | preset {preset} |
{task_rows}
| validation F1 | {val_f1:.4f}, after {epoch} epochs; one training, seed {seed} |
| trained by | noise2map {code_version} |

## Intended use

{intended_use}

{scores}

{no_scores}

## Training data

{num_train} training and {num_val} validation chips, split by place.{made_pairs}

| | whose, and under which licence |
| --- | --- |
{licences}{credit}

Source items:

{items}

## Cost

{cost}

## Limits

{limits}
"""

INTENDED_USE = (
    "Maps of land like that of the training data, from images of these bands, pixel sizes and raw "
    "numbers."
)

LIMITS = """\
Trained on few scenes; expect less on other land, seasons and sensors. The validation F1 chose epoch
and threshold, so it is not a test score. Maps are no ground truth: have a sample interpreted
(`noise2map sample`, `noise2map assess`) before areas are reported."""

MADE_PAIRS = """ Pairs of dates were
made of single images: two places or, in {paste:.0%} of the pairs, one place with objects of another
pasted in or removed. So change is learnt, and validated, as the difference of what images show."""


def write_card(
    spec: CheckpointSpec,
    store: ChipStore,
    validation: Mapping[Task, TaskValidation],
    val_f1: float,
    epoch: int,
    history: Sequence[dict[str, Any]],
    seed: int,
    words: CardConfig | None = None,
) -> str:
    """The card's Markdown; `validation` is what validation says of each task in the chosen epoch,
    `history` what the workers recorded of every validated one."""
    words, made_pairs = words or CardConfig(), store.attributes.get("made_pairs")
    return CARD.format(
        tasks=" and ".join(spec.tasks),
        warnings="".join(
            f"**{warning(name, validation[name].doubts)}**\n\n"
            for name in spec.tasks
            if validation[name].doubts
        ),
        uses="\n".join(USES[name] for name in spec.tasks),
        task_rows="\n".join(
            _task_rows(name, task, validation[name]) for name, task in spec.tasks.items()
        ),
        bands=", ".join(spec.bands),
        gsd=spec.gsd,
        gsd_low=spec.gsd_range[0],
        gsd_high=spec.gsd_range[1],
        low=spec.value_range[0],
        high=spec.value_range[1],
        chip_px=spec.chip_px,
        stride_px=spec.stride_px,
        preset=spec.preset,
        val_f1=val_f1,
        epoch=epoch,
        seed=seed,
        cost=_cost(history),
        code_version=spec.code_version,
        num_train=len(store.chips_of("train")),
        num_val=len(store.chips_of("val")),
        intended_use=words.intended_use or INTENDED_USE,
        scores=SCORES,
        no_scores=NO_SCORES,
        made_pairs=MADE_PAIRS.format(**made_pairs) if made_pairs else "",
        licences="\n".join(_licence_rows(store.attributes)),
        credit=f"\n\n{words.credit.strip()}" if words.credit else "",
        items=_item_lines(store.attributes["items"]),
        limits="\n\n".join(filter(None, (LIMITS, words.limits))),
    )


def _task_rows(name: str, task: TaskSpec, validation: TaskValidation) -> str:
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
    return "\n".join(f"| {name}: {what} | {value} |" for what, value in rows.items() if value)


def _sample_size(task: TaskSpec, validation: TaskValidation) -> str:
    if validation.num_pixels is None:
        return ""
    of = f" of {task.classes[1].name} among {validation.num_pixels:,}"
    return f", n = {validation.num_sought:,} pixels{of if len(task.classes) == 2 else ''}"


def _cost(history: Sequence[dict[str, Any]]) -> str:
    cost = cost_of(history)
    if cost is None:
        return "Not recorded."
    rows = "\n".join(f"| {what} | {value} |" for what, value in cost.rows())
    return f"| | |\n| --- | --- |\n{rows}\n\n{COST_NOTE}"


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


def _licence_rows(found: Mapping[str, Any]) -> Iterator[str]:
    """Whose imagery and labels are; a published data set names both in one."""
    imagery = Counter(item.get("attribution") or "not stated" for item in found["items"])
    for attribution, count in imagery.items():
        yield f"| imagery, {count:,} item{'s' if count > 1 else ''} | {attribution} |"
    of_dataset = found.get("dataset", {}).get("attribution")
    for attribution in found.get("labels_from") or [of_dataset or "not stated"]:
        yield f"| labels | {attribution} |"


def _item_lines(items: list[dict[str, str]]) -> str:
    lines = [_item_line(item) for item in items[:MAX_ITEMS]]
    if len(items) > MAX_ITEMS:
        lines.append(f"- and {len(items) - MAX_ITEMS:,} more, in the chip store's attributes")
    return "\n".join(lines)


def _item_line(item: dict[str, str]) -> str:
    attribution = f" ({item['attribution']})" if item.get("attribution") else ""
    return f"- {item['collection']}/{item['id']}, {item['datetime']}{attribution}"


DENOISER_CARD = """# Noise2Map backbone, pretrained by denoising

A diffusion UNet that learnt to take Gaussian noise out of images, without labels (Ho et al. 2020).
Hand this folder to `noise2map finetune-maps --model.backbone`; diffusers opens it as a UNet2DModel.

| | |
| --- | --- |
| bands, in order | {bands} |
| chips | {chip_px} px |
| network | preset {preset} |
| predicts | {objective} |
| noise schedule | {schedule}, T = {num_timesteps} |
| training | {num_train} images, {epochs} epochs |
| validation | mean squared error {val_loss:.4f} on {num_val} images (predicting nothing: about 1) |
| trained by | noise2map {code_version} |

## Cost

{cost}

## Limits

It makes no map. What it has seen of land, seasons and sensors is what its images show; these have
their own licences.
"""


def write_denoiser_card(
    spec: DenoiserSpec, num_train: int, num_val: int, history: list[dict[str, Any]]
) -> str:
    """The Markdown of a pretrained backbone's card."""
    return DENOISER_CARD.format(
        bands=", ".join(spec.bands),
        chip_px=spec.chip_px,
        preset=spec.preset,
        objective=spec.denoising.objective,
        schedule=spec.denoising.schedule.kind,
        num_timesteps=spec.denoising.schedule.num_timesteps,
        num_train=num_train,
        num_val=num_val,
        epochs=history[-1]["epoch"],
        val_loss=history[-1]["val_loss"],
        cost=_cost(history),
        code_version=spec.code_version,
    )
