"""Rank models over several data sets: average F1 decides, IoU breaks ties.

`noise2map rank TABLE … --output FILE`
"""

import json
from dataclasses import dataclass
from pathlib import Path

from noise2map_core.evaluation.ranking import (
    Ranked,
    rank_document,
    rank_models,
    rank_table,
    read_scores,
)
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.workflows.tools.rank import RankConfig


@dataclass(frozen=True)
class Ranks:
    """Who stands where, and the file that says so, if there is one."""

    ranked: list[Ranked]
    output: Path | None

    def summary(self) -> list[str]:
        """Lines for people."""
        written = [] if self.output is None else [f"ranks  {self.output}"]
        return [*rank_table(self.ranked), *written]


def run(config: RankConfig) -> Ranks:
    """Rank the models of all tables; the ranks are written as JSON, too. Raises ConfigError."""
    ranked = rank_models(score for path in config.tables for score in read_scores(path))
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(config.output, json.dumps(rank_document(ranked), indent=2) + "\n")
    return Ranks(ranked, config.output)
