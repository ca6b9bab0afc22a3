"""A STAC API and file server on the loopback interface, over a directory with a static catalogue.

Small but true: landing page with conformance, collections, items, search by GET and POST with
paging, files with byte ranges as GDAL wants them. It can be told to go wrong in the ways of real
servers, so that what clients say then can be tested.
"""

import hashlib
import itertools
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import unquote, urlsplit

from noise2map_core.testing.guard import TOKENS, Guard
from noise2map_core.testing.stac_api import Answer, StacApi, read_static

TIMEOUT_S = 10.0
EVERY = 5
"""One in so many range requests of a flaky file goes wrong."""


Versions = Literal["etag", "modified", "none"]
"""What says which version a file is: ETag and Last-Modified, the latter alone, or neither."""


class Fault(Enum):
    """How an answer goes wrong."""

    MISSING = "404"
    FAILING = "500"
    HTML = "a web page with status 200, as a captive portal or a login page gives"
    TRUNCATED = "only the first half of a file, as an interrupted upload leaves it"
    FLAKY = "one in five range requests ends with 503, a reset, or half of its body, in turn"
    RANGELESS = "the whole file with status 200, whatever range was asked for"


@dataclass
class Burst:
    """Requests that fail one after the other, as a busy server's do, until they are over."""

    left: int
    """How many are still to fail."""
    status: int = 503
    body: bytes = b""
    retry_after: str = ""
    """The header of that name; none if empty."""
    from_byte: int = 1
    """Only requests for a range from here on fail: a file can be opened, and not be read."""


@dataclass
class CatalogServer:
    """A running server."""

    url: str
    """Root of the STAC API, without a trailing slash."""
    static: str
    """URL of the static catalogue's catalog.json."""
    requests: list[str] = field(default_factory=list)
    """One line for each request so far: method, path, and the byte range if one was asked for."""


@contextmanager
def serve_catalog(
    root: Path,
    *,
    faults: Mapping[str, Fault | Burst] | None = None,
    max_limit: int = 10_000,
    guard: Guard | None = None,
    versions: Versions = "etag",
) -> Iterator[CatalogServer]:
    """Serve `root`, which holds a catalog.json, on 127.0.0.1 at a free port until the block ends.

    `faults` maps ends of paths ("/search", "before/red.tif") to what goes wrong there; ""
    stands for every path. Pages of a search hold `max_limit` items at most, whatever was asked for.
    A `guard` lets in only those with its key, and signs for files. `versions` is the header by
    which a file says that it is another one.
    """
    server = _Server(root, faults or {}, max_limit, guard, versions)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.public
    finally:
        server.shutdown()
        server.server_close()
        thread.join(TIMEOUT_S)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        root: Path,
        faults: Mapping[str, Fault | Burst],
        max_limit: int,
        guard: Guard | None,
        versions: Versions,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.guard = guard
        self.root = root.resolve()
        self.faults = faults
        self.versions = versions
        self.lock = threading.Lock()
        self._ranges = itertools.count()
        url = f"http://127.0.0.1:{self.server_port}"
        self.public = CatalogServer(url, f"{url}/files/catalog.json")
        self.api = StacApi(url, *read_static(self.root, f"{url}/files"), max_limit)

    def next_hiccup(self) -> int | None:
        """Which way the next range request of a flaky file goes wrong; None: it does not."""
        number = next(self._ranges)
        return (number // EVERY) % 3 if number % EVERY == EVERY - 1 else None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    disable_nagle_algorithm = True  # else a kept connection waits 40 ms for each answer

    def do_GET(self) -> None:
        self._respond(None)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._respond(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are kept in `CatalogServer.requests`, not printed."""

    @property
    def _context(self) -> _Server:
        return cast(_Server, self.server)

    def _respond(self, body: bytes | None) -> None:
        split = urlsplit(self.path)
        path = unquote(split.path)
        asked = self.headers.get("Range", "")
        self._context.public.requests.append(f"{self.command} {path} {asked}".rstrip())
        fault = next((f for end, f in self._context.faults.items() if path.endswith(end)), None)
        guard = self._context.guard
        if guard and path.startswith(f"{TOKENS}/"):
            self._send(guard.token())
        elif path.startswith("/elsewhere/"):
            self._redirect(path.removeprefix("/elsewhere/"))
        elif guard and not guard.admits(path, split.query, self.headers):
            self._send(Answer.error(HTTPStatus.FORBIDDEN, "this door is closed"))
        elif fault is Fault.MISSING:
            self._send(Answer.error(HTTPStatus.NOT_FOUND, f"{path} is not here"))
        elif fault is Fault.FAILING:
            self._send(Answer.error(HTTPStatus.INTERNAL_SERVER_ERROR, "the database is away"))
        elif fault is Fault.HTML:
            self._send(Answer(b"<!DOCTYPE html><html><body>Sign in</body></html>", "text/html"))
        elif isinstance(fault, Burst) and self._meets(fault, asked):
            self._send_busy(fault)
        elif path.startswith("/files/"):
            self._send_file(path.removeprefix("/files/"), asked, fault)
        else:
            self._send(self._context.api.answer(path, split.query, body))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _meets(self, burst: Burst, asked: str) -> bool:
        """True if a request falls into a burst, of which it is then one."""
        first = re.match(r"bytes=(\d+)-", asked)
        if int(first[1] if first else 0) < burst.from_byte:
            return False
        with self._context.lock:
            burst.left -= 1
            return burst.left >= 0

    def _send_busy(self, burst: Burst) -> None:
        self.send_response(burst.status)
        if burst.retry_after:
            self.send_header("Retry-After", burst.retry_after)
        self.send_header("Content-Length", str(len(burst.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(burst.body)

    def _redirect(self, target: str) -> None:
        """To another host and path, on this server's port: /elsewhere/127.0.0.1/files/a.tif."""
        host, _, path = target.partition("/")
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", f"http://{host}:{self._context.server_port}/{path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_file(self, relative: str, asked: str, fault: Fault | Burst | None) -> None:
        path = (self._context.root / relative).resolve()
        if not path.is_relative_to(self._context.root) or not path.is_file():
            self._send(Answer.error(HTTPStatus.NOT_FOUND, f"{relative} is not here"))
            return
        hiccup = self._context.next_hiccup() if fault is Fault.FLAKY and asked else None
        if hiccup == 0:
            self._send(Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, "busy"))
            return
        if hiccup == 1:
            self._reset()
            return
        size = path.stat().st_size // (2 if fault is Fault.TRUNCATED else 1)
        asked = "" if fault is Fault.RANGELESS else asked
        span = _byte_range(asked, size)
        if span is None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send_span(path, size, span, partial=bool(asked), short=hiccup == 2)

    def _reset(self) -> None:
        """Drop the connection without a word."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _send_span(self, path: Path, size: int, span: range, partial: bool, short: bool) -> None:
        self.send_response(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK)
        self.send_header("Content-Type", _media_type(path))
        self.send_header("Accept-Ranges", "bytes")
        if self._context.versions == "etag":
            self.send_header("ETag", f'"{_digest(path, path.stat().st_mtime_ns, size)}"')
        if self._context.versions != "none":
            self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.send_header("Content-Length", str(len(span)))
        if partial:
            self.send_header("Content-Range", f"bytes {span.start}-{span.stop - 1}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        with path.open("rb") as file:
            file.seek(span.start)
            self.wfile.write(file.read(len(span) // 2 if short else len(span)))
        if short:
            self.close_connection = True


def _byte_range(asked: str, size: int) -> range | None:
    """The bytes of a Range header; all without one, None if it cannot be met."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.strip())
    if not asked:
        return range(size)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    stop = min(size, int(last) + 1) if last else size
    return range(int(first), stop) if int(first) < stop else None


def _media_type(path: Path) -> str:
    types = {".json": "application/json", ".geojson": "application/geo+json", ".tif": "image/tiff"}
    return types.get(path.suffix, "application/octet-stream")


@lru_cache(maxsize=256)
def _digest(path: Path, modified_ns: int, size: int) -> str:
    """Changes whenever the bytes that are served change; `modified_ns` only keys the cache."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(size)).hexdigest()[:32]
