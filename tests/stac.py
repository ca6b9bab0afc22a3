"""STAC documents against schemas that lie on this disk, and their links against what is there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pystac.validation import validate_dict
from pystac.validation.stac_validator import JsonSchemaSTACValidator

Document = dict[str, Any]
EXTENSIONS = "https://stac-extensions.github.io"
CLASSIFICATION = f"{EXTENSIONS}/classification/v2.0.0/schema.json"
WITHOUT_SCHEMA = (
    f"{EXTENSIONS}/web-map-links/v1.2.0/schema.json", f"{EXTENSIONS}/version/v1.2.0/schema.json",
)  # fmt: skip
"""Extensions of which no schema can be had offline: their fields are looked at by hand."""


def offline_validator(schemas: Path) -> JsonSchemaSTACValidator:
    """Schemas of the core, which pystac ships, and those of extensions in a folder.

    Version 2 of classification has the class table of the version 1.1 that lies there.
    """
    found = JsonSchemaSTACValidator()
    for path in sorted(schemas.glob("*.json")):
        text = path.read_text()
        if path.name == "classification-v1.1.0.json":
            schema = json.loads(text.replace("classification/v1.1.0", "classification/v2.0.0"))
            found.schema_cache[CLASSIFICATION] = schema
        schema = json.loads(text)
        found.schema_cache[schema["$id"].rstrip("#")] = schema
    for uri in WITHOUT_SCHEMA:
        anything = {"$schema": "http://json-schema.org/draft-07/schema#", "$id": uri}
        found.schema_cache.setdefault(uri, anything)
    return found


def require_valid(document: Document, validator: JsonSchemaSTACValidator) -> None:
    """Raise STACValidationError unless a document meets the core and every extension it names."""
    checked = validate_dict(document, validator=validator)
    assert set(document["stac_extensions"]) <= set(checked)
    links = [link for link in document["links"] if link["rel"] == "pmtiles"]
    assert bool(links) == (WITHOUT_SCHEMA[0] in document["stac_extensions"])
    assert all(link["pmtiles:layers"] and link["type"].endswith("pmtiles") for link in links)


def hrefs(document: Document) -> Iterator[str]:
    """Of all assets and links."""
    for entry in (*document.get("assets", {}).values(), *document["links"]):
        yield entry["href"]


def dead_hrefs(path: Path) -> list[str]:
    """Links of a document on this disk that lead nowhere or are no relative ones; addresses of
    others on the web are left alone."""
    document = json.loads(path.read_text())
    return [
        href
        for href in hrefs(document)
        if not re.match("https?://", href) and not _leads(path.parent, href)
    ]


def _leads(folder: Path, href: str) -> bool:
    return "://" not in href and not href.startswith("/") and (folder / href).exists()


def require_catalog(path: Path, validator: JsonSchemaSTACValidator) -> list[str]:
    """The ids of a collection's items; it and all of them are valid, and no link is dead."""
    collection = json.loads(path.read_text())
    require_valid(collection, validator)
    assert dead_hrefs(path) == []
    found = []
    for link in collection["links"]:
        if link["rel"] != "item":
            continue
        place = path.parent / link["href"]
        item = json.loads(place.read_text())
        require_valid(item, validator)
        assert dead_hrefs(place) == [] and item["collection"] == collection["id"]
        found.append(item["id"])
    assert len(set(found)) == len(found)
    return found
