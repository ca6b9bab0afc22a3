"""Settings of evaluate-maps."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath, Location
from noise2map_core.settings.datasets import Protocol
from noise2map_core.settings.labels import SplitName
from noise2map_core.settings.learning import Decision, EvaluationConfig
from noise2map_core.settings.network import Checkpoint, Task
from noise2map_core.workflows.launch import Workflow


class EvaluateMapsConfig(BaseModel):
    """Score a checkpoint on one part of a chip store."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    checkpoint: Checkpoint
    """Directory that finetune-maps wrote, or the name of a checkpoint that ships: buildings,
    land."""

    more_checkpoints: tuple[Checkpoint, ...] = ()
    """The same training from other seeds: scored too, with mean and standard deviation over all."""

    semantic: Checkpoint | None = None
    """A checkpoint that segments, for a row of change by comparing its maps of the two dates; of
    task change. None: the checkpoint itself, where it segments."""

    name: str | None = None
    """Name of the model in tables. None: its preset."""

    chips: Location
    """Chip store with labels."""

    split: SplitName | None = None
    """Part of the store that is scored. None: the one that its protocol scores, else test. The
    baseline's statistics and threshold come from train; of a store without one, from the scored
    pixels without their labels."""

    task: Task | None = None
    """What is scored: change or segment. None: the checkpoint's only task."""

    protocol: Protocol | Literal["transfer"] | None = None
    """The protocol that the scores must be of; a store that was made under another one is refused.
    None: whichever the store was made under. transfer: `checkpoint` is the output of a training
    with `places.folds`; every place is scored by the model that never saw it, pooled and by place,
    beside methods without labels."""

    decision: Decision | None = None
    """How models decide. threshold: at the probability that validation chose; argmax: for the most
    probable class, as the authors' implementation does. None: argmax for a store of protocol paper,
    else threshold. Detectors and the baseline decide at thresholds of their own."""

    output: LocalPath | None = None
    """JSON file for the scores. None: only the table is printed."""

    add_to_card: bool = False
    """Write the scores into the checkpoint's model card, README.md, too, by the name of the chip
    store and its part."""

    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    """How scores are computed."""


WORKFLOW = Workflow(EvaluateMapsConfig)
