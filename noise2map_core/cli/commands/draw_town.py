"""Invent a town from above, at two dates, with every building known: scenes to try things on."""

from __future__ import annotations

from dataclasses import dataclass

from noise2map_core.testing.town_catalog import TownCatalog, write_town
from noise2map_core.workflows.tools.draw_town import DrawTownConfig


@dataclass(frozen=True)
class DrawnTown:
    """What was drawn."""

    town: TownCatalog

    def summary(self) -> list[str]:
        """Lines for people."""
        town = self.town
        return [
            f"catalogue  {town.catalog}, collection {town.collection}",
            f"area       {town.aoi}",
            f"dates      {town.before}, {town.after}",
        ]


def run(config: DrawTownConfig) -> DrawnTown:
    """Write the catalogue; one that is there is written anew."""
    return DrawnTown(write_town(config.output, size_px=config.size_px, seed=config.seed))
