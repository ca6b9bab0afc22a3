"""Settings of labels, and of the places to learn and to test."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, field_validator, model_validator

from noise2map_core.settings.numbers import (
    FiniteFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Seed,
)
from noise2map_core.settings.places import IsPath, PathText
from noise2map_core.settings.unused import require_unset

SplitName = Literal["train", "val", "test"]


_WHOLE = re.compile(r"^([+-]?\d+)\.0*$")
"""A whole number that is written with a point."""

Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
"""West, south, east, north in units of the grid's CRS."""


_FRACTIONS: dict[SplitName, float] = {"train": 0.7, "val": 0.15, "test": 0.15}

LabelTask = Literal["change", "segment", "both"]
"""What labels say: change from the first to the last date, a class at every date, or both."""


class RasterLabels(BaseModel):
    """Labels from rasters. Values not named here are not labelled; those that are named mean what
    is said here, even where the raster calls them nodata."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["raster"] = "raster"

    task: LabelTask = "change"
    """change: one raster says where there is change or, with `before`, it is where two rasters
    differ. segment: a class per date. both: classes per date, and change where they differ."""

    asset: str | None = None
    """Asset key of label items in the searched collection."""

    path: PathText | None = None
    """Or the path or URL of one GeoTIFF."""

    before: Annotated[str, IsPath(or_name=True)] | None = None
    """Asset key or path of the first date's raster, where each date has its own."""

    changed: tuple[int, ...] = (1,)
    """Values that mean changed, where one raster says it."""

    unchanged: tuple[int, ...] = (0,)
    """Values that mean unchanged."""

    classes: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Classes of a date, in the order of their numbers, each with the values that mean it."""

    ignored: tuple[int, ...] = ()
    """Values that are known to mean nothing: clouds, not looked at. Other values without a meaning
    are warned of, and refused where a class has not a pixel: its values may be misnamed."""

    attribution: str = ""
    """Whose the labels are, and their licence: "OpenStreetMap contributors (licence: ODbL-1.0)".
    Kept in the store; model cards name it."""

    @model_validator(mode="after")
    def _one_source(self) -> "RasterLabels":
        _require_one_source(self.asset, self.path)
        _require_before(self.task, self.before)
        values = [value for values in self.classes.values() for value in values]
        if set(self.changed) & set(self.unchanged) or len(set(values)) < len(values):
            raise ValueError("a value cannot mean two things, such as both changed and unchanged")
        if self.says_change:
            require_unset(self, ("classes",), "where one raster says the change")
            values = [*self.changed, *self.unchanged]
        else:
            require_unset(self, ("changed", "unchanged"), "where dates have classes")
            if len(self.classes) < 2:
                raise ValueError("classes of the dates are needed: set classes, each with values")
        if both := set(values) & set(self.ignored):
            raise ValueError(f"value {min(both)} has a meaning and is ignored: it is one or other")
        return self

    @property
    def says_change(self) -> bool:
        """Whether one source says where there is change; else dates have classes."""
        return self.task == "change" and self.before is None


class PolygonLabels(BaseModel):
    """Labels from polygons; what lies outside all of them is background, or unchanged. Polygons
    without a class are not labelled."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["polygons"] = "polygons"

    task: LabelTask = "change"
    """change: inside changed or, with `before`, where two sets of polygons differ. segment: a class
    per date. both: classes per date, and change where they differ."""

    path: PathText | None = None
    """GeoJSON, GeoParquet, GeoPackage, FlatGeobuf or Shapefile, in any CRS that it states."""

    asset: str | None = None
    """Or the asset key of label items in the searched collection, each with such a file."""

    before: Annotated[str, IsPath(or_name=True)] | None = None
    """Asset key or path of the first date's polygons."""

    layer: str | None = None
    """Layer of a GeoPackage; needed if it has several."""

    column: str | None = None
    """Property that names a polygon's class. None: all polygons are of one class."""

    classes: tuple[str, ...] = ()
    """Classes 1, 2, … by name; polygons of others are passed over. Empty: all that `column` holds,
    in alphabetical order, or `object`. Of change without `before`: the names that mean changed."""

    unchanged: tuple[str, ...] = ()
    """Of change without `before`: names in `column` that mean unchanged. If there are any, nothing
    is known outside of all polygons."""

    background: str = "background"
    """Name of class 0, which lies outside the polygons."""

    attribution: str = ""
    """Whose the labels are, and their licence: "OpenStreetMap contributors (licence: ODbL-1.0)".
    Kept in the store; model cards name it."""

    @field_validator("classes", "unchanged", mode="after")
    @classmethod
    def _plain_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple(map(class_name, names))
        if None in plain or len(set(plain)) < len(plain):
            raise ValueError("a name is empty, or stands there twice")
        return tuple(name for name in plain if name is not None)

    @model_validator(mode="after")
    def _one_source(self) -> "PolygonLabels":
        _require_one_source(self.asset, self.path)
        _require_before(self.task, self.before)
        if self.column is None and (len(self.classes) > 1 or self.unchanged):
            raise ValueError("several classes need column, the property that names them")
        if self.background in self.classes:
            raise ValueError(f"{self.background} is the name of class 0, set by background")
        if self.task == "change":
            require_unset(self, ("background",), "by labels of change, which have no classes")
        if self.says_change:
            self._require_meaning()
        else:
            require_unset(self, ("unchanged",), "where dates have classes")
        return self

    def _require_meaning(self) -> None:
        if self.column is None:
            require_unset(self, ("classes",), "by labels of change without column")
        if both := set(self.classes) & set(self.unchanged):
            raise ValueError(f"{min(both)} cannot mean both changed and unchanged")

    @property
    def says_change(self) -> bool:
        """Whether one source says where there is change; else dates have classes."""
        return self.task == "change" and self.before is None


def class_name(value: object) -> str | None:
    """A polygon's class by what its column holds: 1, 1.0 and "1" are one; None for nothing."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # of -0.0 and 1e16, too
    text = str(value).strip()
    return _WHOLE.sub(r"\1", text) or None


def _require_one_source(asset: str | None, path: str | None) -> None:
    if (asset is None) == (path is None):
        raise ValueError("set either asset or path")


def _require_before(task: LabelTask, before: str | None) -> None:
    if task == "both" and before is None:
        raise ValueError("task both needs the first date's labels: set before")


class NoLabels(BaseModel):
    """Imagery alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none"] = "none"


LabelsConfig = Annotated[RasterLabels | PolygonLabels | NoLabels, Discriminator("kind")]


class BlockSplit(BaseModel):
    """Square blocks of the grid, each given to one split by its place and the seed.

    A block keeps its split whatever the area of interest, so that a store can grow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    side_px: PositiveInt = 512
    """Side of a block, pixels; where blocks of different splits meet, both give up half the
    buffer."""

    fractions: dict[SplitName, PositiveFloat] = Field(default_factory=lambda: dict(_FRACTIONS))
    """Share of the blocks of each split, on average; they sum to 1."""

    seed: Seed = 0
    """Another seed gives other blocks to the splits."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> "BlockSplit":
        if abs(sum(self.fractions.values()) - 1) > 1e-6:
            raise ValueError(f"fractions sum to {sum(self.fractions.values()):g}, not to 1")
        return self


class SplitConfig(BaseModel):
    """Which places are for training, validation and testing: boxes, blocks or areas. Chips are
    never dealt out at random: neighbours know each other. None of these: everything is train."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    buffer_px: NonNegativeInt = 16
    """Least distance between chips of different splits, pixels."""

    boxes: dict[SplitName, tuple[Box, ...]] = Field(default_factory=dict)
    """Boxes (west, south, east, north; grid CRS) of train, val and test."""

    blocks: BlockSplit | None = None
    """Blocks of the grid."""

    areas: dict[SplitName, PathText] = Field(default_factory=dict)
    """File of polygons (GeoJSON, GeoParquet, …) of each split: chips that lie in them whole."""

    file: PathText | None = None
    """One file of polygons, of which `column` says the split."""

    column: str = "split"
    """Property of the polygons in `file` that holds train, val or test."""

    @model_validator(mode="after")
    def _one_way(self) -> "SplitConfig":
        ways = {"boxes": self.boxes, "blocks": self.blocks, "areas": self.areas, "file": self.file}
        if len(used := [name for name, value in ways.items() if value]) > 1:
            raise ValueError(f"{' and '.join(used)} are two ways to split: set one")
        if self.file is None:
            require_unset(self, ("column",), "without file")
        return self


class PlacesConfig(BaseModel):
    """Which whole places are for training, validation and testing, whatever the store says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    val: tuple[str, ...] = ()
    """Names of the places to choose epoch and threshold on, as the store has them."""

    test: tuple[str, ...] = ()
    """Names of the places that training does not see; the others, not named, are train. None
    named at all: the parts are the store's."""

    folds: int | None = Field(default=None, ge=2, le=1000)
    """Deal the places out into so many folds, and train one model for each, in OUTPUT/fold-0,
    fold-1, …: its places are test, those of the next fold val, the others train. None: one
    model."""

    @model_validator(mode="after")
    def _one_way(self) -> "PlacesConfig":
        if self.folds and (self.val or self.test):
            raise ValueError("folds deal out all places: leave val and test out")
        if twice := sorted(set(self.val) & set(self.test)):
            raise ValueError(f"{twice[0]} is of val and of test: name it once")
        if self.test and not self.val:
            raise ValueError("test without val: name places to choose epoch and threshold on")
        return self
