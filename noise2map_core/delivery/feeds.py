"""Feeds of an area: its alerts as GeoJSON (RFC 7946), its events as Atom (RFC 4287)."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree as Xml

import geopandas as gpd
import pandas as pd
import shapely

from noise2map_core.alerts.tables import ALERTS
from noise2map_core.delivery.events import Event
from noise2map_core.delivery.messages import area_text, plain
from noise2map_core.runtime.atomic import write_atomically

GEOJSON, ATOM = "alerts.geojson", "alerts.atom"
MOST_ENTRIES = 200
"""Of the Atom feed, the newest."""
DIGITS = 7
"""Of a degree: a centimetre."""
ATOM_NAMESPACE = "http://www.w3.org/2005/Atom"
GEORSS = "http://www.georss.org/georss"
DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
BEGINNING = date(1970, 1, 1)
"""Of a feed without entries, which says when it was updated, too."""


def write_feeds(
    folder: Path, area: str, alerts: gpd.GeoDataFrame, events: Sequence[Event]
) -> list[str]:
    """Write what is not as it is to be, each file whole or not at all; which files were written.

    The GeoJSON is only made if the table of alerts is newer.
    """
    wanted = {ATOM: atom_of(area, alerts, events)}
    if not _is_newer(folder / GEOJSON, folder / ALERTS):
        wanted[GEOJSON] = geojson_of(alerts)
    stale = [name for name, text in wanted.items() if _text(folder / name) != text]
    for name in stale:
        write_atomically(folder / name, wanted[name])
    return stale


def _is_newer(path: Path, than: Path) -> bool:
    return path.exists() and path.stat().st_mtime_ns > than.stat().st_mtime_ns


def geojson_of(alerts: gpd.GeoDataFrame) -> str:
    """All alerts as features: longitude and latitude, exterior rings counterclockwise."""
    placed = alerts.to_crs("EPSG:4326")
    shapes = shapely.orient_polygons(shapely.set_precision(placed.geometry.to_numpy(), 10**-DIGITS))
    rows = placed.drop(columns="geometry").to_dict("records")
    features = [
        {
            "type": "Feature",
            "id": row["object_id"],
            "geometry": shapely.geometry.mapping(shape),
            "properties": {name: _value(value) for name, value in row.items()},
        }
        for row, shape in zip(rows, shapes, strict=True)
    ]
    document = {"type": "FeatureCollection", "features": features}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _value(value: Any) -> Any:
    """A cell of the table in JSON."""
    if value is None or value is pd.NaT or value != value:
        return None
    return str(pd.Timestamp(value).date()) if isinstance(value, date) else value


def atom_of(area: str, alerts: gpd.GeoDataFrame, events: Sequence[Event]) -> str:
    """Events in order as a feed, the newest first. An entry's id never changes."""
    newest = list(reversed(events))[:MOST_ENTRIES]
    feed = Xml.Element("feed", {"xmlns": ATOM_NAMESPACE, "xmlns:georss": GEORSS})
    _add(feed, "title", f"Alerts of {area}")
    _add(feed, "id", _urn(area))
    _add(feed, "updated", _moment(newest[0].day if newest else BEGINNING))
    _add(Xml.SubElement(feed, "author"), "name", "noise2map")
    shown = alerts[alerts["object_id"].isin({event.object_id for event in newest})]
    points = shown.geometry.representative_point().to_crs("EPSG:4326")
    places = dict(zip(shown["object_id"], points, strict=True))
    for event in newest:
        _add_entry(feed, area, event, places.get(event.object_id))
    Xml.indent(feed)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(feed, encoding="unicode") + "\n"
    )


def _add_entry(feed: Xml.Element, area: str, event: Event, point: shapely.Point | None) -> None:
    entry = Xml.SubElement(feed, "entry")
    said = f"{event.object_id} {event.name}, {area_text(event.area_m2)}"
    _add(entry, "title", said)
    _add(entry, "id", _urn(event.key(area)))
    _add(entry, "updated", _moment(event.day))
    Xml.SubElement(entry, "category", term=event.name)
    confirmed = f"{area_text(event.area_confirmed_m2)} of it confirmed"
    _add(entry, "content", f"{area}: {said} on {event.day}, {confirmed}.", type="text")
    if point is not None:
        _add(entry, "georss:point", f"{point.y:.{DIGITS}f} {point.x:.{DIGITS}f}")


def _add(parent: Xml.Element, name: str, text: str, **attributes: str) -> None:
    Xml.SubElement(parent, name, attributes).text = plain(text, 1000)


def _moment(day: date) -> str:
    return f"{day}T00:00:00Z"


def _urn(name: str) -> str:
    return uuid5(NAMESPACE_URL, f"noise2map:{name}").urn


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
