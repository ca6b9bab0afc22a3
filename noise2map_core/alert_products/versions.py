"""Where the products of a day lie: each version of them in a folder that is never changed."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

PRODUCTS = "products"
ITEM = "item.json"
KEY = "noise2map:alerts_key"
"""Property of an item: from what it was made."""


@dataclass(frozen=True)
class Version:
    """The products of one day, made for the first time or once more."""

    folder: Path
    number: int

    @property
    def item(self) -> Path:
        """Its STAC item, written last."""
        return self.folder / ITEM

    @property
    def key(self) -> str:
        """From what it was made; empty for what cannot be read."""
        try:
            document = json.loads(self.item.read_text(encoding="utf-8"))
            return str(document["properties"][KEY])
        except (ValueError, KeyError, TypeError):
            return ""


def version_of(alerts: Path, day: date, number: int) -> Version:
    """A version, whether it is there or not: `products/2025-06-20`, then `products/2025-06-20.v2`.

    `alerts`: the folder of that name of an area.
    """
    suffix = f".v{number}" if number > 1 else ""
    return Version(alerts / PRODUCTS / f"{day}{suffix}", number)


def versions_from(alerts: Path, day: date) -> list[Version]:
    """All finished versions of a day and of later ones."""
    days = sorted(
        found
        for item in (alerts / PRODUCTS).glob(f"*/{ITEM}")
        if (found := _day(item.parent.name)) is not None and found >= day
    )
    newest = {one: newest_version(alerts, one) for one in days}
    return [
        version_of(alerts, one, number + 1)
        for one, last in newest.items()
        for number in range(last.number if last else 0)
    ]


def _day(folder: str) -> date | None:
    try:
        return date.fromisoformat(folder.partition(".")[0])
    except ValueError:
        return None  # something else that lies there


def newest_version(alerts: Path, day: date) -> Version | None:
    """The last version of a day that is finished; None: there is none."""
    number = 1
    while version_of(alerts, day, number).item.is_file():
        number += 1
    return version_of(alerts, day, number - 1) if number > 1 else None
