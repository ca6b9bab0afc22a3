"""What does not look right in a run, and what to do about it: the same after every rerun."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from noise2map_core.detectors.part_edges import PartEdge, summed_edges
from noise2map_core.detectors.spec import DetectorSpec
from noise2map_core.geo.turns import centre_of_grid
from noise2map_core.imagery.region import MAX_UPSAMPLING, SAME_SIZE, finest_on_ground
from noise2map_core.inference.provenance import done_records
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import TileRecord

LEAST_OUTSTANDING = 0.001
"""Share of pixels that stand out, from which a detector is believed."""

MAX_SHOWN = 5
"""Tiles that a line for people names; the ledger has them all."""


@dataclass
class StrangeTiles:
    """Tiles with numbers that the model does not expect: how many, and the worst of them."""

    tiles: int = 0
    px: int = 0
    worst: list[TileRecord] = field(default_factory=list)
    """At most `MAX_SHOWN`: the driver's memory must not grow with the region."""

    def add(self, record: TileRecord) -> None:
        """Count a tile."""
        if record.strange_px:
            self.tiles, self.px = self.tiles + 1, self.px + record.strange_px
            ranked = sorted([*self.worst, record], key=lambda r: (-r.strange_px, r.row, r.col))
            self.worst = ranked[:MAX_SHOWN]

    def doubts(self, value_range: tuple[float, float]) -> list[str]:
        """What to say to people, the worst tiles by name; none if there is nothing to say."""
        if not self.tiles:
            return []
        low, high = value_range
        worst = ", ".join(f"{record.tile}: {record.strange_px:,}" for record in self.worst)
        return [
            f"{self.px:,} pixels in {self.tiles} tiles lie outside the numbers that the checkpoint "
            f"expects ({low:g} to {high:g}), most in {worst}. See whether the product level or the "
            "scaling of the imagery is another than that of the checkpoint."
        ]


def run_doubts(
    job: RegionJob, quality: dict[str, Any] | None, failed: Sequence[TileRecord]
) -> list[str]:
    """Sentences for people, of the tiles' records, of the `quality` of the pair, as manifests have
    it, and of tiles that `failed`; none if all is well."""
    strange = StrangeTiles()
    for record in done_records(job):
        strange.add(record)
    place = centre_of_grid(job.grid.geobox(job.grid.region))
    finest = finest_on_ground([*job.before, *job.after], *place)
    return [
        *_holes(failed),
        *strange.doubts(job.spec.value_range),
        *_detector(job),
        *_light(job),
        *edge_doubts(summed_edges(done_records(job), job.part_names) if job.parts else []),
        *_pair(quality or {}),
        *grid_doubts(job.grid.ground_m, finest),
    ]


def _holes(failed: Sequence[TileRecord]) -> list[str]:
    if not failed:
        return []
    return [
        f"{len(failed)} tiles could not be made and are holes in the map: {failed[0].tile}: "
        f"{failed[0].reason.rstrip('.')}. Repair the sources and run the same command again."
    ]


def _detector(job: RegionJob) -> list[str]:
    """Fewer pixels that stand out than chance alone would give: the rest is no lack of change."""
    fitted = job.spec.fitted if isinstance(job.spec, DetectorSpec) else None
    if fitted is None or fitted.outstanding >= LEAST_OUTSTANDING:
        return []
    return [
        f"only {fitted.outstanding:.2%} of the pixels stand out where chance alone would give 1 %: "
        "the dates hardly resemble each other, and the detector cannot tell what did not change. "
        "Choose dates of one season and light, or name a checkpoint."
    ]


def _light(job: RegionJob) -> list[str]:
    """Dates that are normalised by the training part, for want of pixels."""
    return [
        f"too little of date {number + 1} is observed to tell how bright it is: it is normalised "
        "by what the checkpoint was trained on, which may be of other light. Take a larger area, "
        "or dates with fewer clouds."
        for number in (job.light.unknown if job.light else ())
    ] + [
        "too little is observed at both dates to tell how they differ where nothing changed: what "
        "the network sees are differences of the normalised bands. Take a larger area, or dates "
        "with fewer clouds."
    ] * bool(job.light and job.light.is_alteration_unknown)


def edge_doubts(edges: Sequence[PartEdge]) -> list[str]:
    """The largest jump of the share of change where scenes change, if it is large."""
    large = [edge for edge in edges if edge.is_large]
    if not large:
        return []
    (one, other), (low, high) = large[0].parts, large[0].shares
    more = f" {len(large) - 1} more edges jump, too." if len(large) > 1 else ""
    return [
        f"where scenes of {one} meet those of {other}, {low:.1%} of the one side changed and "
        f"{high:.1%} of the other: of neighbouring ground that is the scenes' doing.{more} Set "
        "dates of which one overpass shows all, or map the parts by themselves."
    ]


def _pair(quality: dict[str, Any]) -> list[str]:
    if quality.get("verdict", "ok") == "ok":
        return []
    return [f"pair of dates: {reason}" for reason in quality["reasons"]]


def grid_doubts(side: float, finest: float) -> list[str]:
    """Whether pixels of `side` metres are much finer or coarser than those of the imagery, of which
    the finest has `finest` metres."""
    most = MAX_UPSAMPLING * (1 + SAME_SIZE)
    if side * most < finest:
        what = f"{finest:.3g} m: what lies between theirs is invented"
    elif side > finest * most:
        what = f"{finest:.3g} m: detail of theirs is lost"
    else:
        return []
    return [
        f"the map has pixels of {side:.3g} m, and the imagery of {what}. Leave grid.resolution "
        "out, or choose imagery and a checkpoint of that size."
    ]
