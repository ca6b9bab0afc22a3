"""What items and collections of this project have in common: extensions, ids, providers."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.storage import absolute

_EXTENSIONS = "https://stac-extensions.github.io"
CLASSIFICATION = f"{_EXTENSIONS}/classification/v2.0.0/schema.json"
FILE = f"{_EXTENSIONS}/file/v2.1.0/schema.json"
MLM = f"{_EXTENSIONS}/mlm/v1.5.2/schema.json"
PROCESSING = f"{_EXTENSIONS}/processing/v1.2.0/schema.json"
PROJECTION = f"{_EXTENSIONS}/projection/v2.0.0/schema.json"
RASTER = f"{_EXTENSIONS}/raster/v2.0.0/schema.json"
WEB_MAP_LINKS = f"{_EXTENSIONS}/web-map-links/v1.2.0/schema.json"
LICENSE = "other"
"""Of maps: that of their sources, which `attribution` names."""
MAKER = {"name": "noise2map", "roles": ["processor"]}
_LONGEST_ID = 64
"""Characters of what a name gives to an id."""


def identifier(text: str, otherwise: str = "") -> str:
    """A name as ids and files may have it everywhere: letters and digits of ASCII, `-` and `_`.

    Accents are dropped, blanks become `_`, all else `-`; two names may become one. If nothing is
    left, `otherwise`, or a digest of the name.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^0-9A-Za-z_-]+", "-", re.sub(r"\s+", "_", plain.strip()))
    return safe.strip("-_")[:_LONGEST_ID] or otherwise or digest_of(text)[:8]


def collection_id(path: Path) -> str:
    """What a collection is called: after its folder."""
    return identifier(absolute(path).parent.name)


def providers(attributions: Iterable[str]) -> list[dict[str, Any]]:
    """Who made something from whose imagery, each once."""
    named = sorted({one for text in attributions for one in text.split("; ") if one})
    return [*({"name": name, "roles": ["producer"]} for name in named), MAKER]
