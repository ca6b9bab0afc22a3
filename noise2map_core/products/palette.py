"""Colours of the maps."""

from matplotlib import colormaps
from matplotlib.colors import to_rgb

from noise2map_core.mapping.mosaic import NO_DECISION, Reason
from noise2map_core.report.images import Rgba

CLEAR: Rgba = (0, 0, 0, 0)

AMOUNT_MAP = "magma"
"""Colour map of probabilities and the like."""

NUM_SHADES = 21
"""Colours of amounts from 0 to 1, in steps of 0.05; few, so that pictures stay small."""

REASON_COLORS = {
    Reason.NODATA_BEFORE: "#7b3294",
    Reason.NODATA_AFTER: "#c2a5cf",
    Reason.MASKED_BEFORE: "#008837",
    Reason.MASKED_AFTER: "#7fbf7b",
    Reason.PAIR_REJECTED: "#e66101",
    Reason.READ_FAILED: "#b2182b",
}
"""Colours of the reasons for no decision; pixels that are decided or outside have none."""


def opaque(color: str) -> Rgba:
    """A CSS colour ("#rrggbb")."""
    red, green, blue = (round(255 * part) for part in to_rgb(color))
    return red, green, blue, 255


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
    """Colour table of a class map: "no decision" is transparent."""
    return {**{value: opaque(color) for value, color in colors.items()}, NO_DECISION: CLEAR}


def reason_colors() -> dict[int, Rgba]:
    """Colour table of the reasons: transparent where there is nothing to explain."""
    return {
        int(reason): opaque(REASON_COLORS[reason]) if reason in REASON_COLORS else CLEAR
        for reason in Reason
    }


def reason_names() -> dict[int, str]:
    """What the reasons' codes mean."""
    return {int(reason): reason.name.lower().replace("_", " ") for reason in Reason}
