"""The items of a collection as one table in stac-geoparquet, searched without opening each."""

import posixpath
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet

from noise2map_core.runtime.atomic import whole_file

Document = dict[str, Any]


def write_items(
    items: Mapping[str, Document], path: Path, absolute: Callable[[str], str] | None = None
) -> None:
    """Write items, by their links in the table's folder, in the order of time and id.

    Their own links lead from the table, or are made so by `absolute`, which is given what leads
    from the table.
    """
    moved = [_moved(item, posixpath.dirname(href), absolute) for href, item in items.items()]
    ordered = sorted(moved, key=lambda item: (_time(item), item["id"]))
    with whole_file(path) as partial:
        to_parquet(parse_stac_items_to_arrow(ordered), partial)


def _time(item: Document) -> str:
    properties = item["properties"]
    return str(properties.get("datetime") or properties["start_datetime"])


def _moved(item: Document, folder: str, absolute: Callable[[str], str] | None) -> Document:
    """An item that lies in `folder`, as it is to be read from here."""

    def lead(href: str) -> str:
        if re.match(r"[a-z][a-z0-9+.-]*:|/", href):
            return href
        path = posixpath.normpath(posixpath.join(folder, href))
        return absolute(path) if absolute else f"./{path}"

    document = deepcopy(item)
    for entry in (*document["assets"].values(), *document["links"]):
        entry["href"] = lead(entry["href"])
    return document
