"""Seconds by stage."""

import time
from unittest.mock import patch

from noise2map_core.runtime.stopwatch import Stopwatch


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stage_within_another_is_counted_once() -> None:
    clock, watch = Clock(), Stopwatch()
    with patch.object(time, "perf_counter", clock), patch.object(time, "process_time", clock):
        with watch.stage("outer"):
            clock.now += 1
            for _ in range(2):
                with watch.stage("inner"):
                    clock.now += 10
                    with watch.stage("innermost"):
                        clock.now += 100
            clock.now += 2
        with watch.stage("outer"):
            clock.now += 4
    assert watch.seconds == {"innermost": 200, "inner": 20, "outer": 7} == watch.own_cpu_s
