"""Settings of nights: the areas, and how often their past is kept."""

from datetime import date
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.alerts import AlarmConfig, AlertsConfig
from noise2map_core.settings.catalog import BEST, SearchConfig
from noise2map_core.settings.delivery import DeliveryConfig
from noise2map_core.settings.imagery import CompositeConfig
from noise2map_core.settings.network import Checkpoint
from noise2map_core.settings.numbers import Days, PositiveInt
from noise2map_core.settings.places import AreSettingsOf
from noise2map_core.workflows.launch import Workflow
from noise2map_core.workflows.pixels import RegionConfig

MAX_YEARS = 20
MAX_AROUND = 182
DAYS_OF_YEAR = 365
AREA_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""What stands in paths and in links."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FixedPair(_Section):
    """Every slice is compared with the same dates."""

    kind: Literal["fixed"] = "fixed"
    baseline: str
    """Date or date range, "2023-06-01/2023-08-31"; ends before `since`."""

    @field_validator("baseline")
    @classmethod
    def _not_chosen(cls, dates: str) -> str:
        if dates.strip().startswith(BEST):
            raise ValueError(
                'nights choose no "best" date, their windows decide; write a date or a date range'
            )
        return dates


class RollingPair(_Section):
    """Every slice is compared with what was some days before. Confirms nothing: it sees a change
    once; later it is on both dates."""

    kind: Literal["rolling"]
    gap_days: Days
    """From the window of the earlier date to that of the later; not less than `window_days`."""


class SeasonPair(_Section):
    """Every slice is compared with the same days of the year before, or of several years."""

    kind: Literal["season"]

    years: Annotated[int, Field(ge=1, le=MAX_YEARS)] = 1
    """Years before that count. Of several, what is compared is, per pixel, the median of all their
    looks that are neither hidden nor without data, unless composite.before says otherwise: a cloud
    that no mask knew, or one odd summer, does not get through."""

    around_days: Annotated[int, Field(ge=0, le=MAX_AROUND)] = 0
    """So many days before and after those days count, too: in the years before, one day alone has
    seldom been seen. 15 is usual."""

    def require_apart(self, window_days: int) -> None:
        """Raise ValueError if the days of one year reach into those of the next."""
        if window_days + 2 * self.around_days > DAYS_OF_YEAR:
            raise ValueError(
                f"window_days and twice pair.around_days must not exceed {DAYS_OF_YEAR}: the days "
                "of the years overlap"
            )


Pair = Annotated[FixedPair | RollingPair | SeasonPair, Field(discriminator="kind")]


class AreaConfig(RegionConfig):
    """One area that is watched. What infer-region knows, too, is as there; of `products`, the
    collection is the area's own."""

    id: str = Field(pattern=f"^{AREA_ID}$")
    """Name of the area and of its folder: letters, digits, - and _."""

    aoi: LocalPath
    """Area of interest: a file of polygons, or a box, as of infer-region."""

    sensor: str
    """One of `sensors`."""

    checkpoint: Checkpoint
    """Directory that finetune-maps wrote, the name of a checkpoint that ships (buildings, land), or
    a detector: mad, irmad, cva. It has to know the task change, or to segment: its maps of two
    dates are compared then (inference.compare)."""

    since: date
    """First day that may become a slice."""

    pair: Pair
    """What a slice is compared with. A change is confirmed by further looks only if each can see it
    again: fixed can, and season, of one year or of several, with window_days 1, so that no image
    counts twice. rolling cannot: it sees a change once, since later the change is on both dates.
    Against one year before, a change is seen for a year; against the median of several, longer."""

    window_days: Days | None = None
    """A slice shows the imagery of so many days, up to its own. 1: looks of one day each, by which
    a change can be confirmed. None: all since `since`, which only a fixed baseline allows."""

    time_zone: str = "UTC"
    """Whose days are the slices' days: "Europe/Zurich"."""

    withdrawn: Literal["refuse", "accept"] = "refuse"
    """What to do if the catalogue lacks items that the newest slice was made from: name them and
    leave the area alone, or make that slice again without them."""

    alarm: AlarmConfig = Field(default_factory=AlarmConfig)
    """When a night is implausible."""

    alerts: AlertsConfig | None = None
    """Follow each pixel from day to day, so that change is confirmed by further looks, and write
    alerts. Needs slices of one day (window_days: 1): a longer window shows old imagery again, which
    is no further look. And a baseline that stays: fixed, or a season. A rolling one sees a change
    once, between the dates around it; a few days on it is on both, and nothing could confirm it.
    None: no alerts."""

    delivery: DeliveryConfig = Field(default_factory=DeliveryConfig)
    """Who is told of the area's alerts."""

    output: LocalPath | None = None
    """Folder of the area. None: one with its id, in the output of the nights."""

    keep_last: PositiveInt | None = None
    """`noise2map prune` keeps so many of the newest slices. None: all."""

    keep_first_of: Literal["year", "month", "never"] = "month"
    """... and, of older ones, the first of each month or year."""

    @property
    def slice_composite(self) -> CompositeConfig:
        """How the scenes of a slice's dates become pictures: of several years, the median."""
        several = self.pair.kind == "season" and self.pair.years > 1
        if not several or self.composite.before is not None:
            return self.composite
        return self.composite.model_copy(update={"before": "median"})

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                'there is no such time zone; write one as "UTC" or "Europe/Zurich"'
            ) from None
        return name

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        if self.pair.kind != "fixed" and self.window_days is None:
            raise ValueError(f"a {self.pair.kind} pair needs window_days")
        if self.pair.kind == "rolling" and self.pair.gap_days < (self.window_days or 0):
            raise ValueError("pair.gap_days must not be less than window_days: the dates overlap")
        if self.pair.kind == "season":
            self.pair.require_apart(self.window_days or 0)
        if self.products.collection is not None:
            raise ValueError("products.collection is the area's own; leave it out")
        return self

    @model_validator(mode="after")
    def _alerts_can_confirm(self) -> Self:
        if self.alerts is None:
            if self.delivery != DeliveryConfig():
                raise ValueError("delivery tells of alerts: set alerts, or leave delivery out")
            return self
        if self.pair.kind == "rolling":
            raise ValueError(
                "alerts need a baseline that stays, and that of a rolling pair moves past every "
                "change: no look could confirm one. Set pair.kind to fixed or season, or leave "
                "alerts out"
            )
        if self.window_days != 1:
            raise ValueError(
                f"alerts need window_days: 1, and it is {self.window_days}: in a longer window old "
                "imagery would count as a look again. Set it to 1, or leave alerts out"
            )
        return self


class WebhookConfig(_Section):
    """Whom to tell."""

    url_variable: str | None = None
    """Variable of the environment that holds the address to which the summary is posted as JSON.
    Not the address itself: most hold a key. None: nobody."""

    attempts: PositiveInt = 5
    """Tries in all, with growing pauses, if there is no answer or one of 429 or 5xx."""


class NightlyConfig(_Section):
    """Map every area that has new imagery; to be called every night by a scheduler."""

    output: LocalPath
    """Folder of the nights: the summary, and a folder for each area."""

    sensors: dict[str, SearchConfig]
    """Where the imagery of each sensor is, by the sensor's name: catalog, collection, filter."""

    areas: Annotated[tuple[dict[str, Any], ...], AreSettingsOf(AreaConfig)] = Field(min_length=1)
    """The areas: id, aoi, sensor, checkpoint, since, pair, and what else they set. Alerts can be
    confirmed with a pair of kind fixed, or season (of one year or, by `years`, of several), and
    window_days 1; not with rolling, which sees a change once: later it is on both dates."""

    defaults: Annotated[dict[str, Any], AreSettingsOf(AreaConfig)] = Field(default_factory=dict)
    """Settings of all areas that do not set them themselves."""

    until: date | None = None
    """Take the catalogue as it was at the end of this day, by the times of its items. None: now."""

    dashboard: str | None = None
    """Address of a Ray dashboard ("http://127.0.0.1:8265"): each slice is a job there. None: a
    process here, which connects to RAY_ADDRESS or starts Ray itself."""

    dry_run: bool = False
    """Only print the plan: slices, and the tiles to be predicted."""

    webhook: WebhookConfig = Field(default_factory=WebhookConfig)
    """Who is told of the night."""


WORKFLOW = Workflow(NightlyConfig)
