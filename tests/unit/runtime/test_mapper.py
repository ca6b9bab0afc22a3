"""Parts that are made beside what goes on, and those that are not seen where they would be."""

import threading
import time

import pytest

from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.mapper import Beside, here, where_seen


def test_what_is_not_seen_elsewhere_is_made_here_in_its_place() -> None:
    def blind(make, parts):
        return (None if part % 2 else make(part) for part in parts)

    assert list(where_seen(blind, str, range(5))) == ["0", "1", "2", "3", "4"]


def test_a_part_is_made_while_this_process_goes_on() -> None:
    going_on, made = threading.Event(), []
    with Beside(here) as beside:
        found = beside.begin(lambda part: made.append(going_on.wait(30)) or 2 * part, 21)
        assert not made
        going_on.set()
        assert found.result(30) == 42 and made == [True]


def test_at_the_end_nothing_is_under_way_and_an_error_comes_with_its_part() -> None:
    def refuse(part: int) -> int:
        raise OutputError(f"no room for {part}")

    begun, done = threading.Event(), []

    def slow(part: int) -> int:
        begun.set()
        time.sleep(0.3)
        done.append(part)
        return part

    with Beside(here) as beside:
        refused = beside.begin(refuse, 7)
        beside.begin(slow, 8)
        assert begun.wait(30)
    assert done == [8]
    with pytest.raises(OutputError, match="no room for 7"):
        refused.result()
