"""The command that scores how far models carry."""

from noise2map_core.chips.store import open_store
from noise2map_core.evaluation.split import semantic_of
from noise2map_core.evaluation.transfer import (
    read_folds,
    require_places,
    score_models,
    score_statistics,
)
from noise2map_core.evaluation.transfer_table import TransferResult, write_transfer
from noise2map_core.models.spec import read_spec
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig


def evaluate_transfer(config: EvaluateMapsConfig) -> TransferResult:
    """Every place of a store by the models that never saw it, beside methods without labels."""
    if config.split is not None or config.add_to_card:
        raise ConfigError(
            "protocol transfer scores whole places by several models: leave split and add_to_card "
            "out."
        )
    store = open_store(config.chips)
    runs = (config.checkpoint, *config.more_checkpoints)
    folds = [read_folds(run, store) for run in runs]
    assert folds[0][0].checkpoint is not None
    spec = read_spec(folds[0][0].checkpoint)
    task = spec.task_name(config.task)
    require_places(store, task)
    size, name = config.evaluation.batch_size, config.name or spec.preset
    names = [name if len(runs) == 1 else f"{name} {number + 1}" for number in range(len(runs))]
    rows = [score_models(n, store, f, task, size) for n, f in zip(names, folds, strict=True)]
    if task == "change":
        semantic = semantic_of(config, None, store, task)
        rows += score_statistics(store, folds[0], size, semantic)
    result = TransferResult(task, str(config.chips), tuple(folds[0]), tuple(rows), config.output)
    if config.output is not None:
        write_transfer(result, config.output)
    return result
