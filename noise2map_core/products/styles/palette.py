"""Colours of the maps."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from noise2map_core.mapping.mosaic import NO_DECISION, Reason
from noise2map_core.report.images import Rgba

CLEAR: Rgba = (0, 0, 0, 0)

AMOUNT_MAP = "magma"
"""Colour map of probabilities and the like."""

NUM_SHADES = 21
"""Colours of amounts from 0 to 1, in steps of 0.05; few, so that pictures stay small."""

REASON_COLORS = {
    Reason.MASKED_BEFORE: "#2b83ba",
    Reason.MASKED_AFTER: "#8ecae6",
    Reason.SHADOW_BEFORE: "#4a4e69",
    Reason.SHADOW_AFTER: "#8d91ad",
    Reason.SUSPECTED_BEFORE: "#00796b",
    Reason.SUSPECTED_AFTER: "#66c2a4",
    Reason.NODATA_BEFORE: "#7b3294",
    Reason.NODATA_AFTER: "#c2a5cf",
    Reason.PAIR_REJECTED: "#e66101",
    Reason.READ_FAILED: "#b2182b",
}
"""Colours of the reasons for no decision, in the order of legends; pixels that are decided or
outside have none. Dark before, light after."""

_REASON_NAMES = {
    Reason.DECIDED: "decided",
    Reason.OUTSIDE: "outside the area",
    Reason.NODATA_BEFORE: "no image before",
    Reason.NODATA_AFTER: "no image after",
    Reason.MASKED_BEFORE: "cloud before",
    Reason.MASKED_AFTER: "cloud after",
    Reason.PAIR_REJECTED: "dates not comparable",
    Reason.READ_FAILED: "not readable",
    Reason.SUSPECTED_BEFORE: "cloud suspected before",
    Reason.SUSPECTED_AFTER: "cloud suspected after",
    Reason.SHADOW_BEFORE: "cloud shadow before",
    Reason.SHADOW_AFTER: "cloud shadow after",
}
"""Cloud is what a mask hides, whatever it is."""


def opaque(color: str) -> Rgba:
    """A CSS colour ("#rrggbb")."""
    red, green, blue = (round(255 * part) for part in to_rgb(color))
    return red, green, blue, 255


def unseen(color: str) -> Rgba:
    """A CSS colour, fully transparent: programs without transparency still have the colour."""
    return *opaque(color)[:3], 0


def css_color(color: Rgba) -> str:
    """A colour as CSS has it ("#rrggbb"), without alpha."""
    return "#" + bytes(color[:3]).hex()


def amount_shades() -> list[Rgba]:
    """The `NUM_SHADES` colours of amounts from 0 to 1."""
    colors = (
        colormaps[AMOUNT_MAP](step / (NUM_SHADES - 1), bytes=True) for step in range(NUM_SHADES)
    )
    return [(int(red), int(green), int(blue), 255) for red, green, blue, _ in colors]


def class_colors(colors: dict[int, str]) -> dict[int, Rgba]:
    """Colour table of a class map: the background, which is the first class, and "no decision" are
    transparent."""
    background, *others = colors
    return {
        background: unseen(colors[background]),
        **{value: opaque(colors[value]) for value in others},
        NO_DECISION: CLEAR,
    }


def reason_colors() -> dict[int, Rgba]:
    """Colour table of the reasons: transparent where there is nothing to explain."""
    return {
        int(reason): opaque(REASON_COLORS[reason]) if reason in REASON_COLORS else CLEAR
        for reason in Reason
    }


def reason_names(one_date: bool = False) -> dict[int, str]:
    """What the reasons' codes mean; of a map of one date, which counts as the later."""
    return {
        int(reason): name.removesuffix(" after") if one_date else name
        for reason, name in _REASON_NAMES.items()
    }


def reason_legend(counts: NDArray[np.int64], one_date: bool = False) -> dict[Reason, str]:
    """Of the reasons for no decision that occur in counts [256], what they mean."""
    names = reason_names(one_date)
    return {reason: names[reason] for reason in REASON_COLORS if counts[reason]}
