"""Make pairs of dates from chips of one date with masks, so that change can be learnt from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from noise2map_core.chips.store import open_store
from noise2map_core.chips.summary import split_line
from noise2map_core.datasets.mask_pairs import PairRule, pairs_header, write_pairs
from noise2map_core.runtime.storage import Location
from noise2map_core.runtime.store_lease import hold_store
from noise2map_core.workflows.tools.pair_chips import PairChipsConfig


@dataclass(frozen=True)
class PairChipsResult:
    """What was made."""

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


def run(config: PairChipsConfig) -> PairChipsResult:
    """Write the pairs. Raises ChipStoreError, OutputMismatchError if something is there, and
    OutputHeldError if another run is writing there."""
    singles = [open_store(path) for path in config.chips]
    pairs = [open_store(path) for path in config.pairs]
    rule = PairRule(config.per_chip, config.paste, config.seed)
    pairs_header(singles, rule, pairs)  # what does not fit is refused before anything is written
    with hold_store(config.output):
        write_pairs(singles, rule, config.output, pairs)
    return PairChipsResult(config.output, open_store(config.output).attributes)
