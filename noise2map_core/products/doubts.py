"""What does not look right in a finished map, and what to do about it."""

from noise2map_core.mapping.mosaic import Reason
from noise2map_core.products.palette import reason_names
from noise2map_core.products.subject import MapSubject
from noise2map_core.products.survey import Survey

MUCH_CHANGED = 0.5
"""Share of the decided pixels: between two dates of one place, most stays."""
MUCH_SUSPECTED = 0.01
"""Share of the area."""
SUSPECTED = (Reason.SUSPECTED_BEFORE, Reason.SUSPECTED_AFTER)


def map_doubts(subject: MapSubject, survey: Survey) -> list[str]:
    """One sentence or more each, for people; none if all is well."""
    reasons = survey.counts["reason"]
    area = int(reasons.sum() - reasons[Reason.OUTSIDE])
    if not reasons[Reason.DECIDED]:
        return [_undecided(subject, survey)]
    return [*_much_changed(subject, survey), *_much_suspected(survey, area)]


def _undecided(subject: MapSubject, survey: Survey) -> str:
    """That the map says nothing at all, with the reasons."""
    counts = survey.counts["reason"]
    names = reason_names(one_date=not subject.before)
    found = sorted((r for r in Reason if counts[r]), key=lambda reason: -counts[reason])
    said = ", ".join(f"{names[reason]} {counts[reason]:,} pixels" for reason in found)
    return f"no pixel of the area has a decision: {said}. Set other dates or masks."


def _much_changed(subject: MapSubject, survey: Survey) -> list[str]:
    counts = survey.counts["class"]
    changed = sum(int(counts[value]) for value in subject.sought)
    share = changed / max(1, sum(int(counts[value]) for value in subject.names))
    if subject.task != "change" or share <= MUCH_CHANGED:
        return []
    return [
        f"{share:.0%} of the decided pixels are changed, which hardly any area is. See whether the "
        "dates are of one season and sensor and the checkpoint is for it, or raise "
        "products.threshold."
    ]


def _much_suspected(survey: Survey, area: int) -> list[str]:
    share = sum(int(survey.counts["reason"][reason]) for reason in SUSPECTED) / area
    if share <= MUCH_SUSPECTED:
        return []
    return [
        f"clouds are suspected on {share:.1%} of the area, which has no decision there. Set other "
        "dates or imagery with masks; mask.suspect false decides these pixels all the same."
    ]
