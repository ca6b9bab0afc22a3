"""Templates escape what they are given, for where it stands."""

import pytest
from jinja2 import UndefinedError

from noise2map_core.report.pages import render

HOSTILE = "a | b\n\n<script>alert(1)</script>\\|"


def test_what_a_card_is_given_ends_no_cell_and_is_no_html() -> None:
    (row,) = render("score_rows.md", rows=[("data", HOSTILE, "0.5")]).splitlines()
    assert row == r"| data | a \| b \<script>alert(1)\</script>\\\| | 0.5 |"


def test_plain_words_stand_in_a_card_as_they_are() -> None:
    text = '© O\'Neil & Söhne (licence: CC-BY-4.0), 5 > 3, *.tif, no_data, "x"'
    assert render("score_rows.md", rows=[(text,)]) == f"| {text} |\n"


def test_a_fact_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="page"):
        render("night.html")
