"""Pages and cards from templates.

What a template is given is text, and is escaped for where it stands: in HTML as HTML, in Markdown
so that it neither ends a cell of a table nor becomes HTML.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

Table = Sequence[tuple[str, ...]]
"""Rows of cells."""

_BREAKS = re.compile(r"\s*[\r\n\v\f\x85\u2028\u2029]\s*")
_SPECIAL = re.compile(r"[\\|<]")


def render(template: str, **facts: Any) -> str:
    """A page (`*.html`) or a card (`*.md`). Raises UndefinedError for a fact that is not given."""
    pages = _CARDS if template.endswith(".md") else _PAGES
    return pages.get_template(template).render(facts)


def _source(names: str | Sequence[str]) -> str:
    """A style or a script, or several behind each other."""
    parts = [names] if isinstance(names, str) else names
    return "\n".join(_LOADER.get_source(_PAGES, name)[0] for name in parts)


def _policy(style: str, script: str, images: str) -> str:
    """Nothing is loaded but `images`, as a Content-Security-Policy names them; nothing runs but
    `script`."""
    scripts = f"; script-src {_hash(script)}" if script else ""
    return (
        f"default-src 'none'; img-src {images}; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}{scripts}"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _as_markdown(value: object) -> object:
    """A value within a line of Markdown; what a template calls safe is what it is."""
    if hasattr(value, "__html__"):
        return value
    return _SPECIAL.sub(r"\\\g<0>", _BREAKS.sub(" ", str(value)))


_LOADER = PackageLoader("noise2map_core.report")
_PAGES = Environment(
    loader=_LOADER, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True, keep_trailing_newline=True,
)  # fmt: skip
_PAGES.globals.update(source=_source, policy=_policy)
_PAGES.policies["json.dumps_kwargs"] = {
    "separators": (",", ":"), "ensure_ascii": False, "allow_nan": False,
}  # fmt: skip
_CARDS = _PAGES.overlay(autoescape=False, finalize=_as_markdown)
