"""What a finished chip store holds: length and digest of every object, copies of the small ones.

`manifest.json` lists every other object. It carries a digest of itself and a generation, which each
append raises. `copies/` holds a copy of it and of all objects but the shards of pixels: what no
source could give back. The copies are written first: an append is in force from its copy of the
manifest on.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import ChipStoreError
from noise2map_core.runtime.storage import files_in, local_copy, move, read_bytes

MANIFEST = "manifest.json"
COPIES = "copies"
"""Folder of the copies."""
MANIFESTS = (MANIFEST, f"{COPIES}/{MANIFEST}")
SOURCES = "sources.json"
"""What the pixels were read from; see `chip_sources`."""

BLOCK_BYTES = 1 << 20

Digest = list[Any]
"""Length in bytes and SHA-256 (hex) of an object."""


@dataclass(frozen=True)
class Manifest:
    """The objects of a store; all but the manifest and its copies."""

    format_version: int
    generation: int
    """Raised by every append."""
    objects: dict[str, Digest]

    def to_bytes(self) -> bytes:
        """The file."""
        body = {
            "format_version": self.format_version,
            "generation": self.generation,
            "objects": dict(sorted(self.objects.items())),
        }
        return json.dumps({**body, "digest": digest_of(body)}, indent=1).encode()

    @property
    def metadata(self) -> list[str]:
        """All objects but the shards of pixels and the copies."""
        return sorted(key for key in self.objects if not is_shard(key) and not is_copy(key))


def parse_manifest(body: bytes | None) -> Manifest | None:
    """The manifest in a file's bytes; None if they are damaged."""
    try:
        found = json.loads(body or b"")
        stated = found.pop("digest", None)
        manifest = Manifest(found["format_version"], found["generation"], found["objects"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if stated == digest_of(found) and manifest.to_bytes() == body else None


def read_manifest(path: Path) -> Manifest:
    """The manifest of a store. Raises ChipStoreError if it is missing or damaged."""
    body = read_object(path / MANIFEST)
    if body is None:
        raise ChipStoreError(
            f"chip store {path} is not finished. Run the same ingest-region command again; it "
            "continues."
        )
    manifest = parse_manifest(body)
    if manifest is None:
        raise damaged(path, MANIFEST)
    return manifest


def newest_manifest(path: Path) -> Manifest:
    """The newest intact copy of a finished store's manifest. Raises ChipStoreError if none is."""
    found = [parse_manifest(read_object(path / key)) for key in MANIFESTS]
    intact = [manifest for manifest in found if manifest is not None]
    if not intact:
        if not any((path / key).exists() for key in MANIFESTS):
            return read_manifest(path)  # says that the store is not finished
        raise ChipStoreError(
            f"chip store {path}: no copy of its manifest is intact, so nothing can be proved of "
            "it. Ingest it anew."
        )
    return max(intact, key=lambda manifest: manifest.generation)


def damaged(path: Path, key: str) -> ChipStoreError:
    """What to say of an object that is not the one that was written."""
    return ChipStoreError(
        f"chip store {path} is damaged: {key} is not what its manifest lists. Mend it with "
        f"`noise2map store repair {path}`."
    )


def is_shard(key: str) -> bool:
    """True for the objects that hold chips' pixels."""
    array, _, rest = key.partition("/")
    return rest.startswith("c/") and array in ("image", "valid", "label_segment", "label_change")


def is_copy(key: str) -> bool:
    """True for what lies in the folder of copies."""
    return key.startswith(f"{COPIES}/")


def object_digest(path: Path) -> Digest | None:
    """Length and SHA-256 of a file, read in blocks; None if there is none."""
    digest, length = hashlib.sha256(), 0
    try:
        with local_copy(path) as copy, copy.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                length += len(block)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return [length, digest.hexdigest()]


def bytes_digest(body: bytes) -> Digest:
    """Length and SHA-256 of what was read whole."""
    return [len(body), hashlib.sha256(body).hexdigest()]


def read_object(path: Path) -> bytes | None:
    """A small file's bytes; None if there is none."""
    try:
        return read_bytes(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def write_object(path: Path, body: bytes) -> None:
    """Write a small file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_bytes(body)


def list_objects(path: Path) -> Iterator[str]:
    """Keys of all files of a store but the copies and the manifest, in order."""
    for file in files_in(path):
        key = file.relative_to(path).as_posix()
        if key != MANIFEST and not is_copy(key):
            yield key


def commit(path: Path, staged: Path, manifest: Manifest) -> None:
    """Make the objects that `manifest` lists, as far as they lie in `staged`, the store's own.

    The copy of the manifest is the point of no return: from then on `complete` can finish what was
    begun.
    """
    copies = {f"{COPIES}/{key}": manifest.objects[key] for key in manifest.metadata}
    for key in manifest.metadata:
        write_object(path / COPIES / key, (staged / key).read_bytes())
    whole = replace(manifest, objects={**manifest.objects, **copies})
    write_object(path / COPIES / MANIFEST, whole.to_bytes())
    complete(path, staged)


def is_pending(path: Path) -> bool:
    """True if an append is in force and its objects are not all in place yet."""
    current, copy = (parse_manifest(read_object(path / key)) for key in MANIFESTS)
    return bool(copy and current and copy.generation > current.generation)


def complete(path: Path, staged: Path) -> None:
    """Move what is in force into place; safe to repeat. `staged` may be the store itself.

    A copy that was damaged meanwhile replaces nothing: `repair` finds what it stands for.
    """
    body = (path / COPIES / MANIFEST).read_bytes()
    manifest = parse_manifest(body)
    assert manifest is not None
    for key in filter(is_shard, manifest.objects) if staged != path else ():
        if (staged / key).exists():
            move(staged / key, path / key)
    for key in manifest.metadata:
        copy, stated = path / COPIES / key, manifest.objects[key]
        if object_digest(path / key) != stated and object_digest(copy) == stated:
            write_object(path / key, copy.read_bytes())
    write_object(path / MANIFEST, body)
