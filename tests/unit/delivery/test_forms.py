"""Messages in the forms of chat programs: within their limits, and nothing in them is markup."""

import html.parser
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.delivery.events import events_of
from noise2map_core.delivery.forms import body_of
from noise2map_core.delivery.mail import mail_of
from noise2map_core.delivery.messages import Message, compose
from noise2map_core.settings.delivery import MailTarget
from tests.event_factories import alert, history_of, table_of

NOW = datetime(2025, 7, 1, 6, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script> <!channel> @everyone <@U1> *b* [x](http://evil.example) | `c`"
TARGET = MailTarget(
    kind="mail", host="mail.example.org", sender="maps@example.org", recipients=("a@example.org",)
)


def message(note: str = "", number: int = 1, alarms: tuple[str, ...] = ()) -> Message:
    names = [f"o{at}" for at in range(number)]
    events = events_of(history_of([(name, 2, "confirmed") for name in names]))
    alerts = table_of([
        alert(name, at, review="unsure", reject_reason=note) for at, name in enumerate(names)
    ])  # fmt: skip
    return compose("farm", events, alerts, alarms, NOW)


def texts(value: Any) -> list[str]:
    """All strings of a document."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


def test_slack_interprets_nothing_of_what_people_wrote() -> None:
    """In rich text `text` is literal; in the line of notifications three characters are escaped."""
    body = body_of("slack", message(HOSTILE, alarms=(HOSTILE,)))
    assert not re.search("[<>]", body["text"])
    header, rich = body["blocks"]
    assert header["text"]["type"] == "plain_text" and rich["type"] == "rich_text"
    kinds = {
        element["type"] for section in rich["elements"][0]["elements"]
        for element in section["elements"]
    }  # fmt: skip
    assert kinds == {"text"} and HOSTILE in " ".join(texts(rich))
    assert len(header["text"]["text"]) <= 150 and len(body["blocks"]) <= 50


def test_discord_shows_markup_as_it_was_written_and_calls_nobody() -> None:
    body = body_of("discord", message(HOSTILE))
    assert body["allowed_mentions"] == {"parse": []}
    shown = body["embeds"][0]["description"]
    assert HOSTILE in unescaped(shown)
    bare = re.sub(r"\\.", "", shown.replace("**", ""))
    assert not re.search(r"[*_`|~\[\]<>@:]", bare)


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def test_teams_gets_an_adaptive_card_of_runs_without_markdown() -> None:
    body = body_of("teams", message(HOSTILE))
    (attachment,) = body["attachments"]
    card = attachment["content"]
    assert body["type"] == "message" and card["type"] == "AdaptiveCard"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for block in card["body"] for run in block["inlines"]} == {"TextRun"}
    assert HOSTILE in " ".join(texts(card))


def test_json_holds_all_that_is_known() -> None:
    told = message(HOSTILE)
    body = json.loads(json.dumps(body_of("json", told)))
    assert body["format_version"] == 1 and body["objects"][0]["note"] == HOSTILE
    del body["format_version"], body["title"]
    assert Message.model_validate(body) == told


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.shown = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.shown += data


def test_a_mail_says_the_same_as_text_and_as_html_in_which_notes_are_text() -> None:
    mail = mail_of(message(HOSTILE, alarms=(HOSTILE,)), TARGET)
    assert HOSTILE in mail.get_body(("plain",)).get_content()
    page = _Tags()
    page.feed(mail.get_body(("html",)).get_content())
    assert HOSTILE in page.shown
    assert page.tags <= {"html", "head", "meta", "title", "body", "p", "strong", "h1", "table",
                         "tr", "th", "td"}  # fmt: skip
    assert mail["Auto-Submitted"] == "auto-generated" and "\n" not in mail["Subject"]


def test_keys_in_notes_are_not_handed_on() -> None:
    told = message("see https://data.example.org/a.tif?sig=abc123XYZ")
    for form in ("slack", "discord", "teams", "json"):
        assert "abc123XYZ" not in json.dumps(body_of(form, told))
    assert "abc123XYZ" not in mail_of(told, TARGET).as_string()


@given(note=st.text(max_size=300), alarm=st.text(max_size=2000))
def test_whatever_people_write_every_form_can_be_sent(note: str, alarm: str) -> None:
    told = message(note, alarms=(alarm,))
    for form in ("slack", "discord", "teams", "json"):
        assert json.dumps(body_of(form, told), ensure_ascii=False).encode()
    assert mail_of(told, TARGET).as_bytes()


@pytest.mark.parametrize("note", ["x" * 5000, "\N{PILE OF POO}" * 5000, "*" * 5000])
def test_long_messages_stay_within_what_the_services_take(note: str) -> None:
    told = message(note, number=300, alarms=(note, note))
    assert len(told.objects) == 20 and told.more == 280
    discord = body_of("discord", told)
    assert len(discord["content"]) <= 2000
    assert 0 < len(discord["embeds"][0]["description"]) <= 4096
    teams = body_of("teams", told)
    assert len(json.dumps(teams, ensure_ascii=False).encode()) < 28_000
    rest = re.compile("and ([0-9]+) more, in alerts.geojson")
    for form in ("slack", "discord", "teams"):
        said = unescaped(" ".join(texts(body_of(form, told))))
        listed = len(set(re.findall(r"\bo[0-9]+\b", said)))
        assert int(rest.search(said)[1]) >= 300 - listed
