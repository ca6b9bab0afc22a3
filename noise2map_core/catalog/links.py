"""Links of documents: relative to where they stand, and no way from the web into local files."""

import ipaddress
import re
import socket
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from noise2map_core.runtime.errors import CatalogError
from noise2map_core.runtime.storage import local_path

REMOTE_SCHEMES = ("http", "https", "s3", "gs")

_HIDDEN = re.compile(r"[\x00-\x1f\x7f\\]|^\s|\s$")
"""Characters that programs read differently: control characters, backslashes, spaces around."""
_HOST = re.compile(r"[a-z0-9._:-]+", re.IGNORECASE)
_WRAPPED = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 for the IPv4 network, RFC 6052."""


def is_remote(href: str) -> bool:
    """True for addresses that a local path cannot have."""
    return urlsplit(href).scheme in REMOTE_SCHEMES


def resolve(href: str, base: str, owner: str, allowed: Collection[str] = ()) -> str:
    """Absolute form of `href`, found in the document at `base`.

    A document from the web may name only the web, and there no internal address but its own host
    and the `allowed`: raises CatalogError otherwise. Documents on disk may name anything.
    """
    if not is_remote(base):
        return href if is_remote(href) else _resolve_local(href, base, owner)
    depth = len(urlsplit(base).path.strip("/").split("/")) - 1
    parts = href.split("/")
    outside = href.startswith("/") or ":" in parts[0] or parts.count("..") > depth
    if _HIDDEN.search(href) or (outside and not is_remote(href)):
        raise CatalogError(
            f"{owner} of a catalogue on the web points to a local file: {href!r}. Its links must "
            "be URLs, or relative to the item."
        )
    absolute = urljoin(base, href)
    require_public(absolute, base, owner, allowed)
    return absolute


def _resolve_local(href: str, base: str, owner: str) -> str:
    """The path of a link to a file: a path as it is written, or, where nothing is there, as a URL
    spells it (`a%20b.tif`)."""
    try:
        path = (Path(base).parent / local_path(href)).resolve()
        spelled = (Path(base).parent / unquote(href)).resolve()
    except ValueError as error:
        raise CatalogError(f"{owner} points to no file: {error}. Mend the catalogue.") from None
    return str(spelled if "%" in href and not path.exists() and spelled.exists() else path)


def require_public(href: str, base: str, owner: str, allowed: Collection[str] = ()) -> None:
    """Raises CatalogError if an address on the web, named by the document at `base`, is internal.

    Names are looked up once; one that resolves to something else later is not covered. Redirects
    are looked at where they are followed.
    """
    try:
        address, own = urlsplit(href), urlsplit(base).hostname
        host, _ = address.hostname or "", address.port
    except ValueError as error:
        raise CatalogError(f"{owner} points to no address: {error}. Mend the catalogue.") from None
    bucket = address.scheme not in ("http", "https")
    if not bucket and (host in allowed or (host == own and not is_split(host))):
        return
    if "@" in address.netloc or not _HOST.fullmatch(host):
        raise CatalogError(
            f"{owner} points to an address that is not plain: {host!r}. Mend the catalogue."
        )
    if not bucket and is_internal(host):
        raise CatalogError(
            f"{owner} points to {host}, an internal address. If you trust the catalogue, set "
            f"search.allow_hosts to [{host}]."
        )


@lru_cache(maxsize=1024)
def is_internal(host: str) -> bool:
    """True if a name or number stands for a loopback, link-local, private or reserved address,
    be it one among others."""
    return any(map(_is_inside, _addresses(host)))


def is_trusted(host: str) -> bool:
    """True if all that a name stands for is internal: nobody outside can have made it up."""
    return is_internal(host) and not _is_mixed(host)


def is_split(host: str) -> bool:
    """True for a name with an internal and a public address, which may lead to either."""
    return is_internal(host) and _is_mixed(host)


@lru_cache(maxsize=1024)
def _is_mixed(host: str) -> bool:
    return not all(map(_is_inside, _addresses(host)))


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """What a name stands for now; nothing if it cannot be looked up, nor be read from then."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return []
    return [_unwrapped(ipaddress.ip_address(one.split("%")[0])) for one in found]


def _is_inside(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not address.is_global or address.is_multicast


def _unwrapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 one stands for, if it does; a gateway would go there."""
    if address.version == 4:
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (address in _WRAPPED or int(address) >> 32 == 0):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address
