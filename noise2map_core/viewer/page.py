"""The viewer's page and what it loads; where they are put beside a map that is published."""

import re
from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from noise2map_core.runtime.atomic import whole_files
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.storage import is_local

PAGE = "view.html"
FOLDER = "viewer"
"""Beside the page: what it loads."""
DOCUMENTS = ("item.json", "collection.json")
"""By which the page finds data; of a folder that has both, the first."""
ASSETS = ("view.css", "data.js", "cog.js", "layers.js", "view.js", "vendor.js", "licences.txt")
_STATIC = files("noise2map_core.viewer") / "static"


def write_viewer(folder: Path, basemap: str = "") -> list[str]:
    """Put the page and what it loads into the folder of a map or of a collection; their names in
    it, the page last.

    `folder` may lie on object storage. `basemap` is as of `page_text`. The page finds the data by
    the item.json or collection.json beside it. Raises ConfigError, OutputError.
    """
    text = page_text(basemap, document_in(folder))
    assets = folder / FOLDER
    if is_local(folder):
        assets.mkdir(parents=True, exist_ok=True)
    with whole_files(assets) as partial:
        for name in ASSETS:
            (partial / name).write_bytes(asset_bytes(name))
    with whole_files(folder) as partial:
        (partial / PAGE).write_text(text, encoding="utf-8")
    return [*(f"{FOLDER}/{name}" for name in ASSETS), PAGE]


def asset_bytes(name: str) -> bytes:
    """One of `ASSETS`."""
    return (_STATIC / name).read_bytes()


def document_in(folder: Path) -> str:
    """Which of `DOCUMENTS` is there; the first if none is."""
    return next((name for name in DOCUMENTS if (folder / name).exists()), DOCUMENTS[0])


def page_text(basemap: str = "", document: str = DOCUMENTS[0]) -> str:
    """The page of a folder with this document. It loads nothing from other hosts but tiles of
    `basemap`, if it is given: a URL with {x}, {y} and {z}. Raises ConfigError for another."""
    text = (_STATIC / PAGE).read_text(encoding="utf-8")
    return (
        text.replace("DOCUMENT", document)
        .replace("BASEMAP_HOST", _host(basemap))
        .replace("BASEMAP", escape(basemap))
    )


def _host(basemap: str) -> str:
    """Where tiles come from, for the page's policy; empty if there are none.

    What could end the policy or begin another part of it is refused.
    """
    if not basemap:
        return ""
    parts = urlsplit(basemap)
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:\[\]-]+", parts.netloc):
        raise ConfigError(
            f"basemap {basemap} is no web address: write https://HOST/{{z}}/{{x}}/{{y}}.png."
        )
    if missing := [name for name in ("{x}", "{y}", "{z}") if name not in basemap]:
        raise ConfigError(
            f"basemap {basemap} lacks {', '.join(missing)}, where a tile's place stands."
        )
    return f"{parts.scheme}://{parts.netloc}"
