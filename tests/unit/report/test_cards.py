"""What a model card says, read back."""

from noise2map_core.evaluation.card_scores import with_scores
from noise2map_core.models.shipped import shipped_names, shipped_path
from noise2map_core.report.cards import SCORES, card_table

ROW = ("a | b \\ <c>", "changed", "this model", "0.5 (0.4–0.6)", "0.3", "", "9, 3 of the class")


def test_rows_come_back_as_they_were_given() -> None:
    card = with_scores(f"# A\n\n{SCORES}\n\nNone yet.\n\n## Limits\n\n| x | y |\n", [ROW])
    header, *rows = card_table(card, SCORES)
    assert header[0] == "data" and rows == [ROW]


def test_a_card_without_scores_has_none_and_a_broken_row_is_passed_over() -> None:
    assert card_table("# A\n\n## Limits\n\n| x |\n| --- |\n| y |\n", SCORES) == []
    card = f"{SCORES}\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 |\n"
    assert card_table(card, SCORES) == [("a", "b"), ("1", "2")]


def test_the_checkpoints_that_ship_have_scores() -> None:
    for name in shipped_names():
        assert len(card_table((shipped_path(name) / "README.md").read_text(), SCORES)) > 1
