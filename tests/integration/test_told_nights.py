"""Nights with alerts, told once each; what a reviewer rejects stays away."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from noise2map_core.alerts.tables import ALERTS, HISTORY, read_alerts, read_history
from noise2map_core.cli.commands.nights.review import run as review
from noise2map_core.nightly import night as one_night
from noise2map_core.testing.nights import FIRST, Night, publish, write_nights
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.run_nightly import NightlyConfig
from noise2map_core.workflows.tools.nights.review import ReviewConfig
from pipelines import run_nightly
from tests.nightly_factories import Here, area_settings, nightly_settings, random_checkpoint
from tests.receivers import WebhookReceiver, webhook_receiver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NIGHTS, LATER = 10, 5
TOLD = ("confirmed", "grew", "merged", "split", "downgraded", "ended", "withdrawn")


class World:
    """An area that is told of by a webhook, night after night."""

    def __init__(self, embedded: EmbeddedCatalog, root: Path, hook: WebhookReceiver) -> None:
        self.nights: list[Night] = write_nights(embedded, root / "files", NIGHTS + LATER)
        self.embedded, self.root, self.hook = embedded, root, hook
        self.checkpoint = random_checkpoint(root / "checkpoint", tuple(embedded.bands))
        self.area = root / "out" / "farm"

    def run(self, number: int) -> Any:
        """The night that sees so many items."""
        publish(self.embedded, self.nights[:number], self.root / "items.parquet")
        target = {"kind": "json", "url_variable": "ALERTS_URL"}
        area = area_settings(
            self.embedded, self.checkpoint, window_days=1, delivery={"targets": {"office": target}},
            alerts={"k": 1, "n": 3, "m": 2, "minimum_m2": 2000},
        )  # fmt: skip
        told = nightly_settings(
            self.embedded, self.root / "items.parquet", self.checkpoint, self.root / "out",
            areas=[area],
        )  # fmt: skip
        return run_nightly.run(NightlyConfig.model_validate(told), Here())

    def keys(self) -> list[str]:
        return [key for post in self.hook.taken for key in post.body["keys"]]

    def history(self) -> pd.DataFrame:
        return read_history(self.area / "alerts" / HISTORY)


@pytest.fixture
def world(
    embedded: EmbeddedCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setattr("noise2map_core.delivery.sending.PAUSE_S", 0.0)
    with webhook_receiver() as hook:
        monkeypatch.setenv("ALERTS_URL", hook.url)
        yield World(embedded, tmp_path, hook)


def expected(history: pd.DataFrame) -> set[str]:
    """What there is to tell: from the day on that an alert is confirmed."""
    confirmed = history[history["event"] == "confirmed"]
    since = confirmed.groupby("object_id")["day"].min().to_dict()
    return {
        f"farm/{row.object_id}/{row.day}/{row.event}"
        for row in history.itertuples(index=False)
        if row.event in TOLD and row.object_id in since and row.day >= since[row.object_id]
    }


def test_every_event_of_ten_nights_is_told_once_and_a_rejected_alert_stays_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, NIGHTS + 1):
        if number == 5:
            with monkeypatch.context() as patched, pytest.raises(SystemExit):
                patched.setattr(one_night, "deliver", _die)
                world.run(number)
        world.hook.answers = [503, 500] if number in (3, 6, 8) else []
        assert world.run(number).exit_code == 0
        world.run(number)  # again
    assert expected(world.history()) and len(world.hook.refused) >= 2
    assert Counter(world.keys()) == Counter(expected(world.history()))

    name = _reject_one(world.area)
    told = len(world.keys())
    for number in range(NIGHTS + 1, NIGHTS + LATER + 1):
        night = world.run(number)
        assert night.areas[0].precision is not None
        alerts = read_alerts(world.area / "alerts" / ALERTS).set_index("object_id")
        if name in alerts.index and alerts["last_seen"][name] > FIRST + timedelta(NIGHTS):
            assert alerts["status"][name] == "rejected"
    fresh = world.keys()[told:]
    assert not any(f"/{name}/" in key for key in fresh)
    assert Counter(world.keys()).most_common(1)[0][1] == 1
    assert f"{name} " not in (world.area / "alerts" / "alerts.atom").read_text()


def _die(*_: object) -> None:
    raise SystemExit("killed between state and message")


def _reject_one(area: Path) -> str:
    """The first alert that lasts, through the GeoPackage."""
    review(ReviewConfig(area=area))
    alerts = read_alerts(area / "alerts" / ALERTS)
    lasting = alerts[alerts["status"] == "confirmed"]
    name: str = lasting.sort_values("area_m2")["object_id"].iloc[-1]
    package = area / "review" / "review.gpkg"
    with sqlite3.connect(package) as database:
        for function in ("IsEmpty", "MinX", "MaxX", "MinY", "MaxY"):  # of triggers
            database.create_function(f"ST_{function}", 1, lambda _: 0)
        database.execute(
            "UPDATE review SET verdict = 'rejected', reject_reason = 'agriculture', "
            "reviewer = 'ada' WHERE object_id = ?", (name,),
        )  # fmt: skip
    database.close()
    assert "1 new verdicts" in review(ReviewConfig(area=area, apply=package)).summary()[0]
    return name
