"""Invent places at two dates, with all that is on them known: chips to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from noise2map_core.chips.store import open_store
from noise2map_core.chips.summary import split_line
from noise2map_core.datasets.worlds import WorldRule, write_worlds
from noise2map_core.runtime.storage import Location
from noise2map_core.runtime.store_lease import hold_store
from noise2map_core.workflows.tools.draw_worlds import DrawWorldsConfig

GSD = {"buildings": 0.5, "land": 10.0}


@dataclass(frozen=True)
class DrawnWorlds:
    """What was drawn."""

    output: Location
    attributes: dict[str, Any]
    """Of the store."""

    def summary(self) -> list[str]:
        """Lines for people."""
        counts = self.attributes["counts"]
        return [
            *(split_line(split, part) for split, part in counts.items()),
            f"chips     {self.output}",
        ]


def run(config: DrawWorldsConfig) -> DrawnWorlds:
    """Write the store. Raises OutputMismatchError if something is there, and OutputHeldError if
    another run is writing there."""
    rule = WorldRule(
        family=config.family,
        count=config.count,
        seed=config.seed,
        chip_px=config.chip_px,
        gsd=config.resolution or GSD[config.family],
        gsd_spread=config.resolution_spread,
        val_share=config.val_share,
        all_classes=config.classes == "all",
    )
    with hold_store(config.output):
        write_worlds(rule, config.output)
    return DrawnWorlds(config.output, open_store(config.output).attributes)
