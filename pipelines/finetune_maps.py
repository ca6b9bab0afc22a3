"""Fine-tune a change model on a chip store, and choose epoch and threshold on validation."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from noise2map_core.application import application
from noise2map_core.diffusion.config import DiffusionConfig
from noise2map_core.distributed.config import ResourcesConfig
from noise2map_core.errors import ConfigError, OutputMismatchError
from noise2map_core.learning.config import TrainingConfig
from noise2map_core.models.config import ModelConfig

if TYPE_CHECKING:
    from noise2map_core.distributed.training import TrainedWeights
    from noise2map_core.imagery.chip_store import ChipStore
    from noise2map_core.models.spec import CheckpointSpec

RUN_FILE = "run.json"
PLACEMENT = {"num_workers", "worker_cpus", "worker_gpus"}
"""Training settings that say where it runs, not what is learnt: a run may continue with others."""


class FinetuneMapsConfig(BaseModel):
    """Fine-tune a change model on a chip store."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chips: Path
    """Chip store that ingest-region wrote, with labels and with train and val parts."""

    output: Path
    """Directory of the run: `checkpoint/` for inference, `state/` to continue from."""

    seed: NonNegativeInt = 0
    """Seed of weights, order, timesteps and augmentation."""

    gsd_range: tuple[float, float] | None = None
    """Ground sample distances that the model accepts, metres. None: half to twice the chips'."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    """The network."""

    diffusion: DiffusionConfig = Field(default_factory=DiffusionConfig)
    """Corruption, schedule, timesteps."""

    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """How it is trained."""

    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    """The cluster."""


@dataclass(frozen=True)
class FinetuneMapsResult:
    """What a run made."""

    checkpoint: Path
    """Checkpoint directory."""
    spec: CheckpointSpec
    val_f1: float
    """Highest validation F1 of the changed class at any threshold; it chose the epoch."""
    epoch: int
    """Epochs behind the weights."""
    trained: bool
    """False: the output was finished already."""

    def summary(self) -> list[str]:
        """Lines for people."""
        done = "" if self.trained else "nothing to do: trained already with the same settings"
        return [line for line in (done, *self._figures()) if line]

    def _figures(self) -> list[str]:
        threshold = self.spec.threshold["changed"]
        return [
            f"checkpoint  {self.checkpoint}",
            f"validation  best F1 of change {self.val_f1:.3f} after {self.epoch} epochs; decision "
            f"threshold {threshold:.3f}",
        ]


def run(config: FinetuneMapsConfig) -> FinetuneMapsResult:
    """Check the chips, train from where an earlier run ended, save the chosen weights."""
    from noise2map_core.distributed.session import ray_session
    from noise2map_core.distributed.training import train_model
    from noise2map_core.imagery.chip_store import open_store
    from noise2map_core.inference.training_data import plan_spec, require_trainable

    store = open_store(config.chips)
    _require_feasible(config.training, config.resources)
    spec = plan_spec(store, config.model, config.diffusion, config.gsd_range)
    digest = _run_digest(config, store)
    finished = _finished(config.output, digest)
    if finished is not None:
        return finished
    require_trainable(store)
    _claim(config, digest)
    with ray_session(config.resources):
        trained = train_model(_job(config, spec))
    return _save(config, store, spec, trained, digest)


def _require_feasible(training: TrainingConfig, resources: ResourcesConfig) -> None:
    """Refuse what could only fail, or wait for ever, later."""
    if training.batch_size % training.num_workers:
        raise ConfigError(
            f"training.batch_size {training.batch_size} is not a multiple of training.num_workers "
            f"{training.num_workers}. Change one of them."
        )
    if resources.address is not None or "RAY_ADDRESS" in os.environ:
        return  # a cluster elsewhere may grow
    needed, cpus = training.num_workers * training.worker_cpus, resources.num_cpus or os.cpu_count()
    if cpus is not None and needed > cpus:
        raise ConfigError(
            f"{training.num_workers} training workers of {training.worker_cpus:g} CPUs do not fit "
            f"into {cpus} CPUs. Lower training.num_workers or training.worker_cpus."
        )


def _job(config: FinetuneMapsConfig, spec: CheckpointSpec) -> Any:
    from noise2map_core.distributed.training import TrainingJob

    return TrainingJob(
        chips=config.chips.resolve(),  # workers run in folders of their own
        state=(config.output / "state").resolve(),
        spec=spec,
        timesteps=config.diffusion.training_timesteps,
        training=config.training,
        seed=config.seed,
    )


def _run_digest(config: FinetuneMapsConfig, store: ChipStore) -> str:
    """What the weights depend on: the settings and every byte of the chips."""
    from noise2map_core.digest import digest_of

    settings = config.model_dump(mode="json", exclude={"chips", "output", "resources"})
    settings["training"] = {k: v for k, v in settings["training"].items() if k not in PLACEMENT}
    return digest_of({"settings": settings, "chips": store.objects})


def _finished(output: Path, digest: str) -> FinetuneMapsResult | None:
    """The result of an earlier run, if it was finished; raises if it was another's."""
    file = output / RUN_FILE
    if not file.exists():
        return None
    earlier = json.loads(file.read_text(encoding="utf-8"))
    if earlier["digest"] != digest:
        raise OutputMismatchError(
            f"{output} holds a training with other settings or other chips; nothing was touched. "
            "Set another output, or remove that directory."
        )
    checkpoint = output / "checkpoint"
    if "val_f1" not in earlier or not checkpoint.exists():
        return None
    from noise2map_core.models.spec import read_spec

    return FinetuneMapsResult(
        checkpoint, read_spec(checkpoint), earlier["val_f1"], earlier["epoch"], trained=False
    )


def _claim(config: FinetuneMapsConfig, digest: str) -> None:
    """Note which settings this output belongs to, before its first state is written."""
    from noise2map_core.atomic import write_atomically

    config.output.mkdir(parents=True, exist_ok=True)
    note = {"digest": digest, "config": config.model_dump(mode="json")}
    write_atomically(config.output / RUN_FILE, json.dumps(note, indent=2) + "\n")


def _save(
    config: FinetuneMapsConfig,
    store: ChipStore,
    spec: CheckpointSpec,
    trained: TrainedWeights,
    digest: str,
) -> FinetuneMapsResult:
    """Write the checkpoint, then the note that the run is finished."""
    from noise2map_core.atomic import write_atomically
    from noise2map_core.inference.model_card import write_card
    from noise2map_core.models.checkpoint import save_checkpoint
    from noise2map_core.models.noise2map import Noise2Map

    spec = spec.model_copy(update={"threshold": {"changed": trained.threshold}})
    model = Noise2Map(spec)
    model.load_state_dict(trained.weights)
    card = write_card(spec, store, trained.val_f1, trained.epoch)
    spec = save_checkpoint(model, spec, config.output / "checkpoint", card)
    note = {
        "digest": digest,
        "config": config.model_dump(mode="json"),
        "epoch": trained.epoch,
        "val_f1": trained.val_f1,
        "history": trained.history,
    }
    write_atomically(config.output / RUN_FILE, json.dumps(note, indent=2) + "\n")
    return FinetuneMapsResult(
        config.output / "checkpoint", spec, trained.val_f1, trained.epoch, trained=True
    )


if __name__ == "__main__":
    application(FinetuneMapsConfig, run)
