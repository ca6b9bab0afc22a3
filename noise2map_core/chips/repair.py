"""Finding what is broken in a chip store, and mending just that.

The manifest says what every object must be. Metadata is restored from its copies; shards of pixels
are read again from the recorded sources, and put in place only if they are what they were.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from noise2map_core.chips.append import complete_append, read_table, staged_folder
from noise2map_core.chips.manifest import (
    COPIES,
    MANIFESTS,
    SOURCES,
    Manifest,
    is_copy,
    is_pending,
    is_shard,
    newest_manifest,
    object_digest,
    read_object,
    write_object,
)
from noise2map_core.chips.pixels import ChipJob, make_shard
from noise2map_core.chips.sources import load_sources
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.chips.writer import StoreHeader, progress_folder
from noise2map_core.runtime.errors import ChipStoreError, ConfigError, Noise2MapError
from noise2map_core.runtime.storage import files_in, remove


@dataclass(frozen=True, slots=True)
class Damage:
    """One object that is not what the manifest lists."""

    key: str
    what: str
    """missing, of another length, or of other content."""

    def __str__(self) -> str:
        return f"{self.key}: {self.what}"


@dataclass(frozen=True)
class Repair:
    """What became of the broken objects."""

    restored: list[str]
    """From copies."""
    remade: list[str]
    """From the sources."""
    lost: dict[str, str]
    """What could not be mended, and why."""


def count_objects(path: Path) -> int:
    """Objects that `iter_checks` looks at. Raises ChipStoreError without an intact manifest."""
    manifest = newest_manifest(path)
    return len(manifest.objects) + len(MANIFESTS)


def iter_checks(path: Path) -> Iterator[Damage | None]:
    """Check every object of a finished store; yields what is wrong with each, None if nothing.

    Every byte is read once, in blocks. Raises ChipStoreError without an intact manifest.
    """
    manifest = newest_manifest(path)
    body = manifest.to_bytes()
    for key in MANIFESTS:
        found = read_object(path / key)
        yield None if found == body else Damage(key, _what(found is None, False))
    for key, stated in sorted(manifest.objects.items()):
        digest = object_digest(path / key)
        wrong = digest != stated
        same_length = digest is not None and digest[0] == stated[0]
        yield Damage(key, _what(digest is None, same_length)) if wrong else None


def find_strays(path: Path) -> list[str]:
    """Files in a store's folder that are none of its objects; they do no harm."""
    manifest = newest_manifest(path)
    known = {*manifest.objects, *MANIFESTS}
    files = (file.relative_to(path).as_posix() for file in files_in(path))
    return sorted(set(files) - known)


def repair_store(path: Path, damages: list[Damage]) -> Repair:
    """Mend these objects of a finished store, and touch no other.

    A shard is put in place only if its bytes have the length and digest that the manifest lists.
    """
    if is_pending(path):
        complete_append(path)
        _clear(staged_folder(path))
    manifest = newest_manifest(path)
    restored = [damage.key for damage in damages if not is_shard(damage.key)]
    lost = dict(_restore(path, manifest, restored))
    shards = sorted({damage.key for damage in damages if is_shard(damage.key)})
    if lost:
        lost |= dict.fromkeys(shards, "the store's metadata is lost")
    elif shards:
        lost |= dict(_remake(path, shards))
    return Repair(
        [key for key in restored if key not in lost],
        [key for key in shards if key not in lost],
        lost,
    )


def _what(missing: bool, same_length: bool) -> str:
    if missing:
        return "missing"
    return "of other content" if same_length else "of another length or content"


def _restore(path: Path, manifest: Manifest, keys: list[str]) -> Iterator[tuple[str, str]]:
    """Restore metadata from its copies; yields what cannot be, with the reason."""
    body = manifest.to_bytes()
    for key in keys:
        if key in MANIFESTS:
            write_object(path / key, body)
            continue
        twin = key.removeprefix(f"{COPIES}/") if is_copy(key) else f"{COPIES}/{key}"
        if _is_intact(path, manifest, twin):
            write_object(path / key, (path / twin).read_bytes())
        else:
            yield key, "no copy of it is intact"


def _is_intact(path: Path, manifest: Manifest, key: str) -> bool:
    return key in manifest.objects and object_digest(path / key) == manifest.objects[key]


def _remake(path: Path, keys: list[str]) -> Iterator[tuple[str, str]]:
    """Read shards again; yields what does not come out as it was, with the reason."""
    store, staged = open_store(path), progress_folder(path) / "repair.zarr"
    _clear(staged)
    try:
        job = _job_of(store, staged)
    except (ChipStoreError, ConfigError) as error:
        yield from ((key, str(error)) for key in keys)
        return
    _copy_metadata(path, staged)
    for shard in sorted({_shard_of(key) for key in keys}):
        mine = [key for key in keys if _shard_of(key) == shard]
        try:
            made = make_shard(job, shard).objects
        except Noise2MapError as error:
            yield from ((key, str(error)) for key in mine)
            continue
        for key in mine:
            if made.get(key) == store.objects[key]:
                write_object(path / key, (staged / key).read_bytes())
            else:
                yield key, "its sources give other bytes now"
    _clear(staged)


def _clear(staged: Path) -> None:
    for folder in (staged, progress_folder(staged)):
        remove(folder)


def _shard_of(key: str) -> int:
    return int(key.split("/")[2])


def _copy_metadata(path: Path, staged: Path) -> None:
    """An empty store of the same arrays."""
    for file in (path / "zarr.json", *path.glob("*/zarr.json")):
        write_object(staged / file.relative_to(path), file.read_bytes())


def _job_of(store: ChipStore, staged: Path) -> ChipJob:
    """The job that made a store, writing elsewhere. Raises ChipStoreError if it is not recorded."""
    body = read_object(store.path / SOURCES)
    if body is None:
        raise ChipStoreError(
            f"chip store {store.path} does not record what its pixels were read from. Make it anew."
        )
    ingests = tuple(load_sources(body))
    return ChipJob(staged, StoreHeader.of(store), ingests, read_table(store))
