"""Sweeps: the Pareto front, the winner as a config, folders of something else."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.cli.application import parse_config
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from noise2map_core.search.results import SearchSchedulesResult
from noise2map_core.search.space import SearchSpace, read_space
from noise2map_core.search.sweep import (
    Status,
    Sweep,
    Trial,
    importance_of,
    open_sweep,
    pareto_front,
    settings_of,
    winner_of,
    write_winner,
)
from noise2map_core.workflows.compare_trials import CompareTrialsConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig, TrialSettings
from tune.compare_trials import run as compare

SCHEDULE, RATE = "change.diffusion.schedule", "training.learning_rate"
LABELS = ("linear", "sigmoid", "squared_cosine")


def trial_of(
    number: int, f1: float | None, ms: float | None, status: Status = "full", **point: object
) -> Trial:
    return Trial(number, status, dict(point), 9, f1, 0.01, 1.0, ms)


def sweep_of(folder: Path, space: SearchSpace | None = None, digest: str = "a") -> Sweep:
    space = space or read_space("quick")
    return Sweep(folder, "quick", space, TrialSettings(), "/chips.zarr", 3, digest)


SCORES = st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.9])
STATUSES = st.sampled_from(["full", "pruned", "failed"])


@given(st.lists(st.tuples(SCORES, st.sampled_from([1.0, 2.0, 3.0, 5.0]), STATUSES), max_size=12))
def test_the_front_is_what_no_full_trial_beats(drawn: list[tuple[float, float, Status]]) -> None:
    trials = [trial_of(i, f1, ms, status) for i, (f1, ms, status) in enumerate(drawn)]
    full = [trial for trial in trials if trial.status == "full"]

    def beaten(one: Trial) -> bool:
        return any(
            other.f1 >= one.f1 and other.ms_per_chip <= one.ms_per_chip  # type: ignore[operator]
            and (other.f1, other.ms_per_chip) != (one.f1, one.ms_per_chip)
            for other in full
        )  # fmt: skip

    front = pareto_front(trials)
    assert {trial.number for trial in front} == {t.number for t in full if not beaten(t)}
    assert [trial.ms_per_chip for trial in front] == sorted(t.ms_per_chip or 0 for t in front)


def test_a_pruned_trial_wins_nothing_however_good_it_looked() -> None:
    trials = [trial_of(1, 0.9, None, "pruned"), trial_of(2, 0.5, 1.0), trial_of(3, None, None)]
    assert winner_of(trials) == trials[1]
    assert pareto_front(trials) == [trials[1]]
    assert winner_of(trials[:1]) is None


def test_a_class_predicted_everywhere_wins_over_nothing_better(tmp_path: Path) -> None:
    chance = replace(trial_of(1, 0.658, 1.0), doubts="kappa is 0.000")
    modest, failed = trial_of(2, 0.31, 2.0), trial_of(3, None, None)
    assert winner_of([chance, modest, failed]) == modest
    assert pareto_front([chance, modest, failed]) == [modest]
    worse = replace(trial_of(4, 0.6, 3.0), doubts="kappa is 0.000")
    assert winner_of([worse, chance, failed]) == chance  # the least bad; it is said
    assert pareto_front([worse, chance, failed]) == [chance]
    assert "no better than chance" in write_winner(sweep_of(tmp_path), chance).read_text()
    result = SearchSchedulesResult([chance, failed], chance, tmp_path / "winner.yaml", True)
    told = "\n".join(result.summary())
    assert "WARNING: trial 1 is no better than chance: kappa is 0.000" in told
    assert "least bad trial 1" in told and "winner  trial" not in told


@pytest.mark.parametrize("name", ["quick", "full", "ablation_schedules"])
def test_the_winner_is_a_config_that_finetune_maps_takes(tmp_path: Path, name: str) -> None:
    space = read_space(name)
    sweep = sweep_of(tmp_path, space)
    for number, (_, point) in enumerate(list(space.examples())[::7], start=1):
        trial = trial_of(number, 0.5, 1.0, **point)
        config = parse_config(FinetuneMapsConfig, [str(write_winner(sweep, trial))])
        told = settings_of(sweep, trial)
        assert config.change == told.change and config.model == told.model
        assert config.training == told.training and config.training.epochs == space.epochs
        assert (str(config.chips), config.seed) == ("/chips.zarr", 3)


def test_a_folder_of_another_space_is_refused_and_left_alone(tmp_path: Path) -> None:
    sweep_of(tmp_path).save(finished=False)
    assert sweep_of(tmp_path).earlier() is None
    before = (tmp_path / "sweep.json").read_bytes()
    with pytest.raises(OutputMismatchError, match="nothing was touched"):
        sweep_of(tmp_path, digest="b").earlier()
    assert (tmp_path / "sweep.json").read_bytes() == before


def test_what_is_no_finished_sweep_is_not_compared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no sweep"):
        open_sweep(tmp_path)
    sweep_of(tmp_path).save(finished=False)
    with pytest.raises(ConfigError, match="not finished"):
        open_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_sweep(tmp_path)


def test_importance_finds_the_parameter_that_decides() -> None:
    """F1 follows from the schedule alone; the rate changes nothing."""
    space = read_space("quick")
    trials = [
        trial_of(i, 0.3 * LABELS.index(label), 1.0, **{SCHEDULE: label, RATE: 1e-3 * (1 + i % 5)})
        for i, label in enumerate(LABELS * 10)
    ]
    found = importance_of(space, trials)
    assert found[SCHEDULE] > 2 * found[RATE]
    assert importance_of(space, trials[:2]) == {}


def test_a_comparison_leaves_tables_and_pictures(tmp_path: Path) -> None:
    points = [
        {"change.diffusion.corruption": "none", SCHEDULE: label, RATE: 1e-3} for label in LABELS
    ]
    trials = [trial_of(i, 0.3 + 0.1 * i, 2.0 + i, **point) for i, point in enumerate(points, 1)]
    trials.append(trial_of(4, 0.9, None, "pruned", **points[0]))
    sweep_of(tmp_path).save(trials, finished=True)
    result = compare(CompareTrialsConfig(sweep=tmp_path))
    assert {path.name for path in result.folder.iterdir()} == {
        "trials.csv", "comparison.json", "heat_map.png", "pareto.png",
    }  # fmt: skip
    assert result.winner.number == 3 and [trial.number for trial in result.front] == [1, 2, 3]
    table = (result.folder / "trials.csv").read_text().splitlines()
    assert len(table) == 5 and table[1].startswith("3,full,9,0.6")
    assert any(line.startswith("    3* full") for line in result.summary())
