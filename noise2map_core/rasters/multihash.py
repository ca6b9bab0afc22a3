"""Checksums as STAC's file extension writes them: multihashes, in hex.

https://github.com/stac-extensions/file and https://github.com/multiformats/multicodec
"""

import hashlib
from pathlib import Path
from typing import Any

from noise2map_core.runtime.errors import AssetReadError

ALGORITHMS = {"d50110": "md5", "1114": "sha1", "1220": "sha256", "1340": "sha512"}
"""By the first bytes: which algorithm, and the length of its digest."""


def digest_in(checksum: str) -> tuple[str, str] | None:
    """Algorithm and digest (hex) of a multihash; None for one that cannot be computed here."""
    text = checksum.lower()
    for prefix, name in ALGORITHMS.items():
        digest = text.removeprefix(prefix)
        if digest != text and len(digest) == 2 * _new(name).digest_size:
            return name, digest
    return None


def require_checksum(href: str, checksum: str, content: bytes | Path) -> None:
    """Raises AssetReadError if a file, given whole or by its path, is not the one of a checksum.

    Checksums of other algorithms, and what is no multihash, say nothing.
    """
    known = digest_in(checksum)
    if known is None:
        return
    name, digest = known
    if _digest(name, content) != digest:
        raise AssetReadError(
            f"asset {href} is not the file that its item describes: its {name} is not that of "
            "file:checksum. Mend the catalogue, or fetch the file anew."
        )


def _digest(name: str, content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return str(_new(name, content).hexdigest())
    with content.open("rb") as file:
        return hashlib.file_digest(file, lambda: _new(name)).hexdigest()


def _new(name: str, content: bytes = b"") -> Any:
    return hashlib.new(name, content, usedforsecurity=False)  # MD5 is no secret here
