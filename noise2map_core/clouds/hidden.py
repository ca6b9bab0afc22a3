"""Why a pixel that was observed is not used."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Kinds = NDArray[np.uint8]
"""Of each pixel, a value of `Hidden`."""


class Hidden(IntEnum):
    """What stands before the ground; of all but the first, the pixel is not used."""

    NOTHING = 0
    CLOUD = 1
    """A mask or a detector says cloud, its fringe, or a defect."""
    SHADOW = 2
    """One of them says shadow of a cloud, or ground too dark to be told from it."""
    SUSPECTED = 3
    """Neither knows, but it looks like a cloud that the other date does not have."""
