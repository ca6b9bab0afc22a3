"""What a map is of, and from what it was made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.mapping.polygons import Dates


@dataclass(frozen=True)
class MapSubject:
    """What a map is of and from."""

    aoi: AreaOfInterest
    before: Sequence[Scene]
    after: Sequence[Scene]
    bands: Sequence[str]
    classes: list[dict[str, Any]]
    """Class table: value, name, color ("#rrggbb")."""
    model: dict[str, str]
    """What the report and the item say of the model: name → text."""

    @property
    def dates(self) -> Dates:
        """The latest acquisition of each date."""
        before, after = (
            max(scene.datetime for scene in scenes) for scenes in (self.before, self.after)
        )
        return Dates(before, after)

    @property
    def title(self) -> str:
        """Area and dates in one line."""
        dates = self.dates
        return f"{self.aoi.name}: {dates.before:%Y-%m-%d} → {dates.after:%Y-%m-%d}"

    @property
    def attribution(self) -> list[str]:
        """Whom to name, once each, in order."""
        return list(dict.fromkeys(s.attribution for s in [*self.before, *self.after]))
