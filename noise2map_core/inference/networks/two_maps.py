"""One tile of two dates: a network maps each date, and the maps are compared."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.detectors.transitions import compare
from noise2map_core.geo.window import Window
from noise2map_core.inference.networks.predictor import MAP, Predictor, spread_over
from noise2map_core.inference.tile import Prediction


@dataclass(frozen=True)
class ComparingPredictor:
    """A predictor of change by one that maps a single date."""

    network: Predictor

    def predict(
        self,
        image: NDArray[np.generic],
        valid: NDArray[np.bool_],
        core: Window,
        wanted: NDArray[np.bool_],
        part: NDArray[np.uint8] | None = None,
    ) -> Prediction:
        """Probability of no change and of change, and the kinds of change; see `TilePredictor`.

        What passes of the evidence differ in is the probability of change.
        """
        (before, chips), (after, more) = (
            self.network.passes(image[[date]], valid[[date]], core, wanted, date) for date in (0, 1)
        )
        changed, direction = compare(before[MAP], after[MAP])
        evidence = {
            name: compare(said, after[name])[0] for name, said in before.items() if name != MAP
        }
        spread = spread_over(evidence, self.network.evidence)
        return Prediction(changed, chips + more, spread, direction=direction)
