"""The identity of an asset: which bytes it holds, never when they were written."""

import hashlib
from pathlib import Path

import requests

from noise2map_core.catalog.access import Grant, grant_for, request
from noise2map_core.catalog.buckets import object_tag
from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.errors import AssetReadError
from noise2map_core.imagery.stated_masks import identity_beside

BLOCK_BYTES = 1 << 20


def asset_identities(scenes: list[Scene], *, masks: bool = False) -> dict[str, str]:
    """Identity of every asset of `scenes` by href, with `masks` of these too; each is asked once.

    The item's `file:checksum`, else the ETag of one HEAD request, else the SHA-256 of the bytes; of
    a file on disk with a mask beside it, that mask's too.
    Raises AssetReadError for an asset that is not there.
    """
    sources = {band.href: band for scene in scenes for band in scene.bands}
    if masks:
        found = [scene.mask.source for scene in scenes if scene.mask is not None]
        sources |= {source.href: source for source in found}
    return {href: _identity(source) + identity_beside(href) for href, source in sources.items()}


def _identity(source: BandSource) -> str:
    if source.checksum:
        return f"checksum:{source.checksum}"
    if source.href.startswith(("http://", "https://")):
        return _remote_identity(source)
    if source.href.startswith("s3://"):
        return f"etag:{object_tag(source.href)}"
    return f"sha256:{_local_sha256(Path(source.href))}"


def _local_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AssetReadError(
            f"asset {path}: {error.strerror}. Check the catalogue's files."
        ) from error


def _remote_identity(source: BandSource) -> str:
    grant = grant_for(source.href, source.signed)
    try:
        answer = request("HEAD", grant, allow_redirects=True)
        answer.raise_for_status()
        if etag := answer.headers.get("ETag"):
            return f"etag:{etag}"
        return f"sha256:{_streamed_sha256(grant)}"
    except requests.RequestException as error:
        raise AssetReadError(
            f"asset {source.href}: {error}. Check the catalogue's files."
        ) from error


def _streamed_sha256(grant: Grant) -> str:
    digest = hashlib.sha256()
    with request("GET", grant, stream=True) as answer:
        answer.raise_for_status()
        for block in answer.iter_content(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
