"""The model of what a region takes anywhere."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.scale import stages
from infra.stage_model import (
    BESIDE,
    DIGESTS,
    PACKAGE,
    PREDICT,
    Amount,
    Cluster,
    Costs,
    Run,
    StageCost,
    cpu_seconds,
    stage_times,
)

MOST = 5_000
TRUE = {
    "search": StageCost(Amount(3.0), Amount()),
    "compare": StageCost(Amount(0.2, 0.001), Amount()),
    PREDICT: StageCost(Amount(8.0, 0.002), Amount()),
    "rasters": StageCost(Amount(1.0, 0.01), Amount(0.0, 0.4)),
    "polygons": StageCost(Amount(0.5, 0.02, 0.0003), Amount(0.0, 0.7, 0.001)),
    "vector tiles": StageCost(Amount(0.1), Amount(0.0, 0.8), alone=Amount(2.0)),
    PACKAGE: StageCost(Amount(), Amount(0.1, 0.0, 0.002), MOST, Amount(0.1, 0.0, 0.002)),
    "report": StageCost(Amount(5.0), Amount(1.0), alone=Amount(1.0)),
    DIGESTS: StageCost(Amount(0.1), Amount(0.0, 0.006), alone=Amount(0.0, 0.004)),
}
TILE_S = {"read": 0.3, "predict": 2.0, "write": 0.1}
COSTS = Costs(512, 64.0, 10.0, TRUE, TILE_S)


def run_of(tiles: int, polygons: int) -> Run:
    """What a run of these costs takes."""
    spent = {name: cost.seconds(tiles, polygons) for name, cost in TRUE.items()}
    driver, work = ({name: both[of] for name, both in spent.items()} for of in (0, 1))
    each = {name: each * tiles for name, each in TILE_S.items()}
    alone = {name: cost.alone_seconds(tiles, polygons) for name, cost in TRUE.items()}
    return Run(tiles, 64 * tiles, polygons, driver, work, each, alone)


RUNS = [run_of(16, 900), run_of(16, 160), run_of(64, 640)]


def test_costs_are_found_in_runs_of_two_sizes_and_foretell_a_third() -> None:
    found = Costs.fitted(512, RUNS, MOST)
    assert (found.chips_a_tile, found.polygons_a_tile) == (64.0, 10.0)
    assert found.tile_s == pytest.approx(TILE_S)
    for name, cost in TRUE.items():
        for mine, wanted in ((found.stages[name].driver, cost.driver),
                             (found.stages[name].work, cost.work),
                             (found.stages[name].alone, cost.alone)):  # fmt: skip
            assert asdict(mine) == pytest.approx(asdict(wanted), abs=1e-6), name
    assert cpu_seconds(found, 1000, 20_000) == pytest.approx(run_of(1000, 20_000).seconds)


def test_a_package_is_not_begun_of_more_polygons_than_it_holds() -> None:
    few, most, more = (run_of(1000, count) for count in (MOST // 2, MOST, MOST + 1))
    assert more.work_s[PACKAGE] == more.alone_s[PACKAGE] == 0
    assert most.work_s[PACKAGE] == pytest.approx(10.1) and few.alone_s[PACKAGE] == 5.1


def test_no_stage_ends_before_its_longest_part_and_that_counts_as_serial() -> None:
    tiles = {stage.name: stage for stage in stage_times(COSTS, 1000, Cluster(10_000, 1))}
    found = tiles["vector tiles"]
    assert (found.seconds, found.serial_s) == pytest.approx((2.1, 2.1))
    assert found.waits_for == "one worker"


def test_what_goes_on_beside_others_is_waited_for_behind_them() -> None:
    slow = replace(TRUE[DIGESTS], alone=Amount(0.0, 1.0))
    costs, cluster = replace(COSTS, stages={**TRUE, DIGESTS: slow}), Cluster(10_000, 1)
    times = {stage.name: stage for stage in stage_times(costs, 1000, cluster, polygons=1000)}
    beside = (0.5 + 20.3) + (0.1 + 2.0) + (5.0 + 1.0)  # polygons, vector tiles, report
    assert times[DIGESTS].serial_s == pytest.approx(1000.1)
    assert times[DIGESTS].seconds == pytest.approx(1000.1 - beside)
    assert times[PACKAGE].serial_s == pytest.approx(2.1)
    assert times[PACKAGE].seconds == pytest.approx(0.0, abs=1e-9)  # vector tiles take as long


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
        if one.name not in BESIDE:
            assert other.serial_s - 1e-6 <= other.seconds <= one.seconds + 1e-6
        assert one.serial_s == other.serial_s


def test_a_bounded_stage_is_one_number_whatever_its_runs_happened_to_take() -> None:
    noisy = [
        replace(run, driver_s={**run.driver_s, "report": 4.0 + number})
        for number, run in enumerate(RUNS)
    ]
    found = Costs.fitted(512, noisy, MOST).stages["report"]
    assert found.seconds(1e6, 1e9) == (5.0, 1.0)


def test_nothing_takes_less_than_no_time() -> None:
    falling = [replace(run, driver_s={**run.driver_s, "compare": 3.0 / run.tiles}) for run in RUNS]
    found = Costs.fitted(512, falling, MOST).stages["compare"].driver
    assert min(asdict(found).values()) >= 0


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
