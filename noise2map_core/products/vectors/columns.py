"""The tables of polygons that people are given: which columns they have, and what these say.

GeoParquet, GeoPackage and vector tiles of one table have the same ones.
"""

from typing import Literal, NamedTuple

Kind = Literal["text", "integer", "number", "time", "day"]


class Column(NamedTuple):
    """One column."""

    kind: Kind
    unit: str
    """Empty: none."""
    what: str


Table = dict[str, Column]
"""By name, in order; the geometry comes last, and is not named."""

_CLASS: Table = {
    "class": Column("integer", "", "value in the raster"),
    "class_name": Column("text", "", "what it is called"),
}
_SIZE: Table = {
    "area_m2": Column("number", "m²", "area of the pixels"),
    "pixels": Column("integer", "pixels", ""),
}

POLYGONS: Table = {
    "polygon_id": Column(
        "text", "", "class, row and column of the first pixel on the anchored grid: the same "
        "pixels, the same id",
    ),
    **_CLASS,
    **_SIZE,
    "probability": Column("number", "1", "mean over the pixels, 0–1"),
    "from": Column("text", "", "of maps of kinds of change: class before"),
    "to": Column("text", "", "of maps of kinds of change: class after"),
    "before": Column(
        "time", "UTC", "of change: when the first image was taken, the latest of its scenes"
    ),
    "after": Column("time", "UTC", "of change: when the second was taken"),
    "date": Column("time", "UTC", "of maps of one date: when the image was taken"),
}  # fmt: skip
"""Of a map."""

OBJECTS: Table = {
    "object_id": Column(
        "text", "", "kept from night to night: the first day, and the `polygon_id` of then"
    ),
    **_CLASS,
    **_SIZE,
    "probability": Column("number", "1", "mean over the pixels, 0–1, on its last night"),
    "state": Column(
        "text", "", "on the newest night: present, unseen (hidden by clouds), gone; earlier: "
        "replaced by another outline",
    ),
    "first_seen": Column("day", "", "of the object"),
    "last_seen": Column("day", "", "of the object"),
    "date": Column("day", "", "the first night with this outline"),
    "until": Column("day", "", "the last night with it"),
}  # fmt: skip
"""Outlines of objects over the nights: on a night those with date ≤ night ≤ until were there."""

CHANGES: Table = {
    "event": Column("text", "", "new, grown, shrunk, moved, split, merged, unseen, gone"),
    "object_id": Column("text", "", "as of objects"),
    "polygon_id": Column("text", "", "as of a map's polygons"),
    "parents": Column(
        "text", "", "ids of the objects it overlaps, the largest share first, spaces between"
    ),
    **_CLASS,
    "area_m2_before": Column("number", "m²", "area of the parents"),
    "area_m2": Column("number", "m²", "area now"),
    "pixels_before": Column("integer", "pixels", ""),
    "pixels": Column("integer", "pixels", ""),
    "date": Column("day", "", "the night; not in the table of one night"),
}
"""What became of objects on a night."""

ALERTS: Table = {
    "object_id": Column("text", "", "the alert, for good"),
    "polygon_id": Column("text", "", "its present outline"),
    "status": Column("text", "", "provisional, confirmed, ended, rejected"),
    "confidence": Column("number", "1", "0–1: `p_mean` × `support`"),
    "prior_look": Column(
        "day", "", "latest look before the first detection: the change lies between the two. "
        "Null: there was none",
    ),
    "first_seen": Column("day", "", "first detection"),
    "last_seen": Column("day", "", "latest detection"),
    "confirmed_on": Column("day", "", "confirmation"),
    "last_look": Column("day", "", "latest look"),
    "looks": Column("integer", "", "the most that one of its pixels has"),
    "detections": Column("integer", "", "the most that one of its pixels has"),
    "support": Column("number", "1", "0–1: detections per look, over all pixels"),
    "p_mean": Column("number", "1", "0–1: mean probability of the detections"),
    "p_max": Column("number", "1", "0–1: the highest"),
    "area_m2": Column("number", "m²", "area of the pixels"),
    "area_confirmed_m2": Column("number", "m²", "of these, of the confirmed ones"),
    "parents": Column("text", "", "alerts that it came from, with spaces between"),
    "before_item": Column("text", "", "the clearest item up to `prior_look`"),
    "after_item": Column("text", "", "the clearest item from `first_seen` on"),
    "review": Column("text", "", "what a reviewer said"),
    "reject_reason": Column("text", "", "and why, of what was rejected"),
}  # fmt: skip
"""Alerts, as of a day."""
