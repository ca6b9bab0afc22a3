"""What is to be published: an item with its files, as a run left them."""

import json
import posixpath
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noise2map_core.mapping.ledger import Ledger
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.mapping.overviews import STATED, STATED_EARLIER
from noise2map_core.products.manifest import NAME as MANIFEST
from noise2map_core.products.manifest import products_are_current, read_manifest
from noise2map_core.products.parts import MapperOf, one_process
from noise2map_core.products.stac.assets import MULTIHASH_SHA256, ZARR
from noise2map_core.products.verification import iter_faults, open_output
from noise2map_core.runtime.digest import digest_of, file_sha256
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.mapper import Mapper, here
from noise2map_core.runtime.storage import files_in, joined, size_of

Document = dict[str, Any]
VERSION_LENGTH = 12


@dataclass(frozen=True)
class Bundle:
    """An item and the files that it names."""

    folder: Path
    place: str
    """Of the folder, from the root of what is published; "" for the root itself."""
    document: Document
    files: dict[str, Path]
    """By their names in the folder."""
    version: str
    """Another one if any of the files is."""

    @property
    def mosaic(self) -> bool:
        """True for the output of a run, False for products alone."""
        return any(asset.get("type") == ZARR for asset in self.document["assets"].values())


def read_document(path: Path) -> Document:
    """An item or a collection. Raises OutputError."""
    try:
        document: Document = json.loads(path.read_text(encoding="utf-8"))
        if {"links", "type", "stac_version"} <= set(document):
            return document
        raise ValueError("it is no STAC document")
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())
        raise OutputError(f"{path} cannot be published: {told}. Make the map again.") from error


def read_bundle(root: Path, href: str) -> Bundle:
    """The item at `href` in `root`. Raises OutputError for one that is not finished."""
    path = joined(root, href)
    document, folder = read_document(path), path.parent
    if any(asset.get("type") == ZARR for asset in document["assets"].values()):
        _require_finished(folder)
    files = dict(_iter_files(document, folder))
    place = posixpath.dirname(posixpath.normpath(href))
    return Bundle(folder, place, document, files, _version(document, folder, files))


def iter_bundle_faults(bundle: Bundle, mapper_of: MapperOf = one_process) -> Iterator[str]:
    """What is wrong with the files, in words: each is read, by who `mapper_of` gives for a map."""
    with ExitStack() as held:
        mapper: Mapper = here
        if bundle.mosaic:
            mosaic, manifest = open_output(bundle.folder)
            mapper = held.enter_context(mapper_of(mosaic.grid))
            yield from iter_faults(bundle.folder, mosaic, manifest, mapper)
        told = mapper(_file_fault, list(_iter_stated(bundle)))
        yield from filter(None, told)


def _iter_stated(bundle: Bundle) -> Iterator[tuple[Path, str]]:
    """Files, and the checksums that the item states."""
    for asset in bundle.document["assets"].values():
        if stated := asset.get("file:checksum"):
            yield bundle.files[posixpath.normpath(asset["href"])], stated


def _file_fault(named: tuple[Path, str]) -> str | None:
    file, stated = named
    if stated == MULTIHASH_SHA256 + file_sha256(file):
        return None
    return f"{file} is not the file that its item names"


def _require_finished(folder: Path) -> None:
    manifest = read_manifest(folder)
    key = manifest.get("products_key")
    if not key or not products_are_current(folder, key) or manifest.get("holes"):
        lacking = f"has no {MANIFEST}" if not manifest else "lacks tiles or products"
        raise OutputError(
            f"{folder} is not finished: it {lacking}. Run the same infer-region command again, "
            "then publish."
        )


def _iter_files(document: Document, folder: Path) -> Iterator[tuple[str, Path]]:
    for key, asset in sorted(document["assets"].items()):
        name = posixpath.normpath(asset["href"])
        if re.match(r"[a-z][a-z0-9+.-]*:|/|\.\.(/|$)", name):
            raise OutputError(
                f"{folder}: asset {key} lies outside of it, at {asset['href']}. Make the products "
                "anew: a rerun with another products.quicklook_px does."
            )
        path = folder / name
        if asset.get("type") == ZARR:
            yield from (
                (f"{name}/{file.relative_to(path).as_posix()}", file) for file in files_in(path)
            )
        elif path.is_file():
            yield name, path
        else:
            raise OutputError(f"{path} is missing. `noise2map verify --repair` makes it again.")


def _version(document: Document, folder: Path, files: dict[str, Path]) -> str:
    """Digest of what the item and the ledger say of the bytes, which are not read."""
    told = {key: asset.get("file:checksum") for key, asset in document["assets"].items()}
    names = {name: size_of(path) for name, path in files.items()}
    tiles: list[Any] = []
    if None in told.values():  # of a mosaic, the manifest and the records of its tiles know
        mosaic, manifest = open_output(folder)
        overviews = manifest.get(STATED, manifest.get(STATED_EARLIER))
        tiles = [[manifest.get("mosaic_metadata_sha256"), overviews], *_tile_digests(mosaic)]
    return digest_of([told, names, tiles])[:VERSION_LENGTH]


def _tile_digests(mosaic: Mosaic) -> Iterator[list[Any]]:
    view = Ledger(mosaic.path.parent).view()
    for rows in mosaic.grid.bands():
        for record in view.newest(rows):
            yield [record.row, record.col, record.digest]
