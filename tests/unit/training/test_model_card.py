from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.chips.store import open_store
from noise2map_core.evaluation.card_scores import NO_SCORES, score_rows, with_scores
from noise2map_core.evaluation.scores import MapScores, ScoredClass
from noise2map_core.report.cards import SCORES
from noise2map_core.settings.inference import CardConfig
from noise2map_core.training.cost import cost_of
from noise2map_core.training.model_card import write_card
from noise2map_core.training.validation import TaskValidation
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec
from tests.unit.evaluation.test_evaluation import SPLIT


def held(workers: int, cpus: float, gpus: float = 0.0, hardware: str = "Xeon") -> dict[str, Any]:
    return {"workers": workers, "cpus": cpus, "gpus": gpus, "hardware": hardware}


HISTORY = [
    {"epoch": 5.0, "train_s": 3600.0, "resources": held(2, 1.5, 1.0, "H100")},
    {"epoch": 10.0, "train_s": 5400.0, "resources": held(1, 1.5, 1.0, "H100")},
]


VALIDATION = TaskValidation(0.6, 0.02, {"changed": 0.5}, 1.0, 0.1, 0.05, None, None)
RULE = {"per_chip": 4, "paste": 0.25, "seed": 0}


def test_hours_are_those_of_the_workers_that_there_were_at_the_time() -> None:
    cost = cost_of(HISTORY)
    assert cost is not None
    assert cost.seconds == 5400.0
    assert cost.cpu_hours == pytest.approx(1.0 * 2 * 1.5 + 0.5 * 1 * 1.5)
    assert cost.gpu_hours == pytest.approx(1.0 * 2 + 0.5 * 1)
    rows = dict(cost.rows())
    assert rows["workers"] == "2 × 1.5 CPU and 1 GPU (H100), then 1 × 1.5 CPU and 1 GPU (H100)"
    assert rows["GPU hours"] == "2.5"


def test_without_a_gpu_none_is_counted() -> None:
    cost = cost_of([{"train_s": 7.2, "resources": held(1, 0.5)}])
    assert cost is not None
    assert dict(cost.rows()) == {
        "seconds of training": "7.2", "CPU hours": "0.001", "workers": "1 × 0.5 CPU (Xeon)",
    }  # fmt: skip


def test_what_was_not_recorded_is_not_made_up() -> None:
    assert cost_of([{"epoch": 5.0, "train_s": 3600.0}, HISTORY[1]]) is None


@pytest.mark.parametrize(
    ("sizes", "words"), [((5000, 400), "standard error, n = 400 pixels of changed among 5,000"),
                         ((None, None), "± 0.0200 (standard error) |")],
)  # fmt: skip
def test_the_card_says_what_it_cost_and_of_how_many_pixels_its_score_is(
    tmp_path: Path, sizes: tuple[int | None, int | None], words: str
) -> None:
    store = open_store(make_store(plan_store(tmp_path / "a", tmp_path / "chips.zarr", split=SPLIT)))
    validation = replace(VALIDATION, num_pixels=sizes[0], num_sought=sizes[1])
    spec = checkpoint_spec(bands=tuple(store.bands), chip_px=16)
    card = write_card(spec, store, {"change": validation}, 0.6, 10, HISTORY, 7)
    assert words in card
    assert "one training, seed 7" in card
    assert "| GPU hours | 2.5 |" in card
    assert "| seconds of training | 5,400.0 |" in card


def test_the_card_says_whose_the_data_are_and_what_it_is_for(tmp_path: Path) -> None:
    job = plan_store(tmp_path / "a", tmp_path / "chips.zarr", split=SPLIT)
    header = replace(job.header, labels_from=("Mappers (licence: ODbL)",), made_pairs=RULE)
    store = open_store(make_store(replace(job, header=header)))
    words = CardConfig(intended_use="Counting huts.", credit="By Ann.", limits="Blind to tents.")
    spec = checkpoint_spec(bands=tuple(store.bands), chip_px=16)
    card = write_card(spec, store, {"change": VALIDATION}, 0.6, 10, HISTORY, 7, words)
    assert "## Intended use\n\nCounting huts.\n" in card
    assert "| labels | Mappers (licence: ODbL) |\n\nBy Ann.\n" in card
    assert "| imagery, 2 items | " in card
    assert "in 25% of the pairs, one place" in card
    assert card.endswith("Blind to tents.\n")


def test_names_from_outside_neither_break_a_table_nor_become_html(tmp_path: Path) -> None:
    hostile = "a | b\n<img src=x onerror=alert(1)>"
    job = plan_store(tmp_path / "a", tmp_path / "chips.zarr", split=SPLIT)
    header = replace(job.header, labels_from=(hostile,))
    store = open_store(make_store(replace(job, header=header)))
    spec = checkpoint_spec(bands=tuple(store.bands), chip_px=16)
    card = write_card(spec, store, {"change": VALIDATION}, 0.6, 10, HISTORY, 7)
    named = r"a \| b \<img src=x onerror=alert(1)>"
    assert f"| labels | {named} |\n" in card
    for f1 in (0.5, 0.75):
        card = with_scores(card, list(score_rows(hostile, scores(f1), None)))
    assert card.count(f"| {named} | changed | this model | ") == 1
    assert " <img" not in card and "\n<img" not in card


def test_scores_of_the_same_data_take_the_place_of_earlier_ones() -> None:
    card = f"# Card\n\n{SCORES}\n\n{NO_SCORES}\n\n## Limits\n\nMany.\n"
    for f1 in (0.5, 0.75):
        card = with_scores(card, list(score_rows("a, test: change", scores(f1), scores(0.25))))
    card = with_scores(card, list(score_rows("b, test: change", scores(0.5), None)))
    assert NO_SCORES not in card and card.endswith("\n\n## Limits\n\nMany.\n")
    rows = [line.split(" | ")[:4] for line in card.splitlines() if line.startswith("| ")][2:]
    assert rows == [
        ["| a, test: change", "changed", "this model", "0.750 (0.650–0.850)"],
        ["| a, test: change", "changed", "change vector analysis", "0.250 (0.150–0.350)"],
        ["| b, test: change", "changed", "this model", "0.500 (0.400–0.600)"],
    ]


def scores(f1: float) -> MapScores:
    """Of change, with the same numbers but F1."""
    classes = {
        name: ScoredClass(f1, f1 - 0.1, f1 + 0.1, 0.5, 0.5, 0.5, 10)
        for name in ("unchanged", "changed")
    }
    return MapScores({"changed": 0.5}, f1, 0.5, 0.5, 0.5, 100, 4, classes, [], roc_auc=0.9)
