"""The identity of an asset: which bytes it holds, never when they were written."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from noise2map_core.catalog.scene import BandSource, Scene, Stated, Version
from noise2map_core.rasters.files import local_stated
from noise2map_core.rasters.multihash import require_checksum
from noise2map_core.rasters.remote import CHECKED_BYTES, RemoteFile, changed, is_remote, stated
from noise2map_core.rasters.stated_masks import identity_beside
from noise2map_core.rasters.zarr_arrays import is_zarr, zarr_version
from noise2map_core.runtime.errors import AssetReadError, explained
from noise2map_core.runtime.mapper import at_once

BLOCK_BYTES = 8 << 20


def pin_scenes(scenes: Sequence[Scene], *, masks: bool = True) -> list[Scene]:
    """The scenes, each asset with the version that it has now; each is asked once.

    Whoever reads them from then on reads these very versions, or fails: a run of several hours, on
    many machines, is made from one state of the catalogue. With `masks` these too, and always what
    clouds are detected in. Raises AssetReadError for an asset that is not there.
    """
    sources = _sources(scenes, masks)
    hrefs = [source.href for source in sources]
    versions = dict(zip(hrefs, at_once(_version, sources), strict=True))

    def pinned(source: BandSource) -> BandSource:
        return replace(source, version=versions[source.href])

    return [
        replace(
            scene,
            bands=tuple(map(pinned, scene.bands)),
            mask=scene.mask and replace(scene.mask, source=pinned(scene.mask.source))
            if masks
            else scene.mask,
            detection=scene.detection
            and replace(scene.detection, bands=tuple(map(pinned, scene.detection.bands))),
        )
        for scene in scenes
    ]


def asset_identities(scenes: list[Scene], *, masks: bool = False) -> dict[str, str]:
    """Identity of every asset of `scenes` by href, with `masks` of these too; each is asked once,
    those of `pin_scenes` not again.

    The item's `file:checksum`, else the ETag of one HEAD request, else the SHA-256 of the bytes; of
    a file on disk with a mask beside it, that mask's too.
    Raises AssetReadError for an asset that is not there.
    """
    sources = _sources(scenes, masks)
    return dict(zip([one.href for one in sources], at_once(_identity, sources), strict=True))


def _identity(source: BandSource) -> str:
    return _version(source).identity + identity_beside(source.href)


def _sources(scenes: Sequence[Scene], masks: bool) -> list[BandSource]:
    bands = [scene.bands for scene in scenes]
    bands += [scene.detection.bands for scene in scenes if scene.detection is not None]
    sources = {band.href: band for part in bands for band in part}
    if masks:
        found = [scene.mask.source for scene in scenes if scene.mask is not None]
        sources |= {source.href: source for source in found}
    return list(sources.values())


def _version(source: BandSource) -> Version:
    if source.version is not None:
        return source.version
    if is_zarr(source.href):
        return zarr_version(source)
    if not is_remote(source.href):
        return _local_version(source)
    found = stated(source)
    if source.checksum:
        return Version(f"checksum:{source.checksum}", found)
    if found.etag:
        return Version(f"etag:{found.etag}", found)
    return Version(f"sha256:{_remote_sha256(source, found)}", found)


def _local_version(source: BandSource) -> Version:
    path, found = Path(source.href), local_stated(source.href)
    try:
        if source.checksum is None or found is None:
            with path.open("rb") as file:
                identity = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        else:
            identity = f"checksum:{source.checksum}"
            if found.size <= CHECKED_BYTES:
                require_checksum(source.href, source.checksum, path)
    except FileNotFoundError as error:
        raise AssetReadError(f"asset {path}: {explained(error)}", missing=True) from error
    except OSError as error:
        raise AssetReadError(f"asset {path}: {explained(error)}") from error
    if found is None or local_stated(source.href) != found:
        raise changed(source.href)
    return Version(identity, found)


def _remote_sha256(source: BandSource, found: Stated) -> str:
    """Of a file whose server names no versions: it is read whole, once a run."""
    file = RemoteFile(replace(source, version=Version("", found)))
    digest = hashlib.sha256()
    for start in range(0, found.size, BLOCK_BYTES):
        digest.update(file.read(start, start + BLOCK_BYTES))
        if file.failure is not None:
            raise file.failure
    return digest.hexdigest()
