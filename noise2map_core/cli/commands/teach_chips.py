"""Label chips of pairs by a detector of change, so that a network can be taught without people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from noise2map_core.chips.store import open_store
from noise2map_core.chips.summary import split_line
from noise2map_core.runtime.storage import Location
from noise2map_core.training.teaching import Lesson, School, fit_teacher
from noise2map_core.workflows.tools.teach_chips import TeachChipsConfig


@dataclass(frozen=True)
class TeachChipsResult:
    """What was labelled."""

    output: Location
    attributes: dict[str, Any]
    """Of the store."""

    def summary(self) -> list[str]:
        """Lines for people."""
        counts = self.attributes["counts"]
        return [
            *(split_line(split, part) for split, part in counts.items()),
            f"labels    {', '.join(self.attributes['labels_from'])}",
            f"chips     {self.output}",
        ]


def run(config: TeachChipsConfig) -> TeachChipsResult:
    """Write the store. Raises ChipStoreError, PairRejectedError, OutputMismatchError if something
    is there, and OutputHeldError if another run is writing there."""
    store = open_store(config.chips)
    block_px = config.block_px or 2 * int(store.attributes["chip_px"])
    lesson = Lesson(0.5, config.margin_px, block_px, config.false_alarms)
    school = School.of(store, fit_teacher(store, config.teacher), lesson)
    school.write(school.sure_pixels(), None, config.output)
    return TeachChipsResult(config.output, open_store(config.output).attributes)
