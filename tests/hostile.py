"""A server that means ill, for tests: any answer at any path, on the loopback interface."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

CHUNK = b"x" * 65_536


@dataclass
class Hostile:
    """A running server."""

    url: str
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    """By path, without its query."""
    documents: dict[str, Any] = field(default_factory=dict)
    """JSON documents by path."""
    folder: Path | None = None
    """Files that are served where there is nothing else."""
    requests: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10.0

    def do_GET(self) -> None:
        hostile = cast("_Server", self.server).public
        path = self.path.partition("?")[0]
        hostile.requests.append(path)
        if path in hostile.answers:
            self.close_connection = True
            hostile.answers[path](self)
        elif path in hostile.documents:
            send(self, json.dumps(hostile.documents[path]).encode())
        elif hostile.folder and (file := hostile.folder / path.strip("/")).is_file():
            send(self, file.read_bytes(), "image/tiff")
        else:
            send(self, b"not here", "text/plain", 404)

    do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    public: Hostile

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what is wanted."""


@contextmanager
def serve(host: str = "127.0.0.1") -> Iterator[Hostile]:
    """The server, until the block ends."""
    server = _Server((host, 0), _Handler)
    server.public = Hostile(f"http://{host}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.public
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def send(
    handler: BaseHTTPRequestHandler, body: bytes, kind: str = "application/json",
    status: int = 200, length: int | None = None, **headers: str,
) -> None:  # fmt: skip
    """One answer; `length` is what it says of its length."""
    asked, size = handler.headers.get("Range", ""), len(body)
    if length is None and asked.startswith("bytes=") and status == 200:
        first, _, last = asked.removeprefix("bytes=").partition("-")
        stop = min(size, int(last or size) + 1)
        body, status = body[int(first) : stop], 206
        headers["Content-Range"] = f"bytes {first}-{stop - 1}/{size}"
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def answer(body: bytes, **options: Any) -> Callable[[BaseHTTPRequestHandler], None]:
    """Sends `body`."""
    return lambda handler: send(handler, body, **options)


def redirect(target: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Sends elsewhere."""
    return lambda handler: send(handler, b"", status=302, Location=target)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Spaces without end, in chunks."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while handler.command != "HEAD":
        handler.wfile.write(b"10000\r\n" + CHUNK + b"\r\n")


def raw(text: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Sends bytes that may be no HTTP."""
    return lambda handler: cast(None, handler.wfile.write(text))
