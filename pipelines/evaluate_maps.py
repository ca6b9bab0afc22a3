"""Score checkpoints on a part of a chip store, or on places that they never saw."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("evaluate-maps")  # settings first: what is imported below takes seconds

from noise2map_core.evaluation.evaluate import evaluate_split, evaluate_transfer
from noise2map_core.evaluation.results import EvaluateMapsResult
from noise2map_core.evaluation.transfer_table import TransferResult
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig


def run(config: EvaluateMapsConfig) -> EvaluateMapsResult | TransferResult:
    """Count each labelled pixel once, and score models and baselines."""
    if config.protocol == "transfer":
        return evaluate_transfer(config)
    return evaluate_split(config)
