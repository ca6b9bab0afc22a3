"""Reading what is not open to everybody: signatures, keys, and redirects that are watched.

What opens a door is asked for where the reading happens, from the environment of that process, and
is kept in memory alone: scenes, stores and manifests hold addresses without signatures.

- `NOISE2MAP_HEADER_<NAME>` holds headers for one scheme, host and port (keys).
- Files in Azure's blob storage are signed by Planetary Computer's token service, as its own client
  does; `PC_SDK_SUBSCRIPTION_KEY` and `PC_SDK_SAS_URL` mean what they mean there.
- `s3://` takes the variables that GDAL documents: AWS_ACCESS_KEY_ID, AWS_REQUEST_PAYER and others.
"""

import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from noise2map_core.catalog.interval import parse_time
from noise2map_core.catalog.links import is_internal, is_trusted, require_public
from noise2map_core.runtime.errors import AssetReadError, CatalogError, Noise2MapError
from noise2map_core.runtime.keys import (
    HEADER_PREFIX,
    HeaderVariable,
    Origin,
    header_variables,
    origin_of,
)
from noise2map_core.runtime.notices import tell
from noise2map_core.runtime.patience import PassingError, passing_answer, passing_failure, patiently
from noise2map_core.runtime.redact import silence_secrets, unsigned
from noise2map_core.settings.catalog import PATIENCE_S

TIMEOUT_S = (10.0, 60.0)
"""Seconds to connect, and between two packets of an answer."""
MAX_DOCUMENT_BYTES = 64 << 20
"""A page of a hundred items has some hundred kB."""
MAX_FILE_BYTES = 2 << 30
"""Tables of items, polygons: they are held in memory."""
CHUNK_BYTES = 1 << 16
MAX_ANSWER_S = 300.0
"""Seconds that an answer may take, however steadily it drips."""
SAS_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
BLOB_HOSTS = ".blob.core.windows.net"
MARGIN_S = 300.0
"""A signature is asked for anew when it has less than this to live."""
OPEN_S = 3600.0
"""How long it is remembered that a container needs no signature."""
WEB = ("http", "https")
NO_KEYS = (
    "accept", "accept-encoding", "accept-language", "connection", "content-length", "content-type",
    "if-match", "if-none-match", "if-range", "range", "user-agent",
)  # fmt: skip
"""Headers that go on to where a redirect leads."""

silence_secrets(
    "rasterio._env",
    "rasterio._err",
    "rasterio._io",
    "urllib3.connectionpool",
    "pystac_client.stac_api_io",
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What to send to be let in. Never written down."""

    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


class Access(Protocol):
    """One way of being let in."""

    def __call__(self, grant: Grant) -> Grant:
        """The grant with what its host wants; unchanged if this is not for that host.

        Asked before every read, from several threads. Raises AssetReadError if refused.
        """


def grant_for(href: str, signed: str = "") -> Grant:
    """How to read an address now; `signed` is the same one with the catalogue's own signature."""
    grant = Grant(signed or href)
    for access in ACCESS:
        grant = access(grant)
    return grant


def environment_headers(grant: Grant) -> Grant:
    """Headers that the environment holds for exactly the address's scheme, host and port."""
    if not grant.url.lower().startswith(WEB):
        return grant
    origin, found = origin_of(grant.url), list(grant.headers)
    for variable in header_variables():
        if variable.origin is None or (variable.origin == origin and variable.headers is None):
            raise AssetReadError(
                f"the environment's {variable.name} is not of the form 'Name: value'. Mend it."
            )
        if variable.origin == origin:
            found += variable.headers or ()
        elif origin and _alike(variable, origin):
            _say_withheld(variable.name, str(variable.origin), str(origin))
    return replace(grant, headers=tuple(found))


def _alike(variable: HeaderVariable, origin: Origin) -> bool:
    """True if a variable's name, its dashes and dots as underscores, may be meant for a host."""
    spelled = re.sub(r"[^A-Z0-9]", "_", origin.host.upper())
    own = variable.origin is not None and variable.origin.host == origin.host
    return own or variable.name == HEADER_PREFIX + spelled


@lru_cache(maxsize=64)
def _say_withheld(variable: str, named: str, asked: str) -> None:
    """Say, once, that a key is not sent where it may have been meant for."""
    tell(
        f"{variable} is for {named} alone and is not sent to {asked}. If it is for that, begin its "
        f"text with a line {asked}"
    )


class PlanetaryComputer:
    """Shared access signatures of Planetary Computer: one for a container, good for an hour or so.

    https://planetarycomputer.microsoft.com/docs/concepts/sas/
    """

    def __init__(self, hosts: str = BLOB_HOSTS, clock: Callable[[], float] = time.time) -> None:
        """Signs addresses at hosts with this end."""
        self._hosts, self._clock = hosts, clock
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}

    def __call__(self, grant: Grant) -> Grant:
        """The address with a signature, unless the service knows of no such container."""
        address = urlsplit(grant.url)
        service = os.environ.get("PC_SDK_SAS_URL", SAS_URL).rstrip("/")
        if not service or not (address.hostname or "").endswith(self._hosts):
            return grant
        if origin_of(grant.url) is None or not (address.scheme == "https" or _is_near(address)):
            return grant  # a signature is not sent in the clear
        account = (address.hostname or "").partition(".")[0]
        token = self._token(service, account, address.path.strip("/").partition("/")[0])
        return replace(grant, url=f"{unsigned(grant.url)}?{token}") if token else grant

    def _token(self, service: str, account: str, container: str) -> str:
        key = (account, container)
        token, expiry = self._tokens.get(key, ("", 0.0))
        if expiry - self._clock() < MARGIN_S:
            token, expiry = self._fetch(f"{service}/{account}/{container}")
            self._tokens[key] = (token, expiry)
        return token

    def _fetch(self, url: str) -> tuple[str, float]:
        """A token and when it ends (seconds); "" for what the service does not know."""
        key = os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
        headers = {"Ocp-Apim-Subscription-Key": key} if key else {}
        try:
            answer = WarySession().get(url, headers=headers, timeout=TIMEOUT_S)
            if answer.status_code == requests.codes.not_found:
                return "", self._clock() + OPEN_S
            answer.raise_for_status()
            document = answer.json()
            return str(document["token"]), parse_time(document["msft:expiry"]).timestamp()
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise AssetReadError(
                f"no signature can be had from {url}: {error}. Check the network; an empty "
                "PC_SDK_SAS_URL reads blobs unsigned."
            ) from error


ACCESS: tuple[Access, ...] = (PlanetaryComputer(), environment_headers)
"""All ways, in the order in which they are asked."""


class WarySession(requests.Session):
    """Requests with the headers of their hosts, which follow no redirect to an internal address.

    A header goes to its own host only, not to those that this one redirects to. Answers are read
    whole and no further than `max_bytes`; a host that turns out to be internal is not spoken to.
    """

    def __init__(
        self,
        allowed: Iterable[str] = (),
        max_bytes: int = MAX_DOCUMENT_BYTES,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`allowed` are internal hosts to which a redirect may lead; `patience_s` is how long a
        request that fails in passing is sent again."""
        super().__init__()
        self._allowed = frozenset(allowed)
        for scheme in WEB:
            self.mount(f"{scheme}://", _WaryAdapter(max_bytes, patience_s, self._allowed))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send one request; redirects come through here too."""
        request.headers.update(environment_headers(Grant(request.url or "")).headers)
        return super().send(request, **options)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Look at where a redirect leads before it is followed. Raises CatalogError."""
        origin, target = response.request.url or "", prepared_request.url or ""
        require_public_redirect(origin, target, self._allowed)
        if origin_of(origin) is None or origin_of(origin) != origin_of(target):
            for name in {*prepared_request.headers} - {"Authorization", "Cookie"}:
                if name.lower() not in NO_KEYS:
                    del prepared_request.headers[name]
            prepared_request.headers.pop("Authorization", None)
        super().rebuild_auth(prepared_request, response)


class _WaryAdapter(HTTPAdapter):
    """Reads every answer, those that redirect too, within limits of length and time."""

    def __init__(self, max_bytes: int, patience_s: float, allowed: frozenset[str]) -> None:
        self._allowed = allowed  # pools are made with it
        super().__init__()
        self._max_bytes, self._patience_s = max_bytes, patience_s

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Pools whose connections look at whom they have reached."""
        super().init_poolmanager(*args, **options)
        own = {"allowed": self._allowed}
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("Pool", (_WaryPool,), own),
            "https": type("SecurePool", (_WarySecurePool,), own),
        }

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        """Send one request, again where it fails in passing; the last answer is the answer.

        Raises CatalogError for an answer beyond the limits.
        """

        def ask() -> requests.Response:
            try:
                answer = self._send_once(request, *args, **options)
            except requests.RequestException as error:
                raise passing_failure(error) or error from error
            if passing := passing_answer(answer, file=self._max_bytes > MAX_DOCUMENT_BYTES):
                raise passing
            return answer

        try:
            return patiently(ask, unsigned(request.url or ""), self._patience_s)
        except PassingError as error:
            if error.answer is not None:
                return error.answer
            assert error.__cause__ is not None
            raise error.__cause__ from None

    def _send_once(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        answer = super().send(request, *args, **{**options, "stream": True})
        try:
            answer._content = self._body(request.url or "", answer)
        except Noise2MapError:
            answer.close()
            raise
        return answer

    def _body(self, url: str, answer: requests.Response) -> bytes:
        """The whole answer, decoded."""
        stated, end = answer.headers.get("Content-Length", ""), time.monotonic() + MAX_ANSWER_S
        if answer.request.method == "HEAD":
            return b""
        if "Range" in answer.request.headers and answer.status_code == requests.codes.ok:
            answer.close()  # the whole file, of which a part was asked for
            return b""
        if stated.isdigit() and int(stated) > self._max_bytes:
            raise _too_long(url, self._max_bytes)
        body = bytearray()
        try:
            while part := answer.raw.read1(CHUNK_BYTES, decode_content=True):
                body += part
                if len(body) > self._max_bytes:
                    raise _too_long(url, self._max_bytes)
                if time.monotonic() > end:
                    raise CatalogError(
                        f"{unsigned(url)} has not answered in full after {MAX_ANSWER_S:g} s. Try "
                        "again, or use a faster mirror."
                    )
        except HTTPError as error:
            raise requests.ConnectionError(error, request=answer.request) from error
        answer.raw.release_conn()
        return bytes(body)


def _is_near(address: SplitResult) -> bool:
    """True for a host of this machine or its network, which stands in for a service."""
    return is_trusted(address.hostname or "")


def _too_long(url: str, max_bytes: int) -> CatalogError:
    return CatalogError(
        f"{unsigned(url)} answers with more than {max_bytes >> 20} MiB, which is not read. Use a "
        "smaller one, or a copy on disk."
    )


def _require_expected(connection: HTTPConnection, peer: Any) -> None:
    """Raises CatalogError if a name of the open web has led to an internal address after all.

    Addresses are judged before they are asked for; a name may resolve to another one then, and
    one with a public and an internal address is a name of the open web.
    """
    if connection.host in getattr(connection, "allowed", ()):
        return
    if is_trusted(connection.host) != is_internal(str(peer[0])):
        raise CatalogError(
            f"{connection.host} leads to {peer[0]}, an internal address. If you trust it, set "
            f"search.allow_hosts to [{connection.host}]."
        )


class _WaryConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _require_expected(self, self.sock.getpeername())


class _WarySecureConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _require_expected(self, self.sock.getpeername())


class _WaryPool(HTTPConnectionPool):
    ConnectionCls = _WaryConnection
    allowed: frozenset[str] = frozenset()

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.allowed = self.allowed
        return connection


class _WarySecurePool(HTTPSConnectionPool):
    ConnectionCls = _WarySecureConnection
    allowed: frozenset[str] = frozenset()

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.allowed = self.allowed
        return connection


def require_public_redirect(origin: str, target: str, allowed: Iterable[str] = ()) -> None:
    """Raises CatalogError if an address on the web redirects to an internal one.

    An internal host may redirect anywhere: it is the user who named it. A name with a public
    address among others does not count as internal, for it may be anybody's.
    """
    if is_trusted(urlsplit(origin).hostname or ""):
        return
    require_public(target, origin, f"a redirect of {unsigned(origin)}", frozenset(allowed))


def request(
    method: str, grant: Grant, session: WarySession | None = None, **options: Any
) -> requests.Response:
    """Ask for a file, with a session that is kept or one for this request. Raises RequestException,
    or AssetReadError if it is redirected inside or larger than MAX_FILE_BYTES."""
    session = session or WarySession(max_bytes=MAX_FILE_BYTES)
    try:
        return session.request(method, grant.url, timeout=TIMEOUT_S, **options)
    except AssetReadError:
        raise
    except Noise2MapError as error:
        raise AssetReadError(str(error)) from None
