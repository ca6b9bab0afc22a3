from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from noise2map_core.chips.parts import PART_COLUMNS, join_parts, require_free, write_parts
from noise2map_core.chips.store import ChipStore, Columns, iter_shards, open_store
from noise2map_core.chips.writer import StoreHeader
from noise2map_core.cli.commands import teach_chips
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.learning.metrics import ConfusionCounts
from noise2map_core.runtime.errors import ChipStoreError, OutputMismatchError, PairRejectedError
from noise2map_core.settings.chips import ChipsConfig
from noise2map_core.settings.labels import SplitConfig
from noise2map_core.training.cross_fitting import TEACHER, Mapped, score_maps
from noise2map_core.training.teaching import Lesson, School, colour_of, fit_teacher
from noise2map_core.training.training_data import require_trainable
from noise2map_core.workflows.tools.teach_chips import TeachChipsConfig
from tests.chip_factories import changed_land, make_store, plan_store
from tests.unit.evaluation.test_evaluation import bounds

LESSON = Lesson(confidence=0.9, margin_px=1, block_px=32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    job = plan_store(folder / "sources", folder / "chips.zarr", pixels=changed_land())
    return open_store(make_store(job))


@pytest.fixture(scope="module")
def school(store: ChipStore) -> School:
    return School.of(store, fit_teacher(store, "mad"), LESSON)


@given(
    st.integers(0, 2**32),
    st.integers(0, 3),
    st.floats(0.55, 0.95),
)
def test_only_what_is_sure_as_far_as_the_margin_is_a_label(
    seed: int, margin: int, confidence: float
) -> None:
    rng = np.random.default_rng(seed)
    probability = np.repeat(np.repeat(rng.random((2, 4, 4)), 5, axis=1), 5, axis=2)
    probability[rng.random(probability.shape) < 0.01] = np.nan
    label = Lesson(confidence, margin, 32).sure(probability.astype(np.float32))
    sides = np.where(probability >= confidence, 1, np.where(probability <= 1 - confidence, 0, 255))
    around = np.pad(sides, ((0, 0), *[(margin, margin)] * 2), constant_values=255)
    width = 2 * margin + 1
    for chip, row, col in np.ndindex(label.shape):
        seen = set(around[chip, row : row + width, col : col + width].ravel().tolist())
        assert label[chip, row, col] == (seen.pop() if len(seen) == 1 else 255)


def test_no_label_of_a_block_is_learnt_by_who_maps_it(school: School, tmp_path: Path) -> None:
    sure = school.sure_pixels()
    places = []
    for colour in (0, 1):
        school.write(sure, colour, tmp_path / f"{colour}.zarr")
        lessons = open_store(tmp_path / f"{colour}.zarr")
        require_trainable(lessons, ("change",))
        label = np.concatenate([one["label_change"] for one in iter_shards(lessons.path)])
        chip, row, col = np.nonzero(label != 255)
        row, col = row + lessons.read("row")[chip], col + lessons.read("col")[chip]
        assert set(colour_of(np.int64(0), row // 32, col // 32).tolist()) == {colour}
        places.append(set(zip(row.tolist(), col.tolist(), strict=True)))
    assert places[0] and places[1] and not places[0] & places[1]


def test_what_learns_and_what_judges_share_no_block(school: School) -> None:
    role, store = school.roles(school.sure_pixels(), None), school.store
    block = np.stack([store.read("row") // 32, store.read("col") // 32], axis=1)
    learns, judges = (set(map(tuple, block[role == code].tolist())) for code in (0, 1))
    assert learns and judges and not learns & judges


def test_lessons_are_the_stores_pixels_and_no_label_of_it(
    school: School, store: ChipStore, tmp_path: Path
) -> None:
    school.write(school.sure_pixels(), None, tmp_path / "all.zarr")
    lessons = open_store(tmp_path / "all.zarr")
    assert lessons.attributes["labels_from"] == ["the detector mad, without labels"]
    at = {place: chip for chip, place in enumerate(_places(store))}
    read = ChipReader(lessons, ("change",)).read(np.arange(lessons.num_chips))
    real = ChipReader(store, ("change",)).read(np.array([at[one] for one in _places(lessons)]))
    np.testing.assert_array_equal(read.image, real.image)
    known = read.labels["change"] != 255
    counts = ConfusionCounts.of(
        np.where(known, real.labels["change"], 255), read.labels["change"], 2
    )
    assert counts.scores(1).precision > 0.95 and (~known).mean() > 0.1


def _places(store: ChipStore) -> list[tuple[int, int]]:
    return list(zip(store.read("row").tolist(), store.read("col").tolist(), strict=True))


def test_lessons_that_are_there_stay_and_others_are_refused(
    school: School, store: ChipStore, tmp_path: Path
) -> None:
    path, sure = tmp_path / "0.zarr", school.sure_pixels()
    school.write(sure, 0, path)
    written = (path / "manifest.json").stat().st_mtime_ns
    school.write(sure, 0, path)
    assert (path / "manifest.json").stat().st_mtime_ns == written
    other = School.of(store, fit_teacher(store, "irmad"), LESSON)
    with pytest.raises(OutputMismatchError, match="was made from other scenes or settings"):
        other.write(other.sure_pixels(), 0, path)


def test_a_teacher_that_is_rarely_sure_is_refused_in_a_line(store: ChipStore) -> None:
    school = School.of(store, fit_teacher(store, "mad"), Lesson(0.9, 9, 32))
    with pytest.raises(ChipStoreError, match=r"is sure of 0 changed and .* 50 of each .*$"):
        school.roles(school.sure_pixels(), 0)


def rewritten(store: ChipStore, path: Path, *changes: Callable[[Columns], Columns]) -> ChipStore:
    """A store without labels, of the chips as each of `changes` makes them, one after the other."""
    rows = {name: store.read(name) for name in PART_COLUMNS}
    shards = list(iter_shards(store.path, columns=("image", "valid")))
    chips = rows | {name: np.concatenate([one[name] for one in shards]) for name in shards[0]}
    header = replace(StoreHeader.of(store), key="rewritten", classes={})
    require_free(path)
    parts = write_parts(path, header, [change(chips) for change in changes])
    join_parts(path, header, parts)
    return open_store(path)


def test_chips_of_one_date_are_refused(store: ChipStore, tmp_path: Path) -> None:
    dated = ("image", "valid", "datetime", "items", "scene")
    one = rewritten(
        store, tmp_path / "one.zarr",
        lambda chips: chips | {name: chips[name][:, :1] for name in dated},
    )  # fmt: skip
    with pytest.raises(ChipStoreError, match=r"has 1 date\(s\); .* with before and after\.$"):
        fit_teacher(one, None)


def test_a_later_pair_judges_and_does_not_teach(store: ChipStore, tmp_path: Path) -> None:
    year = 365 * 86_400
    pairs = rewritten(
        store, tmp_path / "pairs.zarr",
        lambda chips: chips | {"datetime": chips["datetime"] + np.array([0, year])},
        lambda chips: chips,
    )  # fmt: skip
    school = School.of(pairs, fit_teacher(pairs, "mad"), LESSON)
    assert len(school.teacher.fitted) == 2
    role, seconds = school.roles(school.sure_pixels(), None), pairs.read("datetime")[:, 1]
    assert set(seconds[role >= 0].tolist()) == {seconds.min()}
    scores = score_maps(school, 0.01, {})
    assert school.judged_by == "what is sure in later pairs"
    assert scores[TEACHER].f1 > 0.9 and scores[TEACHER].num_pixels < store.num_chips * 64


def test_pairs_that_are_hardly_seen_are_refused(tmp_path: Path) -> None:
    pixels = changed_land()
    pixels.images[1, :, 2:] = 0
    job = plan_store(tmp_path / "sources", tmp_path / "chips.zarr", pixels=pixels)
    with pytest.raises(PairRejectedError, match="too few for statistics"):
        fit_teacher(open_store(make_store(job)), None)


def test_scores_are_of_each_labelled_pixel_once_in_whatever_part(tmp_path: Path) -> None:
    boxes = {"train": (bounds(0, 0, 40, 110),), "val": (bounds(41, 0, 90, 110),)}
    job = plan_store(
        tmp_path / "sources", tmp_path / "chips.zarr", pixels=changed_land(),
        split=SplitConfig(boxes=boxes, buffer_px=1), chips=ChipsConfig(chip_px=16, stride_px=8),
    )  # fmt: skip
    store = open_store(make_store(job))
    school = School.of(store, fit_teacher(store, "mad"), LESSON)
    oracle = ChipReader(store, ("change",))
    perfect, blind = (
        _mapper(lambda chips: (oracle.read(chips).labels["change"] == 1).astype(np.uint8)),
        _mapper(lambda chips: np.zeros((len(chips), 16, 16), np.uint8)),
    )
    scores = score_maps(school, 0.01, {"perfect": perfect, "blind": blind})
    seen = (changed_land().images > 0).all(axis=(0, 1))
    seen[40] = False
    assert {one.num_pixels for one in scores.values()} == {int(seen.sum())}
    assert (scores["perfect"].f1, scores["perfect"].roc_auc) == (1, 1)
    assert (scores["blind"].f1, scores["blind"].roc_auc) == (0, 0.5)
    assert scores[TEACHER].roc_auc > 0.95


def _mapper(called: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Mapped]:
    return lambda batch: (called(batch.chip).astype(np.float32), called(batch.chip))


def test_without_labels_and_later_pairs_nothing_is_scored(tmp_path: Path) -> None:
    job = plan_store(
        tmp_path / "sources", tmp_path / "chips.zarr", pixels=changed_land(), labelled=False
    )
    store = open_store(make_store(job))
    assert score_maps(School.of(store, fit_teacher(store, "mad"), LESSON), 0.01, {}) == {}


@pytest.mark.parametrize("flat", [False, True])
def test_lessons_by_theory_label_what_few_unchanged_pixels_reach(
    store: ChipStore, flat: bool, tmp_path: Path
) -> None:
    """A band that never varies has no variate, and so no degree of freedom."""
    if flat:
        pixels = changed_land()
        pixels.images[:, 1] = np.where(pixels.images[:, 1], 7, 0)
        store = open_store(make_store(plan_store(tmp_path / "a", tmp_path / "b", pixels=pixels)))
    output = tmp_path / "lessons.zarr"
    config = TeachChipsConfig(chips=store.path, output=output, false_alarms=0.05)
    assert teach_chips.run(config).attributes["labels_from"] == ["the detector mad, without labels"]
    lessons, teacher = open_store(output), fit_teacher(store, "mad")
    degrees = 1 if flat else 2
    for chip in range(lessons.num_chips):
        read = lessons.read_chip(chip, ("image", "valid", "label_change"))
        own = np.array([_same_chip(store, lessons, chip)])
        length = teacher.length(own, read["image"][None], read["valid"][None])[0]
        squares = chi2.cdf(np.square(length), degrees)
        expected = np.where(np.isnan(length), 255, squares >= 0.95)
        np.testing.assert_array_equal(read["label_change"], expected)


def _same_chip(store: ChipStore, lessons: ChipStore, chip: int) -> int:
    """The number in `store` of what lies where a lesson does."""
    same = [store.read(name) == lessons.read(name)[chip] for name in ("crs", "row", "col")]
    return int(np.flatnonzero(np.all(same, axis=0))[0])
