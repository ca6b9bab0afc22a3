"""Fine-tune a model on a chip store, and choose epoch and threshold on validation."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("finetune-maps")  # settings first: what is imported below takes seconds

from noise2map_core.chips.store import open_store
from noise2map_core.distributed.cluster.needs import training_needs
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.training.finetuning import plan_folds
from noise2map_core.training.results import FinetuneMapsResult, FoldsResult
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig


def run(config: FinetuneMapsConfig) -> FinetuneMapsResult | FoldsResult:
    """One training, or that of every fold of places."""
    if config.places.folds is None:
        return finetune(config)
    folds = plan_folds(config, open_store(config.chips))
    with ray_session(config.resources, training_needs(config.training, config.resources)):
        return FoldsResult(tuple(map(finetune, folds)))
