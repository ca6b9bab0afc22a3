"""What workers have to say while they work, shown by the driver: Ray hides what they print."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import ray
from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_get,
    _internal_kv_list,
    _internal_kv_put,
)

from noise2map_core.runtime.notices import tell
from noise2map_core.runtime.patience import told_to
from noise2map_core.runtime.redact import redacted

SPACE = b"noise2map"
"""Of the cluster's own store of small values."""
EVERY_S = 1.0


def new_board() -> str:
    """A name under which the workers of one piece of work speak."""
    return f"notice-{uuid4().hex}-"


@contextmanager
def noticed(board: str) -> Iterator[None]:
    """Within the body, in a worker: what a server is waited for is said to the driver."""
    with told_to(lambda line: _put(board, line)):
        yield


@contextmanager
def shown(board: str) -> Iterator[None]:
    """Within the body, in the driver: what workers say appears on stderr, a second later."""
    ended = threading.Event()

    def show() -> None:
        # Of a body that is left without an end, the thread ends with the connection.
        while not ended.wait(EVERY_S) and ray.is_initialized():
            _take(board)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if ray.is_initialized():
            _take(board)


def _put(board: str, line: str) -> None:
    _internal_kv_put(f"{board}{uuid4().hex}", redacted(line), namespace=SPACE)


def _take(board: str) -> None:
    """Print what there is, and delete it."""
    for key in _internal_kv_list(board, namespace=SPACE):
        line = _internal_kv_get(key, namespace=SPACE)
        _internal_kv_del(key, namespace=SPACE)
        if line is not None:
            tell(line.decode())
