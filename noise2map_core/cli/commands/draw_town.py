"""Invent a town from above, at two dates, with every building known: scenes to try things on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.cli.application import application
from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.numbers import Seed

if TYPE_CHECKING:
    from noise2map_core.testing.town_catalog import TownCatalog


class DrawTownConfig(BaseModel):
    """Invent a town: RGB, 0.3 m, two dates."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output: LocalPath
    """Directory for the catalogue, catalog.json, and the area, aoi.geojson."""

    size_px: int = Field(default=1024, ge=64, le=8192)
    """Side of the town, pixels."""

    seed: Seed = 0
    """Another seed is another town."""


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


def main() -> None:
    """The command `noise2map draw-town`."""
    application(DrawTownConfig, run)


def run(config: DrawTownConfig) -> DrawnTown:
    """Write the catalogue; one that is there is written anew."""
    from noise2map_core.testing.town_catalog import write_town

    return DrawnTown(write_town(config.output, size_px=config.size_px, seed=config.seed))
