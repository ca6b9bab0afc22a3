"""What a model card says, read back."""

import re

SCORES = "## Scores"
"""Heading of what evaluate-maps found."""
_CELLS = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([\\|<])")


def card_table(card: str, heading: str) -> list[tuple[str, ...]]:
    """The first table below a heading (`## Scores`) of a card, its header first; empty if there is
    none. Cells are as they were given to the card's template."""
    section = f"\n{card}".partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    rows = [_row(line) for line in section.splitlines() if line.startswith("|")]
    # Between header and rows is a rule. People edit cards: a row that does not fit is passed over.
    return rows[:1] + [row for row in rows[2:] if len(row) == len(rows[0])]


def _row(line: str) -> tuple[str, ...]:
    cells = _CELLS.split(line.strip())[1:-1]
    return tuple(_ESCAPED.sub(r"\1", cell.strip()) for cell in cells)
