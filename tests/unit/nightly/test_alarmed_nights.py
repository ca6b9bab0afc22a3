"""An implausible night stands at the top of what is told of its events."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.nightly.cursor import Cursor, write_cursor
from noise2map_core.nightly.scores import NightScore, write_score
from noise2map_core.testing.nights import FIRST, publish
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.run_nightly import NightlyConfig
from pipelines.run_nightly import run
from tests.event_factories import write_area
from tests.factories import checkpoint_spec
from tests.nightly_factories import area_settings, nightly_settings
from tests.receivers import mail_receiver

SCORE = NightScore(FIRST, 20_000, 200, 0, (20_000, *[0] * 100))


def never(settings: Path, log: Path) -> None:
    raise AssertionError("no area was to be mapped")


def test_a_message_that_comes_a_night_late_still_says_that_its_slice_is_implausible(
    tmp_path: Path, embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = checkpoint_spec(bands=tuple(embedded.bands))
    save_checkpoint(Noise2Map(spec), spec, tmp_path / "checkpoint", "# x\n")
    publish(embedded, [], tmp_path / "items.parquet")
    area = tmp_path / "out" / "farm"
    write_area(area / "alerts", [("a", 0, "opened"), ("a", 2, "confirmed")])
    for number in range(5):
        changed = 200 if number < 4 else 12_400
        write_score(area, replace(SCORE, day=FIRST + timedelta(number), changed=changed))
    newest = FIRST + timedelta(4)
    write_cursor(area, Cursor(newest + timedelta(900), {}, {}, newest))
    # What the state is made of is another matter: its tables are there.
    monkeypatch.setattr("noise2map_core.nightly.night.update_area", lambda *_: None)
    with mail_receiver() as receiver:
        night = run(config(tmp_path, embedded, receiver.port), never)
    (taken,) = receiver.taken
    body = taken.get_body(("plain",))
    assert body is not None
    text = " ".join(body.get_content().split())
    assert f"{newest}: 62% of the decided pixels are changed" in text
    assert night.alarms == []  # of this night, which made no slice


def config(folder: Path, embedded: EmbeddedCatalog, port: int) -> NightlyConfig:
    target = {"kind": "mail", "host": "127.0.0.1", "port": port, "security": "none",
              "sender": "maps@example.org", "recipients": ["ada@example.org"]}  # fmt: skip
    more = {"alerts": {}, "window_days": 1, "delivery": {"targets": {"ada": target}, "attempts": 1}}
    settings: dict[str, Any] = nightly_settings(
        embedded, folder / "items.parquet", folder / "checkpoint", folder / "out"
    )
    area = area_settings(embedded, folder / "checkpoint", **more)
    return NightlyConfig.model_validate({**settings, "areas": [area]})
