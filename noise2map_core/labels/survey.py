"""What the labels of chips hold, to find settings that do not fit them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from noise2map_core.labels.sources import Labels, LabelSource
from noise2map_core.runtime.errors import ConfigError

TASK = "label_"
MOST_LISTED = 8


@dataclass
class LabelSurvey:
    """Which classes there are, and which values have no meaning; added up as labels are read."""

    seen: dict[str, set[int]] = field(default_factory=dict)
    """Classes with a pixel, 255 among them, of each task."""
    unnamed: set[float] = field(default_factory=set)
    """Values of rasters that the settings name for nothing."""

    def add(self, found: Mapping[str, Labels], where: NDArray[np.bool_]) -> None:
        """Count labels [..., H, W] of some chips, which show the pixels `where` [H, W]."""
        for name, labels in found.items():
            values = np.unique(labels[..., where]).tolist()
            self.seen.setdefault(name.removeprefix(TASK), set()).update(values)

    def add_unnamed(self, values: NDArray[np.generic], where: NDArray[np.bool_]) -> None:
        """Count values [H, W] that mean nothing `where` they do."""
        self.unnamed.update(np.unique(values[where]).tolist())

    def warnings(self, labels: LabelSource) -> list[str]:
        """What does not look right, a line each.

        Raises ConfigError if a class has no pixel and there are values that no setting names: most
        likely they are what the class is, by another number.
        """
        empty = [
            str(entry["name"])
            for task, table in labels.classes.items()
            for entry in table
            if entry["value"] not in self.seen.get(task, set())
        ]
        unnamed = _listed(sorted(self.unnamed))
        if empty and unnamed:
            raise ConfigError(
                f"labels have no pixel of class {', '.join(empty)}, but hold {unnamed}, which no "
                "setting names. Name it in labels.changed, unchanged or classes or, if it means "
                "nothing, in labels.ignored."
            )
        lines = [f"no pixel is of class {name}" for name in empty]
        if unnamed:
            lines.append(f"{unnamed} has no meaning in the settings, and is not labelled")
        if others := labels.passed_over:
            lines.append(f"polygons of {_listed(others)} are of no class, and are passed over")
        return [f"warning: labels: {line}" for line in lines]


def _listed(values: list[float] | list[str]) -> str:
    texts = [f"{value:g}" if isinstance(value, float | int) else value for value in values]
    more = f" and {len(texts) - MOST_LISTED} more" if len(texts) > MOST_LISTED else ""
    return ", ".join(texts[:MOST_LISTED]) + more
