"""Further forward passes of a model over chips, by which it may differ from itself."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.evaluation.counting import probability_of
from noise2map_core.inference.networks.turns import turned, turned_back
from noise2map_core.inference.region import Pass
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.settings.network import Task


def probability_by(
    model: Noise2Map, batch: ChipBatch, task: Task, one: Pass
) -> NDArray[np.float32]:
    """Class probabilities [sample, class, y, x], where the chips lie."""
    image, valid = batch.inputs(task, model.device)
    with torch.inference_mode():
        logits = model.logits(
            turned(image.float(), one.turn),
            one.timestep,
            turned(valid, one.turn),
            task,
            light=batch.light_of(task, model.device),
            alteration=batch.alteration_of(task, model.device),
            reverse_dates=one.reversed_dates,
        )
    own = turned_back(logits, one.turn).cpu().numpy()
    return probability_of(own, model.spec.tasks[task].temperature)


def spread_over(each: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Highest less lowest probability over passes [sample, y, x], of the class in which they differ
    most: the layer `disagreement` of a map."""
    stacked = np.stack(list(each))
    return np.asarray((stacked.max(axis=0) - stacked.min(axis=0)).max(axis=1))
