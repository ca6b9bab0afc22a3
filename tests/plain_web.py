"""A plain server of the web: files with ranges, as a bucket or a CDN gives them, and no listing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


class _Files(BaseHTTPRequestHandler):
    """Answers 404 to folders and to what is not there."""

    protocol_version = "HTTP/1.1"
    folder: Path
    ranges: bool
    status: dict[str, int]
    """What is answered in place of the file at a path, by a part of it."""

    def do_GET(self) -> None:
        """A file or a part of it."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Its length."""
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        file = self.folder / self.path.lstrip("/").split("?")[0]
        refused = [code for part, code in self.status.items() if part in self.path]
        if refused or not file.is_file():
            self._send(refused[0] if refused else 404, b"", {}, with_body)
            return
        body = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None or not self.ranges:
            self._send(200, body, {}, with_body)
            return
        start, stop = _bounds(asked[1], asked[2], len(body))
        place = {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"}
        self._send(206, body[start:stop], place, with_body)

    def _send(self, code: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


@contextmanager
def served(
    folder: Path, *, ranges: bool = True, status: dict[str, int] | None = None
) -> Iterator[str]:
    """The address at which a folder's files are, as long as this is open."""
    about = {"folder": folder, "ranges": ranges, "status": status or {}}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Files", (_Files,), about)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
