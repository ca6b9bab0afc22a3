"""What a map is of, and from what it was made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.products.vectors.polygons import Dates
from noise2map_core.report.pages import Table


@dataclass(frozen=True)
class MapSubject:
    """What a map is of and from."""

    aoi: AreaOfInterest
    before: Sequence[Scene]
    """Scenes of the first date; none for a map of one date."""
    after: Sequence[Scene]
    bands: Sequence[str]
    classes: list[dict[str, Any]]
    """Class table: value, name, color ("#rrggbb"). The first class is the background."""
    model: dict[str, str]
    """What the report and the item say of the model: name → text."""
    task: Literal["change", "segment"] = "change"
    mlm: dict[str, Any] = field(default_factory=dict)
    """The model in the terms of STAC's mlm extension, properties by name."""
    document: dict[str, Any] = field(default_factory=dict)
    """The model as its checkpoint describes it, with the digest of its weights; empty for a
    detector."""
    scores: Table = ()
    """What the model's card says of how good it is: the table's header, then its rows."""
    decided_from: float | None = None
    """Probability from which a pixel has the second class, or is changed; None: classes do not
    follow from one probability."""
    holes: int = 0
    """Tiles that could not be made."""

    @property
    def epochs(self) -> dict[str, tuple[Sequence[Scene], datetime]]:
        """What the images are called, with their scenes and latest acquisition, earlier first."""
        named = (
            {"before": self.before, "after": self.after} if self.before else {"image": self.after}
        )
        return {
            name: (scenes, max(scene.datetime for scene in scenes))
            for name, scenes in named.items()
        }

    @property
    def dates(self) -> Dates:
        """The latest acquisition of each date."""
        *earlier, (_, after) = self.epochs.values()
        return Dates(earlier[0][1] if earlier else None, after)

    @property
    def title(self) -> str:
        """Area and dates in one line."""
        dates = " → ".join(f"{date:%Y-%m-%d}" for _, date in self.epochs.values())
        return f"{self.aoi.name}: {dates}"

    @property
    def scenes(self) -> list[Scene]:
        """All of them."""
        return [*self.before, *self.after]

    @property
    def attribution(self) -> list[str]:
        """Whom to name, once each, in order."""
        return list(dict.fromkeys(scene.attribution for scene in self.scenes))

    @property
    def names(self) -> dict[int, str]:
        """Class names by value."""
        return {entry["value"]: entry["name"] for entry in self.classes}

    @property
    def colors(self) -> dict[int, str]:
        """Class colours ("#rrggbb") by value."""
        return {entry["value"]: entry["color"] for entry in self.classes}

    @property
    def directions(self) -> dict[int, tuple[str, str]]:
        """Of classes that are kinds of change, the names of what was before and what is after;
        empty for other maps."""
        return {
            entry["value"]: (entry["before"], entry["after"])
            for entry in self.classes
            if "after" in entry
        }

    def found(self, counts: NDArray[np.int64]) -> dict[int, str]:
        """The classes that legends name: those sought; of kinds of change, which are many, those
        with pixels, by counts [256]."""
        return {
            value: name
            for value, name in self.sought.items()
            if value not in self.directions or counts[value]
        }

    @property
    def sought(self) -> dict[int, str]:
        """The classes that become polygons: all but the background."""
        return dict(list(self.names.items())[1:])
