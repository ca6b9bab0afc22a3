"""What a training took, from what its workers recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

COST_NOTE = (
    "Steps that led to the last state, reading included; validation, and steps that an interrupted "
    "run lost, are not in it."
)


@dataclass(frozen=True)
class TrainingCost:
    """What `COST_NOTE` says."""

    seconds: float
    """Of the steps, reading included; workers take them together."""
    cpu_hours: float
    """Hours of the CPUs that the workers held meanwhile."""
    gpu_hours: float
    workers: tuple[str, ...]
    """Number and kind, in the order in which they trained; more than one where a run went on with
    others."""

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        gpus = [("GPU hours", f"{self.gpu_hours:.3g}")] if self.gpu_hours else []
        return [
            ("seconds of training", f"{self.seconds:,.1f}"),
            ("CPU hours", f"{self.cpu_hours:.3g}"),
            *gpus,
            ("workers", ", then ".join(self.workers)),
        ]


def cost_of(history: Sequence[dict[str, Any]]) -> TrainingCost | None:
    """What the validated epochs of a run took; None if an earlier version did not record it."""
    if not all("resources" in entry for entry in history):
        return None
    seconds = [float(entry["train_s"]) for entry in history]
    spent = [now - before for before, now in zip([0.0, *seconds], seconds, strict=False)]
    held = [entry["resources"] for entry in history]
    return TrainingCost(
        seconds[-1],
        sum(s * one["workers"] * one["cpus"] for s, one in zip(spent, held, strict=True)) / 3600,
        sum(s * one["workers"] * one["gpus"] for s, one in zip(spent, held, strict=True)) / 3600,
        tuple(dict.fromkeys(_kind(one) for one in held)),
    )


def _kind(one: dict[str, Any]) -> str:
    gpus = f" and {one['gpus']:g} GPU" if one["gpus"] else ""
    return f"{one['workers']} × {one['cpus']:g} CPU{gpus} ({one['hardware']})"
