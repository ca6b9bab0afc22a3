"""Numbers of slices, as they are kept."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from noise2map_core.nightly.scores import (
    NightScore,
    earlier_scores,
    measure_slice,
    read_score,
    write_score,
)
from noise2map_core.runtime.errors import OutputError
from tests.map_factories import blobs, write_mosaic

DAY = date(2025, 6, 20)


def score(day: str) -> NightScore:
    return NightScore(date.fromisoformat(day), 10, 1, 2, tuple(range(101)))


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_counts_are_those_of_the_arrays(tmp_path: Path, threshold: float | None) -> None:
    classes = blobs(150, 130)
    reasons = np.where(classes == 255, np.arange(130) % 12, 0).astype(np.uint8)
    mosaic = write_mosaic(tmp_path / "mosaic.zarr", classes, reasons=reasons)
    stored = mosaic.read("probability", mosaic.grid.region)
    decided = mosaic.read("class", mosaic.grid.region) != 255
    changed = mosaic.read("class", mosaic.grid.region) == 1 if threshold is None else stored >= 3000
    found = measure_slice(mosaic, DAY, threshold)
    assert (found.day, found.decided) == (DAY, decided.sum())
    assert found.changed == (changed & decided).sum()
    assert found.hidden == np.isin(reasons, (5, 9, 11)).sum() > 0  # masked, suspected, in shadow
    percents = np.rint(stored[stored <= 10_000] / 100).astype(int)
    assert found.histogram == tuple(np.bincount(percents, minlength=101).tolist())


def test_scores_are_read_as_they_were_written_the_last_ones_before_a_day(tmp_path: Path) -> None:
    assert earlier_scores(tmp_path, DAY, 5) == [] and read_score(tmp_path, DAY) is None
    days = ["2025-06-18", "2025-06-19", "2025-06-20", "2025-06-21"]
    for day in reversed(days):
        write_score(tmp_path, score(day))
    assert earlier_scores(tmp_path, DAY, 5) == [score(day) for day in days[:2]]
    assert earlier_scores(tmp_path, DAY, 1) == [score(days[1])]
    assert read_score(tmp_path, DAY) == score("2025-06-20")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 2}', '{"format_version": 1}'])
def test_a_damaged_score_is_named(tmp_path: Path, text: str) -> None:
    write_score(tmp_path, score("2025-06-19"))
    (tmp_path / "scores" / "2025-06-19.json").write_text(text)
    with pytest.raises(OutputError, match=r"2025-06-19.json is damaged.*Delete it"):
        earlier_scores(tmp_path, DAY, 5)
