"""Settings of delivery: of an area, or of all; what cannot work is refused in one line."""

from typing import Any

import pytest

from noise2map_core.delivery.deliver import require_targets
from noise2map_core.nightly.areas import Area, iter_areas
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.delivery import MailTarget, WebhookTarget
from noise2map_core.workflows.run_nightly import NightlyConfig

CHAT = {"kind": "slack", "url_variable": "SLACK_URL"}
MAIL = {
    "kind": "mail", "host": "mail.example.org", "sender": "maps@example.org",
    "recipients": ["ada@example.org"],
}  # fmt: skip


def area_of(delivery: dict[str, Any], defaults: dict[str, Any] | None = None, **more: Any) -> Area:
    entry = {
        "id": "farm", "aoi": "a.geojson", "sensor": "eye", "checkpoint": "mad",
        "since": "2025-06-01", "pair": {"kind": "fixed", "baseline": "2024-06"}, "alerts": {},
        "window_days": 1, "delivery": delivery, **more,
    }  # fmt: skip
    sensors = {"eye": {"catalog": "c.json", "collection": "c", "bands": ["red"]}}
    told = {"output": "o", "sensors": sensors, "areas": [entry], "defaults": defaults or {}}
    ((_, found),) = iter_areas(NightlyConfig.model_validate(told))
    if not isinstance(found, Area):
        raise found
    return found


def test_an_area_tells_its_own_targets_and_those_of_all() -> None:
    defaults = {"delivery": {"targets": {"all": MAIL}, "quiet_hours": 24}}
    config = area_of({"targets": {"own": CHAT}, "events": ["opened"]}, defaults).config.delivery
    assert isinstance(config.targets["all"], MailTarget)
    assert isinstance(config.targets["own"], WebhookTarget)
    assert (config.quiet_hours, config.events) == (24, ("opened",))


@pytest.mark.parametrize(
    ("delivery", "more", "said"),
    [
        ({"targets": {"a": CHAT}}, {"alerts": None}, "delivery tells of alerts: set alerts"),
        ({"feeds": False}, {"alerts": None}, "delivery tells of alerts: set alerts"),
        ({"targets": {"a/b": CHAT}}, {}, "name is made of letters, digits, - and _"),
        ({"targets": {"a": CHAT | {"kind": "irc"}}}, {}, "kind"),
        ({"targets": {"a": CHAT}, "events": ["grew"]}, {}, "need confirmed or opened"),
        ({"targets": {"a": CHAT}, "events": ["vanished"]}, {}, "vanished|events"),
        ({"quiet_hours": 3}, {}, "quiet_hours is not used without targets"),
        ({"targets": {"a": CHAT}, "quiet_hours": -1}, {}, "quiet_hours"),
        ({"targets": {"a": CHAT}, "attempts": 0}, {}, "attempts"),
        ({"targets": {"a": CHAT}, "timeout_s": 1e9}, {}, "timeout_s"),
    ],
)
def test_what_cannot_work_is_refused(
    delivery: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        area_of(delivery, **more)
    assert "\n" not in str(caught.value) and "SLACK_URL" not in str(caught.value)


SECRET = "https://hooks.example.org/services/T0/B0/abcdefgh"


@pytest.mark.parametrize(
    "target",
    [
        CHAT | {"url_variable": SECRET},
        MAIL | {"user_variable": "MAIL_USER", "password_variable": SECRET},
        MAIL | {"user_variable": SECRET, "password_variable": "MAIL_PASSWORD"},
    ],
)
def test_a_secret_in_place_of_a_variable_is_not_repeated(
    target: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_USER", "ada")
    config = area_of({"targets": {"a": target}}).config.delivery
    with pytest.raises(ConfigError, match="is to be the name of a variable") as caught:
        require_targets(config)
    assert "hooks.example.org" not in str(caught.value)
