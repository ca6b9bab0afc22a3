"""Which of two maps is better, told from one sample: every unit judges both.

The sample is a stratified one of either map; strata weigh as much as they cover. What is estimated
is a difference of means of the same units (Stehman 2014, Estimating area and map accuracy for
stratified random sampling when the strata are different from the map classes, International Journal
of Remote Sensing 35, 4923–4939), far narrower than the two accuracies by themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray

from noise2map_core.assessment.design import read_class_names
from noise2map_core.assessment.intervals import difference_limits, sum_limits
from noise2map_core.assessment.result import number, require_two_answers
from noise2map_core.assessment.sample_files import SampleDesign
from noise2map_core.assessment.sampling import open_map
from noise2map_core.mapping.mosaic import NO_DECISION
from noise2map_core.report.notebook import Shown
from noise2map_core.runtime.errors import ConfigError

METHOD = (
    "stratified difference of paired units, Stehman 2014, doi:10.1080/01431161.2014.930207; "
    "interval after Clopper & Pearson 1934 and Zou & Donner 2008"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """How often two maps are right about something, as shares of the area."""

    what: str
    """All classes, or one of them against the others."""
    first: float
    second: float
    low: float
    """Lower end of the 95 % interval of `second` - `first`."""
    high: float

    @property
    def verdict(self) -> str:
        """Which map is better, if the sample can tell."""
        if self.low > 0:
            return "the second is better"
        return "the first is better" if self.high < 0 else "the sample cannot tell"


@dataclass(frozen=True)
class MapComparison(Shown):
    """Two maps on the same sample units."""

    maps: tuple[Path, Path]
    units: int
    unanswered: int
    """Sample units of which nobody said what is there; they do not count."""
    undecided: tuple[int, int]
    """Units where a map has no decision; there it is not right."""
    differences: tuple[Difference, ...]
    """Overall first, then, of more than two classes, each."""
    output: Path | None = None

    def files(self) -> Mapping[str, Path]:
        """What was written."""
        return {"result": self.output} if self.output else {}

    def summary(self) -> list[str]:
        """Lines for people."""
        return [f"1  {self.maps[0]}", f"2  {self.maps[1]}", *self._notes(), *self._table()]

    def _notes(self) -> Iterator[str]:
        yield f"{self.units:,} sample units, the same for both; {self.unanswered} without an answer"
        for number_, (path, count) in enumerate(zip(self.maps, self.undecided, strict=True), 1):
            if count:
                yield f"{number_} has no decision at {count} of them ({path.name}): not right there"

    def _table(self) -> Iterator[str]:
        yield f"{'right about':20} {'1':>6} {'2':>6}  {'2 less 1, 95 % interval':>26}"
        for one in self.differences:
            change = f"{one.second - one.first:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
            shares = f"{one.first:6.3f} {one.second:6.3f}"
            yield f"{one.what:20.20} {shares}  {change:>26}  {one.verdict}"

    def document(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "maps": [str(path) for path in self.maps],
            "method": METHOD,
            "sample_units": self.units,
            "unanswered": self.unanswered,
            "undecided": list(self.undecided),
            "right_about": [
                {
                    "what": one.what,
                    "share": [number(one.first), number(one.second)],
                    "difference": number(one.second - one.first),
                    "interval_95": [number(one.low), number(one.high)],
                    "verdict": one.verdict,
                }
                for one in self.differences
            ],
        }


def compare_maps(
    maps: tuple[Path, Path],
    design: SampleDesign,
    reference: NDArray[np.int64],
    output: Path | None = None,
) -> MapComparison:
    """Both maps against the reference class of each unit, int64 [unit], below 0 where unknown.

    Raises ConfigError for a stratum with fewer than two answers, and for a map of other classes.
    """
    said = [_classes_at(path, design) for path in maps]
    known = reference >= 0
    values = [entry.value for entry in design.classes]
    strata = np.searchsorted(values, [stratum for _, _, stratum in design.units])[known]
    require_two_answers(design, np.bincount(strata, minlength=len(values)))
    area = np.array([entry.area_m2 for entry in design.classes])
    pair = (said[0][known], said[1][known])
    differences = [
        _difference(what, right, strata, area)
        for what, right in _judged(pair, reference[known], design)
    ]
    undecided = tuple(int((one == NO_DECISION).sum()) for one in pair)
    return MapComparison(
        maps, int(known.sum()), int((~known).sum()), (undecided[0], undecided[1]),
        tuple(differences), output,
    )  # fmt: skip


Judged = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""Of each map, where it is right, [unit]."""


def _judged(
    pair: tuple[NDArray[np.int64], NDArray[np.int64]],
    reference: NDArray[np.int64],
    design: SampleDesign,
) -> Iterator[tuple[str, Judged]]:
    yield "all classes", (pair[0] == reference, pair[1] == reference)
    if len(design.classes) > 2:
        for entry in design.classes:
            first, second = (
                (one != NO_DECISION) & ((one == entry.value) == (reference == entry.value))
                for one in pair
            )
            yield entry.name, (first, second)


def _difference(
    what: str, right: Judged, strata: NDArray[np.intp], area: NDArray[np.float64]
) -> Difference:
    def of_strata(found: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(strata, weights=found, minlength=len(area)).astype(np.int64)

    first, second = right
    units, weight = np.bincount(strata, minlength=len(area)), area / area.sum()
    gained, lost = of_strata(second & ~first), of_strata(first & ~second)
    share = (gained - lost) / np.maximum(units, 1)
    limits = sum_limits(share, difference_limits(gained, lost, units), weight)
    low, high = (float(np.clip(end, -1, 1)) for end in limits)
    one, other = (float(weight @ (of_strata(it) / np.maximum(units, 1))) for it in right)
    return Difference(what, one, other, low, high)


def _classes_at(path: Path, design: SampleDesign) -> NDArray[np.int64]:
    """A map's class, in the design's numbers, at each sample unit; 255 without a decision."""
    names = read_class_names(path)
    rows, cols, _ = np.array(design.units, np.int64).T
    x, y = Affine(*design.transform) @ (cols + 0.5, rows + 0.5)
    with open_map(path) as raster:
        to_map = pyproj.Transformer.from_crs(design.crs, raster.crs.to_wkt(), always_xy=True)
        places = zip(*to_map.transform(x, y), strict=True)
        found = np.array([int(value[0]) for value in raster.sample(places, masked=False)])
        outside = _outside(raster.bounds, *to_map.transform(x, y))
        nothing = outside | (found == (NO_DECISION if raster.nodata is None else raster.nodata))
    return _as_design(np.where(nothing, NO_DECISION, found), names, design, path)


def _outside(bounds: Sequence[float], x: Any, y: Any) -> NDArray[np.bool_]:
    west, south, east, north = bounds
    return np.asarray((x < west) | (x >= east) | (y <= south) | (y > north))


def _as_design(
    found: NDArray[np.int64], names: Mapping[int, str], design: SampleDesign, path: Path
) -> NDArray[np.int64]:
    """Classes by the design's numbers for their names; without names beside the map by number."""
    known = {entry.name: entry.value for entry in design.classes}
    values = {entry.value for entry in design.classes}
    meant = {value: known.get(name) for value, name in names.items()} or {v: v for v in values}
    meant |= {NO_DECISION: NO_DECISION}
    strange = sorted({int(value) for value in found if meant.get(int(value)) is None})
    if strange:
        raise ConfigError(
            f"map {path} has class {strange[0]}"
            + (f" ({names[strange[0]]})" if strange[0] in names else "")
            + f", which the sample does not know; its classes are {', '.join(known)}. Compare maps "
            "of the same classes."
        )
    return np.array([meant[int(value)] for value in found], np.int64)
