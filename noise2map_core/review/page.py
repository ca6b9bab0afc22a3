"""The page on which alerts are looked at: pairs of pictures, numbers, verdicts by keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from noise2map_core.delivery.messages import area_text
from noise2map_core.report.pages import render
from noise2map_core.review.package import REASONS
from noise2map_core.review.pictures import Album, Pair
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.redact import redacted


@dataclass(frozen=True)
class Card:
    """One alert on the page. Plain text throughout."""

    number: int
    object_id: str
    status: str
    headline: str
    rows: list[tuple[str, str]]
    """What is known: name, number."""
    pair: Pair
    verdict: str
    reason: str
    reviewer: str


@dataclass(frozen=True)
class ReviewPage:
    """All that the page says."""

    title: str
    summary: str
    key: str
    """Under which a browser keeps what was not saved."""
    cards: list[Card]
    reasons: tuple[str, ...] = REASONS


def write_page(path: Path, area: str, alerts: gpd.GeoDataFrame, album: Album, most: int) -> None:
    """Write the page of the first `most` alerts, in the order given, whole or not at all.

    `alerts` are as of `queue.alerts_with_verdicts`.
    """
    cards = list(_cards(alerts.head(most), album))
    rest = f"; the other {len(alerts) - most:,} are in review.gpkg" if len(alerts) > most else ""
    open_ones = int((alerts["verdict"] == "").sum())
    summary = (
        f"{len(alerts):,} alerts, {open_ones:,} not judged{rest}. First what nobody has judged: "
        "of that what is confirmed, the largest and least certain area first."
    )
    page = ReviewPage(f"Alerts of {area}", summary, f"noise2map review {area}", cards)
    write_atomically(path, redacted(render("review.html", page=page)))


def _cards(alerts: gpd.GeoDataFrame, album: Album) -> Iterator[Card]:
    crs = alerts.crs.to_string() if alerts.crs else ""
    with progress(len(alerts), "pictures", "alert") as bar:
        for number, row in enumerate(alerts.itertuples(index=False), start=1):
            yield _card(number, row, album.pair(row, crs))
            bar.update()


def _card(number: int, row: Any, pair: Pair) -> Card:
    rows = [
        ("first seen", _said(row.first_seen)),
        ("last look before that", _said(row.prior_look)),
        ("last seen", _said(row.last_seen)),
        ("confirmed on", _said(row.confirmed_on)),
        ("last look", _said(row.last_look)),
        ("looks that show it", f"{row.detections} of {row.looks}"),
        ("support", f"{row.support:.0%}"),
        ("probability, mean and most", f"{row.p_mean:.0%}, {row.p_max:.0%}"),
        ("area", area_text(row.area_m2)),
        ("of it confirmed", area_text(row.area_confirmed_m2)),
        ("made of", row.parents),
        ("before", row.before_item),
        ("after", row.after_item),
    ]
    headline = f"{row.object_id} · {row.status} · {area_text(row.area_m2)}"
    return Card(
        number, row.object_id, row.status, headline, [one for one in rows if one[1]], pair,
        row.verdict, row.reject_reason, row.reviewer,
    )  # fmt: skip


def _said(day: Any) -> str:
    return "" if pd.isna(day) else str(pd.Timestamp(day).date())
