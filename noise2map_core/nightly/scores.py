"""What a slice's map holds in numbers, kept beside the slices so that nights can be compared."""

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from noise2map_core.mapping.mosaic import Mosaic, Reason
from noise2map_core.mapping.recut import RecutMosaic
from noise2map_core.nightly.areas import day_of
from noise2map_core.products.survey import survey_mosaic
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import listed

FOLDER = "scores"
FORMAT_VERSION = 1
PICTURE_PX = 1024
"""Longest side of the pictures that a survey makes on its way, and nobody looks at."""
PERCENTS = 101
HIDDEN = (Reason.MASKED_AFTER, Reason.SUSPECTED_AFTER, Reason.SHADOW_AFTER)


@dataclass(frozen=True)
class NightScore:
    """Counts of pixels of one slice."""

    day: date
    decided: int
    changed: int
    hidden: int
    """Recorded at the later date, and masked, in shadow or suspected to be cloud."""
    histogram: tuple[int, ...]
    """[101] Decided pixels by their probability of change, whole percent."""


def measure_slice(mosaic: Mosaic, day: date, threshold: float | None) -> NightScore:
    """Count the pixels of a slice's map, cut at its `threshold` if it has one of its own."""
    cut = mosaic if threshold is None else RecutMosaic(mosaic, threshold, of_winner=False)
    counts = survey_mosaic(cut, ("class", "probability", "reason"), PICTURE_PX).counts
    decided = int(counts["class"][:255].sum())
    return NightScore(
        day,
        decided,
        decided - int(counts["class"][0]),
        sum(int(counts["reason"][reason]) for reason in HIDDEN),
        tuple(counts["probability"][:PERCENTS].tolist()),
    )


def write_score(area: Path, score: NightScore) -> None:
    """Keep a night's numbers in an area's folder."""
    folder = area / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    body = {"format_version": FORMAT_VERSION, **asdict(score)}
    write_atomically(folder / f"{score.day}.json", json.dumps(body, default=str) + "\n")


def read_score(area: Path, day: date) -> NightScore | None:
    """The numbers of a night; None if there are none. Raises OutputError."""
    path = area / FOLDER / f"{day}.json"
    return _read(path) if path.is_file() else None


def earlier_scores(area: Path, day: date, most: int) -> list[NightScore]:
    """Of the nights before `day` the last `most`, in order. Raises OutputError."""
    if not (area / FOLDER).is_dir():
        return []
    files = {at: path for path in listed(area / FOLDER, ".json") if (at := day_of(path.stem))}
    return [_read(files[at]) for at in sorted(at for at in files if at < day)[-most:]]


def _read(path: Path) -> NightScore:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body.pop("format_version") != FORMAT_VERSION:
            raise ValueError("another format_version")
        body["day"], body["histogram"] = date.fromisoformat(body["day"]), tuple(body["histogram"])
        if len(body["histogram"]) != PERCENTS:
            raise ValueError(f"{len(body['histogram'])} percents")
        return NightScore(**body)
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path} is damaged: {' '.join(str(error).split())}. Delete it: nights are compared "
            "with the others."
        ) from error
