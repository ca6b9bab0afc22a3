"""A small object storage that speaks S3, on a thread of the tests: it counts what it is asked for,
and can be too busy. Writes on condition are as S3 has them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

BUSY = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class SmallS3(ThreadingHTTPServer):
    """Buckets by path; `asked` are the methods and keys of all requests, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.busy, self.lock = 0, Lock()
        """`busy`: so many requests to come are answered with 503 Slow Down."""

    def counted(self) -> dict[str, int]:
        """Requests by method; a GET of a folder is a LIST."""
        methods = [method for method, _ in self.asked]
        return {name: methods.count(name) for name in sorted(set(methods))}


def tag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallS3

    def log_message(self, *_: object) -> None: ...

    def _begin(self) -> str | None:
        """The key; None if the server is too busy, which is said."""
        parts = urlsplit(self.path)
        listing = self.command == "GET" and "list-type" in parts.query
        key = unquote(parts.path).lstrip("/")
        with self.server.lock:
            self.server.asked.append(("LIST" if listing else self.command, key))
            busy = self.server.busy > 0
            self.server.busy -= busy
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if busy:
            self._answer(503, BUSY.encode())
        return None if busy else key

    def _answer(self, status: int, body: bytes = b"", etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", formatdate(usegmt=True))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        if (key := self._begin()) is None:
            return
        with self.server.lock:
            there = self.server.objects.get(key)
            refused = self.headers.get("If-None-Match") == "*" and there is not None
            wanted = self.headers.get("If-Match")
            if refused or (wanted and (there is None or tag(there) != wanted)):
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.server.objects[key] = self.body
        self._answer(200, etag=tag(self.body))

    def do_GET(self) -> None:
        if (key := self._begin()) is None:
            return
        asked = parse_qs(urlsplit(self.path).query)
        if "list-type" in asked:
            self._list(key, asked.get("prefix", [""])[0], asked.get("delimiter", [""])[0])
        elif (body := self.server.objects.get(key)) is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(200, body, tag(body))

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        if (key := self._begin()) is not None:
            self.server.objects.pop(key, None)
            self._answer(204)

    def _list(self, bucket: str, prefix: str, delimiter: str) -> None:
        entries, folders = "", set()
        for key, body in sorted(self.server.objects.items()):
            name = key.removeprefix(f"{bucket.rstrip('/')}/")
            if not name.startswith(prefix):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
                continue
            entries += (
                f"<Contents><Key>{escape(name)}</Key><Size>{len(body)}</Size>"
                f"<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>{escape(tag(body))}</ETag></Contents>"
            )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>"
            for one in sorted(folders)
        )
        answer = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}{common}"
        self._answer(200, f"{answer}</ListBucketResult>".encode())


@contextmanager
def small_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    """A server to which s3:// leads from now on."""
    server = SmallS3()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings = {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(timeout=30)
        server.server_close()
