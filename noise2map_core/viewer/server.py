"""A server for one folder and its viewer, on the loopback interface."""

import errno
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from noise2map_core.runtime.errors import ConfigError, OutputMismatchError, explained
from noise2map_core.runtime.progress import settled
from noise2map_core.runtime.storage import is_local
from noise2map_core.viewer.page import (
    ASSETS,
    DOCUMENTS,
    FOLDER,
    PAGE,
    asset_bytes,
    document_in,
    page_text,
)

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""By which the server may be asked: a page of another name that leads here gets nothing."""
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}
SHUTDOWN_S = 1.0
"""For answers under way."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def require_map(folder: Path) -> None:
    """Raises ConfigError for what is no folder on this machine, OutputMismatchError for one that
    holds neither a map nor a collection."""
    if not is_local(folder):
        raise ConfigError(
            f"{folder} is not on this machine: noise2map publish puts {PAGE} beside a map there, "
            "which browsers open."
        )
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is no folder. Give one that infer-region or run-nightly wrote."
        )
    path = folder / document_in(folder)
    if path.is_file():
        return _require_document(path)
    raise OutputMismatchError(
        f"{folder} holds no map: there is no {' and no '.join(DOCUMENTS)}. Give a folder that "
        "infer-region wrote, or that of an area of run-nightly."
    )


def _require_document(path: Path) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["type"] in ("Feature", "Collection"):
            return
    except (ValueError, KeyError, TypeError):
        pass  # refused below
    raise OutputMismatchError(
        f"{path} is no STAC document. Make it again: run the command again that wrote the folder."
    )


def build_app(folder: Path, basemap: str = "") -> web.Application:
    """What is served: the files of `folder`, by ranges too, and the viewer from this package."""
    app = web.Application(middlewares=[_guarded])
    page = page_text(basemap, document_in(folder))
    app.router.add_get("/", _to_page)
    app.router.add_get(f"/{PAGE}", _fixed(page.encode(), "text/html"))
    for name in ASSETS:
        kind = MEDIA_TYPES[Path(name).suffix]
        app.router.add_get(f"/{FOLDER}/{name}", _fixed(asset_bytes(name), kind))
    # Links that lead out of the folder are not followed: aiohttp's default.
    app.router.add_static("/", folder.resolve())
    return app


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses other hosts' names, and has browsers ask again after the map was made anew."""
    if request.url.host not in NAMES:
        raise web.HTTPForbidden(text="This server answers to 127.0.0.1 and localhost.")
    response = await handler(request)
    response.headers["Cache-Control"] = "no-cache"
    return response


async def _to_page(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(PAGE)


def _fixed(body: bytes, media_type: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=media_type, charset="utf-8")

    return answer


def listen(port: int) -> socket.socket:
    """A socket on a port of this machine alone; 0 takes any that is free. Raises ConfigError if it
    is in use, or may not be had."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        why = "in use" if error.errno == errno.EADDRINUSE else explained(error).rstrip(".").lower()
        raise ConfigError(
            f"port {port} of {HOST}: {why}. Set another --port; 0 takes any that is free."
        ) from error


def serve(app: web.Application, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM, then return."""
    settled()
    web.run_app(app, sock=listening, print=None, access_log=None, shutdown_timeout=SHUTDOWN_S)


def address(listening: socket.socket) -> str:
    """What a browser opens."""
    return f"http://{HOST}:{listening.getsockname()[1]}/{PAGE}"
