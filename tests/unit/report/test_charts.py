"""Charts show their numbers where they are, as lines and in words, and keep to a page's policy."""

from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from noise2map_core.report.charts import MAX_POINTS, Chart, Mark, Points, Series, thinned


def groups(chart: Chart, kind: str) -> list[Xml.Element]:
    """Groups of the drawing that have a class."""
    found = Xml.fromstring(chart.svg()).iter("g")
    return [group for group in found if kind in group.get("class", "").split()]


def places(group: Xml.Element) -> np.ndarray:
    """[point, x and y upwards] of a drawn line."""
    (path,) = group.findall("path")
    ends = path.get("d", "").replace("M", "L").split("L")[1:]
    return np.array([[float(number) for number in end.split()] for end in ends]) * (1, -1)


def test_long_lines_are_averaged_and_short_ones_are_not() -> None:
    short = [(float(x), 1.0) for x in range(MAX_POINTS)]
    assert thinned(short) == short
    long = [(float(x), float(x % 2)) for x in range(10 * MAX_POINTS)]
    assert len(thinned(long)) == MAX_POINTS
    assert {y for _, y in thinned(long)} == {0.5}
    assert thinned(long)[-1][0] == long[-1][0]


def test_a_line_is_drawn_where_its_numbers_are() -> None:
    chart = Chart("t", "x", "y", [Series("a", "#123456", [(0.0, 0.0), (1.0, 1.0), (2.0, 0.5)])])
    (line,) = groups(chart, "line")
    assert line.find("path").get("stroke") == "#123456"
    across, up = places(line).T
    assert (across - across[0]) / (across[2] - across[0]) == pytest.approx([0, 0.5, 1], abs=1e-3)
    assert (up - up[0]) / (up[1] - up[0]) == pytest.approx([0, 1, 0.5], abs=1e-2)


@pytest.mark.parametrize("points", [[(1.0, 0.3)], [(1.0, 0.0), (2.0, 0.0)]])
def test_a_single_point_and_a_flat_line_can_be_drawn(points: Points) -> None:
    chart = Chart("t", "x", "y", [Series("a", "red", points, dots=True)])
    assert "nan" not in chart.svg() and "inf" not in chart.svg()
    (line,) = groups(chart, "line")
    assert len(line.findall("g/use")) == len(points)
    assert list(chart.legend()) == [("red", "a", False)]


def test_each_series_has_a_line_a_name_and_if_dotted_its_numbers() -> None:
    dotted = Series("a", "red", [(1.0, 0.2), (3.0, 0.25)], [0.1, 0.05], dots=True)
    other = Series("b", "blue", [(2.0, 0.5)], dots=True)
    faint = Series("c", "black", [(0.0, 0.0), (4.0, 1.0)], faint=True)
    marks = [Mark("chosen", "red", 1.0, 0.2), Mark("chosen", "red", 3.0, 0.25)]
    chart = Chart("t", "epoch", "F1", [dotted, other, faint], marks)
    assert len(groups(chart, "line")) == 3 and len(groups(chart, "faint")) == 1
    (bars,) = groups(chart, "bar")
    assert len(bars.findall("path")) == 2
    assert len(groups(chart, "mark")) == 2
    assert [name for _, name, _ in chart.legend()] == ["a", "b", "c", "chosen"]
    assert chart.header() == ("epoch", "a", "b")
    assert chart.numbers() == [
        ("1", "0.2000 ± 0.1000", ""), ("2", "", "0.5000"), ("3", "0.2500 ± 0.0500", ""),
    ]  # fmt: skip
    words = [text.text for text in Xml.fromstring(chart.svg()).iter("text")]
    assert {"epoch", "F1"} <= set(words)


def test_a_drawing_is_the_same_each_time_and_keeps_to_the_policy_of_pages() -> None:
    hostile = "$_$<script>\"'&"
    chart = Chart(hostile, hostile, hostile, [Series(hostile, "red", [(0.0, 0.0), (1.0, 1.0)])])
    svg = chart.svg()
    assert svg == chart.svg()
    root = Xml.fromstring(svg)
    assert root.get("aria-label") == hostile
    assert hostile in [text.text for text in root.iter("text")]
    assert not any({"style", "clip-path"} & set(element.keys()) for element in root.iter())
    assert not list(root.iter("style")) and not list(root.iter("script"))
