"""Compare the trials of a sweep: table, F1 over schedule and timestep, F1 against time, winner."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("compare-trials")  # settings first: what is imported below takes seconds

from noise2map_core.search.comparison import CompareTrialsResult, write_tables
from noise2map_core.search.figures import schedule_cells, write_heat_map, write_pareto_plot
from noise2map_core.search.sweep import full_trials, open_sweep, require_optuna, write_winner
from noise2map_core.workflows.compare_trials import CompareTrialsConfig


def run(config: CompareTrialsConfig) -> CompareTrialsResult:
    """Read the sweep, judge its trials, write tables, pictures and the winner."""
    sweep, trials = open_sweep(config.sweep)
    require_optuna()
    result = CompareTrialsResult.of(sweep, trials)
    result.folder.mkdir(exist_ok=True)
    cells = schedule_cells(sweep, result.trials)
    title = f"{sweep.name}: {len(full_trials(trials))} full trials"
    write_heat_map(result.folder / "heat_map.png", cells, title)
    write_pareto_plot(result.folder / "pareto.png", result.trials, title)
    write_tables(result, sweep.space)
    write_winner(sweep, result.winner)
    return result
