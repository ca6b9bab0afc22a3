"""Feeds: GeoJSON as others read it, Atom by the rules of RFC 4287."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import geopandas as gpd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.alerts.tables import read_alerts
from noise2map_core.delivery import feeds
from noise2map_core.delivery.events import Event, events_of
from noise2map_core.delivery.feeds import atom_of, geojson_of, write_feeds
from tests.event_factories import alert, day_of, history_of, square, table_of, write_area

ATOM = "{http://www.w3.org/2005/Atom}"
GEORSS = "{http://www.georss.org/georss}"
ROWS = [("a", 0, "opened"), ("a", 2, "confirmed"), ("b", 3, "confirmed")]


def require_atom(text: str) -> Xml.Element:
    """The rules of RFC 4287, 4.1 and 4.2, that a feed like this can break."""
    feed = Xml.fromstring(text.encode())
    assert feed.tag == f"{ATOM}feed"
    for element in (feed, *feed.findall(f"{ATOM}entry")):
        for name in ("id", "title", "updated"):
            (one,) = element.findall(f"{ATOM}{name}")
            assert one.text
        datetime.fromisoformat(element.findtext(f"{ATOM}updated"))
        assert element.findtext(f"{ATOM}id").startswith("urn:uuid:")
    assert feed.findtext(f"{ATOM}author/{ATOM}name")
    entries = feed.findall(f"{ATOM}entry")
    assert all(len(entry.findall(f"{ATOM}content")) == 1 for entry in entries)
    assert all(entry.find(f"{ATOM}category").get("term") for entry in entries)
    ids = [entry.findtext(f"{ATOM}id") for entry in entries]
    assert len(set(ids)) == len(ids)
    updated = [entry.findtext(f"{ATOM}updated") for entry in entries]
    assert updated == sorted(updated, reverse=True)
    assert feed.findtext(f"{ATOM}updated") >= max(updated, default="")
    return feed


def test_the_atom_feed_keeps_the_rules_and_its_ids_for_good() -> None:
    alerts = table_of([alert("a", 0), alert("b", 1)])
    events = events_of(history_of(ROWS))
    feed = require_atom(atom_of("farm", alerts, events))
    entries = feed.findall(f"{ATOM}entry")
    assert [entry.findtext(f"{ATOM}title") for entry in entries] == [
        "b confirmed, 0.36 ha", "a confirmed, 0.36 ha", "a opened, 0.36 ha",
    ]  # fmt: skip
    point = alerts.geometry.centroid.to_crs("EPSG:4326").iloc[1]
    latitude, longitude = map(float, entries[0].findtext(f"{GEORSS}point").split())
    assert (latitude, longitude) == pytest.approx((point.y, point.x), abs=1e-4)
    later = require_atom(atom_of("farm", alerts, [*events, Event("b", day_of(9), "ended", 1, 1)]))
    ids = [one.findtext(f"{ATOM}id") for one in later.findall(f"{ATOM}entry")]
    assert ids[1:] == [entry.findtext(f"{ATOM}id") for entry in entries]


def test_an_empty_area_has_a_valid_feed() -> None:
    none = table_of([alert("a")]).iloc[:0]
    require_atom(atom_of("farm", none, []))
    assert json.loads(geojson_of(none)) == {"type": "FeatureCollection", "features": []}


@given(name=st.text(min_size=1, max_size=40))
def test_whatever_an_object_is_called_the_feeds_are_well_formed(name: str) -> None:
    alerts = table_of([alert(name, reject_reason=f"<b>{name}</b> ]]>")])
    require_atom(atom_of(name, alerts, [Event(name, day_of(0), "opened", 1.0, 0.0)]))
    (feature,) = json.loads(geojson_of(alerts))["features"]
    assert feature["properties"]["reject_reason"] == f"<b>{name}</b> ]]>"


def test_geojson_holds_what_the_table_holds(tmp_path: Path) -> None:
    ring = shapely.Polygon(square(0).exterior.coords[::-1], [square(0).buffer(-20).exterior.coords])
    rows = [alert("a", geometry=ring, confirmed_on=None, prior_look=None), alert("b", 1)]
    alerts = read_alerts(write_area(tmp_path, ROWS, rows) / "alerts.parquet")
    (tmp_path / "x.geojson").write_text(geojson_of(alerts))
    found = gpd.read_file(tmp_path / "x.geojson")
    assert found.crs == "EPSG:4326" and set(found.columns) == {"id", *alerts.columns}
    assert found["object_id"].tolist() == ["a", "b"]
    back = found.to_crs(alerts.crs)
    assert (back.geometry.hausdorff_distance(alerts.geometry) < 0.05).all()
    document = json.loads((tmp_path / "x.geojson").read_text())
    first = document["features"][0]
    assert first["properties"]["confirmed_on"] is None
    assert first["properties"]["first_seen"] == str(day_of(0)) and first["id"] == "a"
    exterior, hole = map(shapely.LinearRing, first["geometry"]["coordinates"])
    assert exterior.is_ccw and not hole.is_ccw


def test_feeds_are_written_whole_and_only_where_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = events_of(history_of(ROWS))
    alerts = read_alerts(write_area(tmp_path, ROWS) / "alerts.parquet")
    assert write_feeds(tmp_path, "farm", alerts, events) == ["alerts.atom", "alerts.geojson"]
    assert write_feeds(tmp_path, "farm", alerts, events) == []
    write_area(tmp_path, ROWS)
    assert write_feeds(tmp_path, "farm", alerts, events) == []
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_: Any) -> str:
        raise RuntimeError("no")

    monkeypatch.setattr(feeds, "geojson_of", fail)
    with pytest.raises(RuntimeError):
        write_feeds(tmp_path, "farm", alerts.assign(status="ended"), events)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
