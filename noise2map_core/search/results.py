"""What a sweep came to, for people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noise2map_core.learning.skill import warning
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.search.sweep import Sweep, Trial, winner_of, write_winner


@dataclass(frozen=True)
class SearchSchedulesResult:
    """What a sweep came to."""

    trials: list[Trial]
    winner: Trial
    config: Path
    """The winner's settings, for finetune-maps."""
    searched: bool
    """False: the output was finished already."""

    @classmethod
    def of(cls, sweep: Sweep, trials: list[Trial], *, searched: bool) -> SearchSchedulesResult:
        """What trials came to; writes the winner's settings. Raises Noise2MapError without one."""
        winner = winner_of(trials)
        if winner is None:
            raise Noise2MapError(
                f"no trial of {sweep.folder} reached its full budget; the first failed: "
                f"{next((trial.reason for trial in trials if trial.reason), 'no reason given')}"
            )
        return cls(trials, winner, write_winner(sweep, winner), searched)

    def summary(self) -> list[str]:
        """Lines for people."""
        done = "" if self.searched else "nothing to do: searched already with the same settings"
        count = {
            status: sum(trial.status == status for trial in self.trials)
            for status in ("full", "pruned", "failed")
        }
        failures = [
            f"trial {trial.number} failed: {trial.reason}"
            for trial in self.trials
            if trial.status == "failed"
        ]
        point = ", ".join(f"{name} {value}" for name, value in self.winner.point.items())
        chance = [trial for trial in self.trials if trial.status == "full" and trial.doubts]
        won = "least bad" if self.winner.doubts else "winner "
        lines = [
            f"trials  {', '.join(f'{number} {status}' for status, number in count.items())}",
            *(warning(f"trial {trial.number}", trial.doubts) for trial in chance),
            f"{won} trial {self.winner.number}, validation F1 {self.winner.f1:.3f}: {point}",
            f"config  {self.config}",
            f"compare-trials {self.config.parent} shows all of them",
        ]
        return [line for line in (done, *failures, *lines) if line]
