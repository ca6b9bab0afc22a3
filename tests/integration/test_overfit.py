"""Every task can be learnt: eight real chips by heart. `make bench` shows the larger presets."""

from pathlib import Path

import pytest

from noise2map_core.settings.network import Preset, Task
from tests.overfit import overfit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("preset", "tasks", "steps", "rate"),
    [
        ("tiny", ("change",), 120, 3e-3),
        ("tiny", ("segment",), 120, 3e-3),
        ("small", ("change", "segment"), 150, 2e-3),
    ],
)
def test_eight_real_chips_are_learnt_by_heart(
    real_data: Path, preset: Preset, tasks: tuple[Task, ...], steps: int, rate: float
) -> None:
    found = overfit(preset, tasks, real_data, px=64, steps=steps, rate=rate)
    assert found.keys() == set(tasks)
    assert min(found.values()) > 0.95
