"""Events of an area reach each target once: over reruns, refusals, kills and quiet times."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.alerts.tables import REVISIONS, write_history
from noise2map_core.delivery.deliver import deliver, require_targets
from noise2map_core.delivery.outbox import outbox_path, read_outbox
from noise2map_core.runtime.errors import ConfigError, OutputError
from noise2map_core.settings.delivery import DeliveryConfig
from tests.event_factories import Row, alert, day_of, history_of, write_area, write_verdict
from tests.receivers import MailReceiver, WebhookReceiver, mail_receiver, webhook_receiver

VARIABLE = "ALERTS_URL"
NOW = datetime(2025, 7, 1, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noise2map_core.delivery.sending.PAUSE_S", 0.0)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    with webhook_receiver() as receiver:
        monkeypatch.setenv(VARIABLE, receiver.url)
        yield receiver


def json_target(**more: Any) -> DeliveryConfig:
    target = {"kind": "json", "url_variable": VARIABLE}
    return DeliveryConfig.model_validate({"targets": {"office": target}, **more})


def mail_target(receiver: MailReceiver, **more: Any) -> DeliveryConfig:
    target = {
        "kind": "mail", "host": "127.0.0.1", "port": receiver.port, "security": "none",
        "sender": "maps@example.org", "recipients": ["ada@example.org"],
    }  # fmt: skip
    return DeliveryConfig.model_validate({"targets": {"ada": target}, **more})


def keys(receiver: WebhookReceiver) -> list[str]:
    return [key for post in receiver.taken for key in post.body["keys"]]


def history(nights: int) -> list[Row]:
    """Every night an object opens, is confirmed two nights later, grows the night after."""
    rows: list[Row] = []
    for night in range(nights):
        rows.append((f"o{night}", night, "opened"))
        rows += [(f"o{night - 2}", night, "confirmed")] if night >= 2 else []
        rows += [(f"o{night - 3}", night, "grew")] if night >= 3 else []
    return rows


def expected(rows: list[Row]) -> set[str]:
    return {f"farm/{name}/{day_of(night)}/{event}" for name, night, event in rows
            if event != "opened"}  # fmt: skip


def test_ten_nights_with_refusals_and_a_kill_tell_each_event_once(
    tmp_path: Path, hook: WebhookReceiver
) -> None:
    """Three nights are forced to try again, and one is killed between state and message."""
    folder = tmp_path / "alerts"
    for night in range(10):
        write_area(folder, history(night + 1))
        if night == 5:
            _killed_before_the_message(folder)
            assert not any(str(day_of(5)) in key for key in keys(hook))
        hook.answers = [503, 500] if night in (3, 6, 8) else []
        for _ in range(2):  # a night that is run again
            assert deliver("farm", folder, json_target(), now=NOW + timedelta(night)).waiting == 0
    assert len(hook.refused) == 6
    assert Counter(keys(hook)) == Counter(expected(history(10)))
    ids = [post.headers["Idempotency-Key"] for post in hook.taken]
    assert len(set(ids)) == len(ids) == 8 and ids == [post.body["id"] for post in hook.taken]
    assert read_outbox(outbox_path(folder, "office")).message is None


def _killed_before_the_message(folder: Path) -> None:
    """A process that dies as soon as it is about to post: the state is written, nobody is told."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from noise2map_core.delivery import deliver\n"
        "from noise2map_core.settings.delivery import DeliveryConfig\n"
        "deliver.post = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "config = DeliveryConfig.model_validate_json(sys.argv[1])\n"
        "deliver.deliver('farm', Path(sys.argv[2]), config)\n"
    )
    command = [sys.executable, "-c", program, json_target().model_dump_json(), str(folder)]
    done = subprocess.run(command, env=os.environ, timeout=120, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert read_outbox(outbox_path(folder, "office")).message is not None


def test_a_mail_whose_answer_was_lost_comes_again_as_the_same_mail(tmp_path: Path) -> None:
    """Nobody knows whether it was taken; its receivers know it by its Message-ID."""
    folder = write_area(tmp_path / "alerts", history(4))
    with mail_receiver(answers=[0, 0, 0]) as receiver:
        config = mail_target(receiver)
        first = deliver("farm", folder, config, now=NOW)
        assert first.waiting == 3 and "Disconnected" in first.lines[0]
        write_area(folder, history(5))
        assert deliver("farm", folder, config, now=NOW + timedelta(1)).waiting == 0
    assert len({str(mail["Message-ID"]) for mail in receiver.taken[:4]}) == 1
    assert len(receiver.taken) == 5
    assert receiver.taken[0].as_bytes() == receiver.taken[3].as_bytes()
    assert "o2" in receiver.taken[4].get_body(("plain",)).get_content()


def test_a_mail_server_that_is_down_keeps_the_outbox_and_gathers_what_comes(tmp_path: Path) -> None:
    folder = write_area(tmp_path / "alerts", history(3))
    with mail_receiver() as receiver:
        config = mail_target(receiver, attempts=2)
    for night in range(3, 6):  # it has ended
        done = deliver("farm", folder, config, now=NOW + timedelta(night))
        assert done.waiting == len(expected(history(night)))
        assert done.lines == [
            f"warning: ada was not told of {done.waiting} event{'s' if night > 3 else ''} "
            "(127.0.0.1 was not reached: ConnectionRefusedError; attempts: 2). They wait in "
            f"{outbox_path(folder, 'ada')}, and the next night tries again."
        ]
        write_area(folder, history(night + 1))
    with mail_receiver() as receiver:
        done = deliver("farm", folder, mail_target(receiver), now=NOW)
    assert done.waiting == 0 and len(receiver.taken) == 1
    assert len(read_outbox(outbox_path(folder, "ada")).told) == len(expected(history(6)))


def test_an_area_is_quiet_after_a_message_and_then_tells_all_at_once(
    tmp_path: Path, hook: WebhookReceiver
) -> None:
    folder, config = tmp_path / "alerts", json_target(quiet_hours=60)
    for night in range(10):
        write_area(folder, history(night + 1))
        deliver("farm", folder, config, now=NOW + timedelta(night))
    made = [datetime.fromisoformat(post.body["made"]) for post in hook.taken]
    assert [(when - NOW).days for when in made] == [2, 5, 8]
    assert Counter(keys(hook)) == Counter(expected(history(9)))


def test_an_object_is_quiet_after_a_message_and_the_others_are_not(
    tmp_path: Path, hook: WebhookReceiver
) -> None:
    folder, config = tmp_path / "alerts", json_target(object_quiet_hours=60)
    rows = [("a", 0, "confirmed"), ("a", 1, "grew"), ("b", 1, "confirmed"), ("a", 2, "grew")]
    for night in range(4):
        write_area(folder, [row for row in rows if row[1] <= night])
        deliver("farm", folder, config, now=NOW + timedelta(night))
    told = [{key.removeprefix("farm/") for key in post.body["keys"]} for post in hook.taken]
    assert told == [
        {f"a/{day_of(0)}/confirmed"},
        {f"b/{day_of(1)}/confirmed"},
        {f"a/{day_of(1)}/grew", f"a/{day_of(2)}/grew"},
    ]


def test_what_follows_is_told_of_objects_only_that_were_told_of(
    tmp_path: Path, hook: WebhookReceiver
) -> None:
    rows = [
        ("a", 0, "opened"), ("a", 1, "grew"), ("a", 2, "withdrawn"),
        ("b", 0, "opened"), ("b", 1, "grew"), ("b", 2, "confirmed"), ("b", 3, "ended"),
        ("d", 2, "grew"), ("d", 2, "confirmed"),
    ]  # fmt: skip
    folder = write_area(tmp_path / "alerts", rows)
    deliver("farm", folder, json_target(), now=NOW)
    deliver("farm", folder, json_target(), now=NOW)  # that b grew before is no news now
    told = [f"b/{day_of(2)}/confirmed", f"d/{day_of(2)}/confirmed", f"d/{day_of(2)}/grew"]
    assert keys(hook) == [f"farm/{key}" for key in (*told, f"b/{day_of(3)}/ended")]
    # Late imagery takes the object back: who was told of it hears that, too.
    write_area(folder, [("c", 0, "opened")])
    taken_back = [("a", 4, "withdrawn"), ("b", 4, "withdrawn")]
    write_history(folder / REVISIONS, history_of(taken_back))
    deliver("farm", folder, json_target(), now=NOW)
    assert keys(hook)[4:] == [f"farm/b/{day_of(4)}/withdrawn"]


def test_a_rejected_object_is_never_told_of_again(tmp_path: Path, hook: WebhookReceiver) -> None:
    folder = write_area(tmp_path / "alerts", history(4))
    write_verdict(folder, "o1", "rejected", reason="seasonality")
    for night in range(4, 9):
        deliver("farm", folder, json_target(), now=NOW + timedelta(night))
        write_area(folder, [*history(night + 1), ("o1", night, "grew")])
    assert keys(hook) and not any("/o1/" in key for key in keys(hook))
    assert "o1" not in (folder / "alerts.atom").read_text()


def test_alarms_stand_at_the_top_of_the_message(tmp_path: Path, hook: WebhookReceiver) -> None:
    folder = write_area(tmp_path / "alerts", history(4))
    deliver("farm", folder, json_target(), ["92 % of the area changed"], NOW)
    body = hook.taken[0].body
    assert body["alarms"] == ["92 % of the area changed"]
    assert body["title"] == "Implausible night: farm: 2 confirmed, 1 grew"


def test_an_area_without_alerts_has_nothing_to_tell(tmp_path: Path) -> None:
    assert deliver("farm", tmp_path / "alerts", json_target()).lines == []
    assert list(tmp_path.iterdir()) == []


def test_a_night_without_news_writes_nothing(tmp_path: Path, hook: WebhookReceiver) -> None:
    folder = write_area(tmp_path / "alerts", history(5))
    deliver("farm", folder, json_target(), now=NOW)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    deliver("farm", folder, json_target(), now=NOW + timedelta(1))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert len(hook.taken) == 1


@pytest.mark.parametrize("body", ["{", '{"told": {"a": 1', '{"format_version": 9}'])
def test_an_outbox_that_cannot_be_read_is_named(tmp_path: Path, body: str) -> None:
    folder = write_area(tmp_path / "alerts", history(4))
    path = outbox_path(folder, "office")
    path.parent.mkdir()
    path.write_text(body)
    with pytest.raises(OutputError, match=f"outbox {path} (is damaged|has format version 9)"):
        deliver("farm", folder, json_target())


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"{VARIABLE} .* delivery.targets.office.url_variable"):
        require_targets(json_target())
    target = {"kind": "mail", "host": "h", "sender": "a@b.c", "recipients": ["a@b.c"],
              "user_variable": "MAIL_USER", "password_variable": "MAIL_PASSWORD"}  # fmt: skip
    monkeypatch.setenv("MAIL_USER", "ada")
    with pytest.raises(ConfigError, match=r"MAIL_PASSWORD .* is not set"):
        require_targets(DeliveryConfig.model_validate({"targets": {"ada": target}}))


def test_a_flood_is_one_message_that_lists_the_largest(
    tmp_path: Path, hook: WebhookReceiver
) -> None:
    rows: list[Row] = [(f"o{number:04}", 0, "confirmed") for number in range(500)]
    folder = write_area(tmp_path / "alerts", rows, [alert("o0001", 1)])
    deliver("farm", folder, json_target(), now=NOW)
    body = hook.taken[0].body
    assert len(body["keys"]) == 500 and len(body["objects"]) + body["more"] == 500
    assert len(body["objects"]) == 20 and body["counts"] == {"confirmed": 500}
    assert json.loads((folder / "outbox" / "office.json").read_text())["message"] is None
