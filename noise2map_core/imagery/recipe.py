"""How the pixels of a date come about: a value that is stored, compared and sent to workers."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.clouds.suspicion import Suspicion
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.imagery import CompositeConfig, MaskConfig
from noise2map_core.settings.unused import changed

DETECTION_VERSION = 1
"""Raised when the same answers of a detector hide other pixels."""


class Correction(BaseModel):
    """What is done to the second date so that it compares with the first."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    gain: tuple[float, ...] = ()
    """Per band: new = gain · number + offset. Empty: numbers stay."""
    offset: tuple[float, ...] = ()
    knots: tuple[tuple[tuple[float, float], ...], ...] = ()
    """Per band, in place of gain and offset: (number, new number), linear between them and flat
    beyond."""
    shift_px: tuple[float, float] = (0.0, 0.0)
    """Rows and columns by which the second date lies off the first, pixels of the grid."""

    @property
    def is_nothing(self) -> bool:
        """True if numbers and place stay."""
        return not self.gain and not self.knots and self.shift_px == (0.0, 0.0)


class PixelRecipe(BaseModel):
    """Composite, mask, correction and suspicion of a pair. Picklable; by default nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    composite: CompositeConfig = Field(default_factory=CompositeConfig)
    mask: MaskConfig = Field(default_factory=lambda: MaskConfig(use="off"))
    """`on` or `off`: decided from the scenes by `plan_recipe`."""
    correction: Correction = Field(default_factory=Correction)
    """Of the last date."""
    suspicion: Suspicion | None = None
    """What clouds are suspected by that no mask knows; None: none are."""

    @property
    def masked(self) -> bool:
        """True if masks are read."""
        return self.mask.use != "off"

    @property
    def reach_px(self) -> int:
        """How far around a window is read, so that what is suspected does not depend on it."""
        return 0 if self.suspicion is None else self.suspicion.reach_px

    def key(self) -> dict[str, Any]:
        """What moves pixels, for the keys of tiles and stores; empty for the default."""
        parts: dict[str, Any] = {}
        if self.composite.kind != "first":
            parts["composite"] = self.composite.kind
        if self.composite.of(last=False) != self.composite.kind:
            parts["composite_before"] = self.composite.before
        if self.masked:
            parts["mask"] = self.mask.model_dump(mode="json")
        if not self.correction.is_nothing:
            parts["correction"] = self.correction.model_dump(mode="json")
        if self.suspicion is not None:
            parts["suspicion"] = self.suspicion.model_dump(mode="json")
        return parts


UNCHANGED = PixelRecipe()
"""The latest scene that shows a pixel gives it, as it is."""


def plan_recipe(
    composite: CompositeConfig, mask: MaskConfig, scenes: Sequence[Scene]
) -> PixelRecipe:
    """The recipe for these scenes, without correction. Where clouds are detected, too, some scenes
    may do without a mask.

    Raises ConfigError if a mask is asked for, or some scenes have one, and others have none.
    """
    without = [scene for scene in scenes if scene.mask is None]
    detected = any(scene.detection is not None for scene in scenes)
    unread = [name for name in changed(mask) if not (detected and name == "dilate_px")]
    if mask.use == "auto" and len(without) == len(scenes) and unread:
        raise ConfigError(
            f"mask.{unread[0]} is set, but no scene has a mask that is known (SCL, QA_PIXEL). "
            "Leave it out."
        )
    if mask.use == "off" or (mask.use == "auto" and len(without) == len(scenes)):
        return PixelRecipe(composite=composite, mask=MaskConfig(use="off"))
    if without and not (detected and mask.use == "auto"):
        raise ConfigError(
            f"item {without[0].id} has no mask that is known (SCL, QA_PIXEL), "
            f"and {len(without) - 1} more. Set mask.use to off."
        )
    return PixelRecipe(composite=composite, mask=mask.model_copy(update={"use": "on"}))


def scene_key(scene: Scene, identities: dict[str, str], recipe: PixelRecipe) -> list[list[Any]]:
    """What the pixels of a scene depend on: bytes, band and nodata of each source, the mask's too
    where it is used, and the offset where one is taken off; how its clouds are detected."""
    mask = (scene.mask.source,) if recipe.masked and scene.mask is not None else ()
    key = [_source_key(source, identities) for source in (*scene.bands, *mask)]
    return [*key, *_detection_key(scene, identities)]


def _detection_key(scene: Scene, identities: dict[str, str]) -> list[list[Any]]:
    """Of what clouds are detected by and in; empty if they are not."""
    detection = scene.detection
    if detection is None:
        return []
    by = [detection.detector, detection.version, detection.level, detection.grow_px]
    return [
        ["detector", DETECTION_VERSION, *by],
        *([band.name, *_source_key(band, identities), band.scale, band.offset]
          for band in detection.bands),
    ]  # fmt: skip


def _source_key(source: BandSource, identities: dict[str, str]) -> list[Any]:
    key = [identities[source.href], source.band, source.nodata]
    return [*key, source.added_dn] if source.added_dn else key
