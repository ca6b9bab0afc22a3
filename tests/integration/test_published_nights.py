"""Nights with alerts: their STAC is valid offline, and what is published of them is found whole."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.publishing.publish import publish
from noise2map_core.testing.nights import publish as list_nights
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.run_nightly import NightlyConfig
from pipelines import run_nightly
from tests.nightly_factories import (
    ByPixel,
    Here,
    cloudy_nights,
    nightly_settings,
    random_checkpoint,
)
from tests.published import by_hand, seen
from tests.stac import offline_validator, require_catalog

ALERTS = {"k": 1, "n": 3, "m": 2, "minimum_m2": 2000}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_three_nights_with_alerts_are_valid_and_published_night_by_night(
    embedded: EmbeddedCatalog, real_data: Path, tmp_path: Path
) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", tuple(embedded.bands))
    nights = cloudy_nights(embedded, tmp_path / "files", 3)
    area, place = tmp_path / "out" / "farm", tmp_path / "public"
    validator = offline_validator(real_data / "stac_schemas")
    earlier: dict[str, Any] = {}
    for number in range(1, 4):
        list_nights(embedded, nights[:number], tmp_path / "table.parquet")
        settings = nightly_settings(
            embedded, tmp_path / "table.parquet", checkpoint, tmp_path / "out"
        )
        settings["areas"][0] |= {"window_days": 1, "alerts": ALERTS}
        run_nightly.run(NightlyConfig.model_validate(settings), Here(predictor=ByPixel))
        ids = require_catalog(area / "collection.json", validator)
        sent = publish(area, place)
        found = seen(by_hand(place), "collection.json")
        assert found.keys() == {"tables", *ids} and sent.notes == ()
        slices = [one for one in earlier if one != "tables" and "-alerts-" not in one]
        assert {one: earlier[one] for one in slices} == {one: found[one] for one in slices}
        assert require_catalog(place / "collection.json", validator) == ids
        earlier = found
    assert {"items", "changes-gpkg", "changes-pmtiles"} <= found["tables"].keys()
    assert str(tmp_path) not in "".join(
        file.read_text() for file in place.rglob("*.json") if not file.name.startswith(".")
    )
    again = publish(area, place)
    assert again.sent == 0
    moved = tmp_path / "moved"
    shutil.copytree(place, moved)
    shutil.rmtree(place)
    shutil.rmtree(area)
    assert require_catalog(moved / "collection.json", validator) == ids
    assert json.loads((moved / "publication.json").read_text())["id"] == "farm"
