"""What does not look right in a run is said, with what to do about it."""

import pytest

from noise2map_core.inference.doubts import StrangeTiles, grid_doubts
from noise2map_core.mapping.ledger import TileRecord


@pytest.mark.parametrize(
    ("side", "text"), [(4.0, "is invented"), (25.0, "is lost")], ids=["finer", "coarser"]
)
def test_a_grid_beyond_twice_the_pixels_of_the_imagery_is_doubted(side: float, text: str) -> None:
    (doubt,) = grid_doubts(side, 10.0)
    assert text in doubt
    assert "Leave grid.resolution out" in doubt


@pytest.mark.parametrize("side", [5.0, 10.0, 20.0])
def test_a_grid_up_to_twice_is_not(side: float) -> None:
    assert grid_doubts(side, 10.0) == []


def test_strange_numbers_name_the_worst_tiles_and_what_to_see_to() -> None:
    strange = StrangeTiles()
    assert strange.doubts((0.0, 500.0)) == []
    for col in range(7):
        strange.add(TileRecord(0, col, "k", "done", strange_px=10 + col))
    (doubt,) = strange.doubts((0.0, 500.0))
    assert doubt.startswith("91 pixels in 7 tiles")
    assert "0 to 500" in doubt
    assert doubt.index(": 16") < doubt.index(": 12")
    assert ": 11" not in doubt
    assert "See whether" in doubt
