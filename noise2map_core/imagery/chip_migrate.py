"""Chip stores of an earlier format, brought to the present one.

Format 1 had neither copies of its metadata nor a record of its sources. The copies can be added;
the sources cannot, so its chips can be checked but not read again, and nothing can be appended.
"""

import json
from pathlib import Path

from noise2map_core.imagery.chip_append import staged_folder
from noise2map_core.imagery.chip_manifest import (
    Manifest,
    object_digest,
    read_manifest,
    seal,
    write_object,
)
from noise2map_core.imagery.chip_store import FORMAT_VERSION, open_store
from noise2map_core.imagery.chip_writer import progress_folder
from noise2map_core.storage import remove


def migrate_store(path: Path) -> int:
    """Raise a store to the present format; returns the format that it had. Safe to repeat.

    Pixels are not touched. Raises ChipStoreError if the store is not finished or its metadata is
    damaged.
    """
    store, manifest = open_store(path), read_manifest(path)
    before = int(store.attributes["format_version"])
    if before == FORMAT_VERSION:
        return before
    staged = staged_folder(path)
    remove(staged)
    for key in manifest.metadata:
        write_object(staged / key, (path / key).read_bytes())
    group = json.loads((staged / "zarr.json").read_text(encoding="utf-8"))
    group["attributes"] |= {"format_version": FORMAT_VERSION, "keys": [store.attributes["key"]]}
    write_object(staged / "zarr.json", json.dumps(group, indent=2).encode())
    objects = {**manifest.objects, "zarr.json": object_digest(staged / "zarr.json") or []}
    seal(path, staged, Manifest(FORMAT_VERSION, manifest.generation + 1, objects))
    remove(progress_folder(path))
    return before
