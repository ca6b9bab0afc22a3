"""One tile of two dates: a network maps each date, and the maps are compared."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise2map_core.detectors.spec import MapTask
from noise2map_core.geo.window import Window
from noise2map_core.inference.networks.predictor import MAP, Predictor, disagreement_of
from noise2map_core.inference.networks.verdict import compared, verdict_of_change
from noise2map_core.inference.tile import Prediction


@dataclass(frozen=True)
class ComparingPredictor:
    """A predictor of change by one that maps a single date."""

    network: Predictor
    task: MapTask
    """Change between the maps."""

    def predict(
        self,
        image: NDArray[np.generic],
        valid: NDArray[np.bool_],
        core: Window,
        wanted: NDArray[np.bool_],
        part: NDArray[np.uint8] | None = None,
    ) -> Prediction:
        """What changed and how; see `TilePredictor`.

        What passes of the evidence differ in is the probability of change.
        """
        (before, chips), (after, more) = (
            self.network.passes(image[[date]], valid[[date]], core, wanted, date) for date in (0, 1)
        )
        changed, direction = compared(before[MAP], after[MAP])
        evidence = {
            name: _both(compared(said, after[name])[0])
            for name, said in before.items()
            if name != MAP
        }
        return Prediction(
            verdict_of_change(changed, direction, self.task), chips + more,
            disagreement_of(evidence, self.network.evidence), direction=direction.cpu().numpy(),
        )  # fmt: skip


def _both(changed: Tensor) -> Tensor:
    """[2, height, width] of no change and of change."""
    return torch.stack([1 - changed, changed])
