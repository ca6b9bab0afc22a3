"""Messages in the forms that chat programs take, each within its limits, all text literal."""

import json
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Literal, TypeVar

from noise2map_core.delivery.messages import Message

FORMAT_VERSION = 1
"""Of the plain form."""
DISCORD_TITLE, DISCORD_TEXT = 500, 3500
"""Characters of the content and of an embed's description, before what is escaped and after it;
Discord takes 2,000 and 4,096."""
SLACK_HEADER = 150
LINE = 700
"""Of what is said of an object."""
TEAMS_BYTES = 24_000
"""Of a card's lines; Teams takes 28 kB in all."""
_MARKDOWN = re.compile(r"([\\`*_~|>\[\]()#+\-.!:@<&{}])")
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

Line = TypeVar("Line")
Form = Literal["slack", "discord", "teams", "json"]


def body_of(form: Form, message: Message) -> dict[str, Any]:
    """The document to post."""
    if form == "slack":
        return _slack(message)
    if form == "discord":
        return _discord(message)
    if form == "teams":
        return _teams(message)
    return _plain(message)


def _plain(message: Message) -> dict[str, Any]:
    """All that is known."""
    body = message.model_dump(mode="json")
    return {"format_version": FORMAT_VERSION, "title": message.title, **body}


def _slack(message: Message) -> dict[str, Any]:
    """Blocks of rich text, which interpret nothing, and the line that notifications show, which is
    parsed: there `<!channel>` would call everybody."""
    lines = [
        [_bold(one.object_id), {"type": "text", "text": _cut(f"  {one.line()}", LINE)}]
        for one in message.objects
    ]
    lines = [[_bold(text)] for text in message.alarms] + lines
    if rest := message.rest_after(0):
        lines.append([{"type": "text", "text": rest}])
    sections = [{"type": "rich_text_section", "elements": line} for line in lines]
    header = {"type": "plain_text", "emoji": False, "text": _cut(message.title, SLACK_HEADER)}
    return {
        "text": _cut(message.title, SLACK_HEADER).translate(_SLACK),
        "unfurl_links": False,
        "blocks": [
            {"type": "header", "text": header},
            {"type": "rich_text", "elements": [
                {"type": "rich_text_list", "style": "bullet", "elements": sections},
            ]},
        ],
    }  # fmt: skip


def _bold(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "style": {"bold": True}}


def _discord(message: Message) -> dict[str, Any]:
    """A line that notifications show, and an embed; Markdown is escaped, and nobody is called."""
    lines = [f"**{_literal(text)}**" for text in message.alarms]
    lines += [f"**{_literal(one.object_id)}** {_literal(one.line())}" for one in message.objects]
    shown = _fitting(lines, DISCORD_TEXT, lambda line: len(line) + 1)
    if rest := message.rest_after(len(lines) - len(shown)):
        shown.append(_literal(rest))
    embed = {"description": "\n".join(shown), "timestamp": message.made.isoformat()}
    content = _literal(_cut(message.title, DISCORD_TITLE))
    return {"content": content, "embeds": [embed], "allowed_mentions": {"parse": []}}


def _teams(message: Message) -> dict[str, Any]:
    """An adaptive card of runs of text, in which Markdown is not interpreted."""
    rows = [[_run(message.title, weight="Bolder", size="Large")]]
    rows += [[_run(text, color="Attention", weight="Bolder")] for text in message.alarms]
    rows += [
        [_run(f"{one.object_id}  ", weight="Bolder"), _run(_cut(one.line(), LINE))]
        for one in message.objects
    ]
    shown = _fitting(rows, TEAMS_BYTES, lambda row: len(json.dumps(row)) + 50)
    if rest := message.rest_after(len(rows) - len(shown)):
        shown.append([_run(rest)])
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [{"type": "RichTextBlock", "inlines": row} for row in shown],
    }
    content = {
        "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None,
        "content": card,
    }  # fmt: skip
    return {"type": "message", "attachments": [content]}


def _run(text: str, **look: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **look}


def _literal(text: str) -> str:
    """Text that Markdown shows as it is; addresses become no links, names call nobody."""
    return _MARKDOWN.sub(r"\\\1", text)


def _fitting(lines: list[Line], most: int, size: Callable[[Line], int]) -> list[Line]:
    """The first lines that have room together."""
    ends = accumulate(map(size, lines))
    return [line for line, end in zip(lines, ends, strict=True) if end <= most]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
