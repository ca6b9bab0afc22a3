"""What a raster's values look like and are called, before any program's own format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from noise2map_core.products.styles.palette import NUM_SHADES, amount_shades
from noise2map_core.report.images import Rgba

SOLID_FROM = 0.5
"""Share of the highest amount from which a ramp hides what lies below; less lets it through."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value with its colour and name; of a ramp, a stop."""

    value: float
    """In the band's unit: what is stored, times its scale."""
    label: str
    color: Rgba


@dataclass(frozen=True, slots=True)
class Legend:
    """How a raster is drawn. Values that no entry names are not drawn."""

    entries: tuple[Entry, ...]
    """By value, ascending; no value twice."""
    is_ramp: bool = False
    """Colours go over from entry to entry; else each entry is a class."""


def class_legend(names: Mapping[int, str], colors: Mapping[int, Rgba]) -> Legend:
    """Of classes: those that have a name, in its colour."""
    return Legend(tuple(Entry(value, names[value], colors[value]) for value in sorted(names)))


def amount_legend(highest: float = 1.0) -> Legend:
    """Of amounts up to `highest`, which stands for 100 %: the less, the more shines through."""
    shades = amount_shades()
    stops = []
    for step in range(0, NUM_SHADES, 2):
        share = step / (NUM_SHADES - 1)
        alpha = round(255 * min(1.0, share / SOLID_FROM))
        stops.append(Entry(round(highest * share, 9), f"{share:.0%}", (*shades[step][:3], alpha)))
    return Legend(tuple(stops), is_ramp=True)


def number_legend(low: int, high: int, name: Callable[[int], str] = str, stops: int = 5) -> Legend:
    """Of whole numbers from `low` to `high`, as `name` writes them; all of it opaque."""
    shades = amount_shades()
    shares = [number / (stops - 1) for number in range(stops)]
    found = {low + round(share * (high - low)): share for share in shares}
    return Legend(
        tuple(
            # Not the darkest: next to black, no two are told apart.
            Entry(value, name(value), shades[round((0.2 + 0.8 * share) * (NUM_SHADES - 1))])
            for value, share in found.items()
        ),
        is_ramp=True,
    )
