"""Scores of checkpoints on a part of a store, or on places that they never saw, beside what finds
change without learning it."""

from collections.abc import Mapping
from typing import Any

from noise2map_core.chips.places import require_protocol
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.evaluation.card_scores import add_to_card, score_rows
from noise2map_core.evaluation.references import (
    evaluate_compared,
    evaluate_detector,
    kinds_for,
)
from noise2map_core.evaluation.results import EvaluateMapsResult, write_scores
from noise2map_core.evaluation.scores import (
    MapScores,
    evaluate_baseline,
    evaluate_model,
    require_comparable,
    require_evaluable,
)
from noise2map_core.evaluation.transfer import (
    read_folds,
    require_places,
    score_models,
    score_statistics,
)
from noise2map_core.evaluation.transfer_table import TransferResult, write_transfer
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec, read_spec
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.learning import Decision
from noise2map_core.settings.network import Task
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig


def evaluate_split(config: EvaluateMapsConfig) -> EvaluateMapsResult:
    """Predict the chips of a split, count each labelled pixel once, score model and baseline."""
    store = open_store(config.chips)
    origin = store.attributes.get("dataset", {})
    require_protocol(store, config.protocol)
    decision = config.decision or _decision_of(origin)
    split = config.split or origin.get("evaluated_on", "test")
    store.require((split,), (config.task,) if config.task else ())
    models = [load_checkpoint(path) for path in (config.checkpoint, *config.more_checkpoints)]
    task = models[0].spec.task_name(config.task)
    for model in models:
        require_evaluable(model.spec, store, split, task, config.evaluation.any_resolution)
    semantic = semantic_of(config, models[0], store, task)
    result = EvaluateMapsResult(
        config.name or models[0].spec.preset,
        split,
        task,
        origin.get("protocol"),
        tuple(
            evaluate_model(model, store, split, task, config.evaluation, decision=decision)
            for model in models
        ),
        evaluate_baseline(store, split, config.evaluation) if task == "change" else None,
        config.output,
        _outside(models[0].spec, store),
        _references(config, semantic, store, split) if task == "change" else {},
        decision,
    )
    if config.output is not None:
        write_scores(config.output, result, models, store, config)
    if config.add_to_card:
        data = result.data(config.chips.stem)
        add_to_card(config.checkpoint, list(score_rows(data, result.model, result.baseline)))
    return result


def _decision_of(origin: Mapping[str, Any]) -> Decision:
    """How the protocol of a store's data set decides; thresholds are ours, not the paper's."""
    return "argmax" if origin.get("protocol") == "paper" else "threshold"


def evaluate_transfer(config: EvaluateMapsConfig) -> TransferResult:
    """Every place of a store by the models that never saw it, beside methods without labels."""
    if config.split is not None or config.add_to_card or config.decision is not None:
        raise ConfigError(
            "protocol transfer scores whole places by several models at their thresholds: leave "
            "split, decision and add_to_card out."
        )
    store = open_store(config.chips)
    runs = (config.checkpoint, *config.more_checkpoints)
    folds = [read_folds(run, store) for run in runs]
    assert folds[0][0].checkpoint is not None
    spec = read_spec(folds[0][0].checkpoint)
    task = spec.task_name(config.task)
    require_places(store, task)
    size, name = config.evaluation.batch, config.name or spec.preset
    names = [name if len(runs) == 1 else f"{name} {number + 1}" for number in range(len(runs))]
    rows = [score_models(n, store, f, task, size) for n, f in zip(names, folds, strict=True)]
    if task == "change":
        semantic = semantic_of(config, None, store, task)
        rows += score_statistics(store, folds[0], size, semantic)
    result = TransferResult(task, str(config.chips), tuple(folds[0]), tuple(rows), config.output)
    if config.output is not None:
        write_transfer(result, config.output)
    return result


def semantic_of(
    config: EvaluateMapsConfig, model: Noise2Map | None, store: ChipStore, task: Task
) -> Noise2Map | None:
    """What is to segment both dates, if anything: what is named, or `model` itself."""
    if config.semantic is None:
        return model if model is not None and "segment" in model.spec.tasks else None
    if task != "change":
        raise ConfigError("semantic finds change between two dates. Leave it out, or score change.")
    found = load_checkpoint(config.semantic)
    require_comparable(found.spec, store, config.evaluation.any_resolution)
    return found


def _references(
    config: EvaluateMapsConfig, semantic: Noise2Map | None, store: ChipStore, split: str
) -> dict[str, MapScores]:
    found: dict[str, MapScores | None] = {
        kind: evaluate_detector(kind, store, split, config.evaluation)
        for kind in kinds_for(len(store.bands))
    }
    if semantic is not None:
        found["semantic"] = evaluate_compared(semantic, store, split, config.evaluation)
    return {name: scores for name, scores in found.items() if scores is not None}


def _outside(spec: CheckpointSpec, store: ChipStore) -> str:
    gsd = store.gsd
    if spec.accepts_gsd(gsd):
        return ""
    low, high = spec.gsd_range
    return f"{gsd:g} m a pixel, not {low:g} to {high:g} m"
