"""Small static catalogues of files that a test wrote."""

import json
from pathlib import Path
from typing import Any

from noise2map_core.settings.catalog import SearchConfig

COLLECTION = "made"


def item(name: str, href: Path | str, geometry: Any, **properties: Any) -> dict[str, Any]:
    """An item of one band, `red`; `geometry` is anything with __geo_interface__, or None."""
    place = {} if geometry is None else {"bbox": list(geometry.bounds)}
    return {
        **place, "type": "Feature", "stac_version": "1.0.0", "stac_extensions": [], "id": name,
        "geometry": None if geometry is None else geometry.__geo_interface__,
        "properties": {"datetime": "2020-06-01T10:00:00Z", **properties},
        "links": [], "assets": {"red": {"href": str(href)}}, "collection": COLLECTION,
    }  # fmt: skip


def catalog_of(folder: Path, *items: dict[str, Any], **search: Any) -> SearchConfig:
    """A catalogue of some items, as it is searched."""
    folder.mkdir(parents=True, exist_ok=True)
    for document in items:
        (folder / f"{document['id']}.json").write_text(json.dumps(document))
    links = [{"rel": "item", "href": f"./{document['id']}.json"} for document in items]
    collection = {
        "type": "Collection", "stac_version": "1.0.0", "id": COLLECTION, "description": "",
        "license": "other", "links": links,
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}
        },
    }  # fmt: skip
    (folder / "collection.json").write_text(json.dumps(collection))
    root = {
        "type": "Catalog", "stac_version": "1.0.0", "id": "root", "description": "",
        "links": [{"rel": "child", "href": "./collection.json"}],
    }  # fmt: skip
    (folder / "catalog.json").write_text(json.dumps(root))
    return SearchConfig(catalog=str(folder / "catalog.json"), collection=COLLECTION, **search)
