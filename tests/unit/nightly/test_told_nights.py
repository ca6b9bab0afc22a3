"""A night tells of the alerts of its areas, and ends with a code of its own where it cannot."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.nightly.cursor import Cursor, write_cursor
from noise2map_core.runtime.errors import UndeliveredError
from noise2map_core.testing.nights import FIRST, publish
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.run_nightly import NightlyConfig
from pipelines.run_nightly import run
from tests.event_factories import write_area, write_verdict
from tests.factories import checkpoint_spec
from tests.nightly_factories import area_settings, nightly_settings
from tests.receivers import mail_receiver


@pytest.fixture
def settings(tmp_path: Path, embedded: EmbeddedCatalog) -> dict[str, Any]:
    """An area without new imagery, whose alerts are known."""
    spec = checkpoint_spec(bands=tuple(embedded.bands))
    save_checkpoint(Noise2Map(spec), spec, tmp_path / "checkpoint", "# x\n")
    publish(embedded, [], tmp_path / "items.parquet")
    output = tmp_path / "out"
    write_area(output / "farm" / "alerts", [("a", 0, "opened"), ("a", 2, "confirmed")])
    write_cursor(output / "farm", Cursor(FIRST + timedelta(900)))
    return nightly_settings(
        embedded, tmp_path / "items.parquet", tmp_path / "checkpoint", output
    )  # fmt: skip


def config(settings: dict[str, Any], embedded: EmbeddedCatalog, port: int) -> NightlyConfig:
    target = {"kind": "mail", "host": "127.0.0.1", "port": port, "security": "none",
              "sender": "maps@example.org", "recipients": ["ada@example.org"]}  # fmt: skip
    more = {"alerts": {}, "window_days": 1, "delivery": {"targets": {"ada": target}, "attempts": 1}}
    checkpoint = Path(settings["areas"][0]["checkpoint"])
    area = area_settings(embedded, checkpoint, **more)
    return NightlyConfig.model_validate({**settings, "areas": [area]})


def never(settings: Path, log: Path) -> None:
    raise AssertionError("no area was to be mapped")


def test_a_mail_server_that_is_down_ends_the_night_with_code_5_and_the_next_night_tells(
    settings: dict[str, Any], embedded: EmbeddedCatalog, capsys: pytest.CaptureFixture[str]
) -> None:
    with mail_receiver() as receiver:
        port = receiver.port
    with pytest.raises(UndeliveredError, match="messages of farm were not delivered") as caught:
        run(config(settings, embedded, port), never)
    assert caught.value.exit_code == 5
    said = capsys.readouterr().out
    assert "farm: warning: ada was not told of 1 event (127.0.0.1 was not reached" in said
    summary = (Path(settings["output"]) / "summary.json").read_text()
    assert '"exit_code": 5' in summary and "ada was not told" in summary
    with mail_receiver() as receiver:
        night = run(config(settings, embedded, receiver.port), never)
        again = run(config(settings, embedded, receiver.port), never)
    assert night.exit_code == again.exit_code == 0 and len(receiver.taken) == 1
    assert "farm: ada was told of 1 event" in night.summary()


def test_a_damaged_outbox_fails_its_area(
    settings: dict[str, Any], embedded: EmbeddedCatalog, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = Path(settings["output"]) / "farm" / "alerts" / "outbox"
    outbox.mkdir()
    (outbox / "ada.json").write_text("{")
    with pytest.raises(Exception, match="1 of 1 areas failed: farm"):
        run(config(settings, embedded, 1), never)
    assert "ada.json is damaged" in capsys.readouterr().out


def test_the_summary_says_the_precision_by_verdicts(
    settings: dict[str, Any], embedded: EmbeddedCatalog
) -> None:
    output = Path(settings["output"])
    write_verdict(output / "farm" / "alerts", "a", "rejected", reason="cloud")
    with mail_receiver() as receiver:
        night = run(config(settings, embedded, receiver.port), never)
    line = "precision by verdicts 0.00 (0.00 to 0.79): 0 of 1 alerts confirmed"
    assert f"farm: {line}" in night.summary() and receiver.taken == []
    assert line in (output / "summary.html").read_text()
    (area,) = json.loads((output / "summary.json").read_text())["areas"]
    assert area["precision"] == {
        "confirmed": 0, "rejected": 1, "unsure": 0, "precision": 0.0, "low": 0.0, "high": 0.7935,
    }  # fmt: skip
