"""Filters on the properties of items, in CQL2 text."""

from typing import Any

import cql2

from noise2map_core.runtime.errors import ConfigError


class PropertyFilter:
    """A CQL2 expression, such as ``eo:cloud_cover < 20 AND platform = 'landsat-8'``.

    Evaluated as OGC 21-065 says: an item that lacks what a comparison needs does not meet it, nor
    the comparison's negation.
    """

    def __init__(self, text: str) -> None:
        """Raises ConfigError if `text` cannot be read."""
        self.text = text
        try:
            self._expression = cql2.parse_text(text)
            self._expression.validate()
        except (cql2.ParseError, cql2.ValidationError) as error:
            raise ConfigError(
                f"filter {text!r} cannot be read ({_reason(error)}). Write search.filter in CQL2 "
                "text, such as \"eo:cloud_cover < 20 AND platform = 'landsat-8'\"."
            ) from None

    def as_json(self) -> dict[str, Any]:
        """The expression in CQL2 JSON, as APIs take it."""
        return self._expression.to_json()

    def matches(self, item: dict[str, Any]) -> bool:
        """True if an item's document meets the filter."""
        reduced: object = self._expression.reduce(item).to_json()
        return reduced is True  # else False, or what is left of an expression that is not decided


def _reason(error: Exception) -> str:
    """cql2 draws the place under the text; its last line says what is wrong, its first where."""
    lines = [line.strip(" |=->") for line in str(error).splitlines()]
    lines = [line for line in lines if line.strip("^-")]
    return f"at {lines[0]}: {lines[-1]}" if len(lines) > 1 else (lines or ["not understood"])[0]
