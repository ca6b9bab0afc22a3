"""The manifest of a run: what was made, from what, by what, and how long it took."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from noise2map_core import __version__
from noise2map_core.atomic import write_atomically
from noise2map_core.digest import file_sha256
from noise2map_core.redact import redacted_document

FORMAT_VERSION = 1
NAME = "manifest.json"


def products_are_current(output: Path, key: str) -> bool:
    """True if the products were made under `key` and all of them are still there."""
    manifest = read_manifest(output)
    return manifest.get("products_key") == key and all(
        (output / name).exists() for name in manifest["products"]
    )


def read_manifest(output: Path) -> dict[str, Any]:
    """The manifest of an output; empty if there is none."""
    path = output / NAME
    if not path.exists():
        return {}
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def write_manifest(output: Path, key: str, names: Iterable[str], facts: dict[str, Any]) -> None:
    """Write `manifest.json`, last of all; `facts` are plain values."""
    products = {
        name: {"bytes": (output / name).stat().st_size, "sha256": file_sha256(output / name)}
        for name in names
    }
    document = {
        "format_version": FORMAT_VERSION,
        "noise2map": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "products_key": key,
        "products": products,
        **facts,
    }
    write_atomically(output / NAME, json.dumps(redacted_document(document), indent=2) + "\n")
