"""The model of what a region takes anywhere."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.scale import stages
from infra.stage_model import (
    PREDICT,
    Cluster,
    Costs,
    Run,
    StageCost,
    cpu_seconds,
    stage_times,
)

TRUE = {
    "search": StageCost(3.0, 0.0, 0.0),
    "compare": StageCost(0.2, 0.001, 0.0),
    PREDICT: StageCost(8.0, 0.002, 0.0),
    "rasters": StageCost(1.0, 0.01, 0.4),
    "report": StageCost(5.0, 0.0, 0.0),
}
TILE_S = {"read": 0.3, "predict": 2.0, "write": 0.1}
COSTS = Costs(512, 64.0, TRUE, TILE_S)


def run_of(tiles: int) -> Run:
    """What a run of these costs takes."""
    driver = {name: cost.fixed_s + tiles * cost.driver_s for name, cost in TRUE.items()}
    work = {name: tiles * cost.work_s for name, cost in TRUE.items() if cost.work_s}
    each = {name: each * tiles for name, each in TILE_S.items()}
    return Run(tiles, 64 * tiles, driver, work, each)


def test_costs_are_found_in_runs_of_two_sizes_and_foretell_a_third() -> None:
    found = Costs.fitted(512, [run_of(16), run_of(64)])
    assert found.chips_a_tile == 64.0 and found.tile_s == pytest.approx(TILE_S)
    for name, cost in TRUE.items():
        assert vars_of(found.stages[name]) == pytest.approx(vars_of(cost), abs=1e-6), name
    assert cpu_seconds(found, 1000) == pytest.approx(run_of(1000).seconds)


def vars_of(cost: StageCost) -> list[float]:
    return [cost.fixed_s, cost.driver_s, cost.work_s]


@pytest.mark.parametrize(
    ("cluster", "waits_for", "seconds"),
    [
        (Cluster(64, 1), "predicting", 2.0),
        (Cluster(1, 100), "reading, writing", 0.4),
        (Cluster(10_000, 10_000), "the driver", 0.002),
        (Cluster(8, 1, gpu_chips_s=640.0), "predicting", 0.1),
        (Cluster(2, 8, gpu_chips_s=64_000.0), "reading, writing", 0.2),
    ],
)
def test_of_what_goes_on_at_once_the_slowest_decides(
    cluster: Cluster, waits_for: str, seconds: float
) -> None:
    times = {stage.name: stage for stage in stage_times(COSTS, 1000, cluster)}
    predicting = times[PREDICT]
    assert predicting.waits_for == waits_for
    assert predicting.seconds == pytest.approx(8.0 + 1000 * seconds)
    assert predicting.serial_s == pytest.approx(8.0 + 1000 * 0.002)


@given(st.integers(1, 10**6), st.integers(1, 1000), st.integers(1, 200))
def test_more_workers_never_take_longer_nor_less_than_the_serial_part(
    tiles: int, cpus: int, gpus: int
) -> None:
    few = stage_times(COSTS, tiles, Cluster(cpus, gpus, 29_000.0))
    more = stage_times(COSTS, tiles, Cluster(2 * cpus, 2 * gpus, 29_000.0))
    for one, other in zip(few, more, strict=True):
        assert other.serial_s - 1e-6 <= other.seconds <= one.seconds + 1e-6
        assert one.serial_s == other.serial_s


def test_a_stage_that_does_not_grow_is_fixed() -> None:
    noisy = [
        replace(run, driver_s={**run.driver_s, "search": 3.0 - number})
        for number, run in enumerate([run_of(16), run_of(64)])
    ]
    found = Costs.fitted(512, noisy).stages["search"]
    assert (found.fixed_s, found.driver_s, found.work_s) == (2.5, 0.0, 0.0)


def test_a_table_says_of_every_stage_what_it_waits_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "costs.json").write_text(COSTS.dump())
    stages(tmp_path / "costs.json", gpx=512**2 * 1e-3)  # a million tiles
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if " | " in line]
    found = {row[0].lstrip("| "): (row[1], row[-1].rstrip(" |")) for row in rows}
    assert found.keys() == {*TRUE, "stage", "---"}
    assert found["rasters"] == ("10,001", "the driver")
    assert found["predict"] == ("2,008", "the driver")


def test_costs_survive_their_file(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(COSTS.dump())
    assert Costs.load(tmp_path / "costs.json") == COSTS
