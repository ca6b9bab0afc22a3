"""Make pairs of dates from chips of one date with masks, so that change can be learnt from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.cli.application import application
from noise2map_core.runtime.storage import Location
from noise2map_core.settings.numbers import PositiveInt, Seed


class PairChipsConfig(BaseModel):
    """Make pairs of dates from chips of one date with masks.

    The new store has labels of change (where the masks differ) and of segment (of both dates):
    finetune-maps, evaluate-maps and all others take it like any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chips: tuple[Location, ...] = Field(min_length=1)
    """Chip stores of one date with labels of segment, all with the same bands, classes and pixels.
    Both chips of a pair are of one store and one split."""

    output: Location
    """The chip store to write."""

    per_chip: PositiveInt = 4
    """Pairs that each chip is the first of, each with another partner."""

    paste: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the pairs that show one place, with objects of the other pasted in or removed; the
    others show two places."""

    seed: Seed = 0
    """Seed of partners, kinds and orders."""


@dataclass(frozen=True)
class PairChipsResult:
    """What was made."""

    output: Location
    attributes: dict[str, Any]
    """Of the store."""

    def summary(self) -> list[str]:
        """Lines for people."""
        from noise2map_core.chips.summary import split_line

        counts = self.attributes["counts"]
        return [
            *(split_line(split, part) for split, part in counts.items()),
            f"chips     {self.output}",
        ]


def main() -> None:
    """The command `noise2map pair-chips`."""
    application(PairChipsConfig, run)


def run(config: PairChipsConfig) -> PairChipsResult:
    """Write the pairs. Raises ChipStoreError, OutputMismatchError if something is there, and
    OutputHeldError if another run is writing there."""
    from noise2map_core.chips.store import open_store
    from noise2map_core.datasets.mask_pairs import PairRule, pairs_header, write_pairs
    from noise2map_core.runtime.store_lease import hold_store

    stores = [open_store(path) for path in config.chips]
    rule = PairRule(config.per_chip, config.paste, config.seed)
    pairs_header(stores, rule)  # what does not fit is refused before anything is written
    with hold_store(config.output):
        write_pairs(stores, rule, config.output)
    return PairChipsResult(config.output, open_store(config.output).attributes)
