"""Links of documents: relative to where they stand, and no way out of the web into local files."""

from pathlib import Path
from urllib.parse import urljoin, urlsplit

from noise2map_core.errors import CatalogError

REMOTE_SCHEMES = ("http", "https", "s3", "gs")


def is_remote(href: str) -> bool:
    """True for addresses that a local path cannot have."""
    return urlsplit(href).scheme in REMOTE_SCHEMES


def resolve(href: str, base: str, owner: str) -> str:
    """Absolute form of `href`, found in the document at `base`.

    A document from the web may name only the web: raises CatalogError if it names a local file.
    """
    if is_remote(href):
        return href
    if not is_remote(base):
        local = href.removeprefix("file://")
        return str((Path(base).parent / local).resolve())
    depth = len(urlsplit(base).path.strip("/").split("/")) - 1
    climbs = href.split("/").count("..")
    if href.startswith(("/", "\\")) or ":" in href.split("/")[0] or climbs > depth:
        raise CatalogError(
            f"{owner} of a catalogue on the web points to a local file: {href}. Its links must be "
            "URLs, or relative to the item."
        )
    return urljoin(base, href)
