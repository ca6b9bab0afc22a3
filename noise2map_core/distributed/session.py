"""The connection to a Ray cluster."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from noise2map_core.distributed.config import ClusterConfig
from noise2map_core.environment import environment

START_ATTEMPTS = 3
START_TIMEOUT = "timed out during startup"
"""What Ray says of a node that has not started within its 30 seconds, as on a busy machine."""

LOCAL_SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
}
"""Of a cluster started here. Ray's own would start workers at niceness 15, where any other program
takes the machine from them, and end an idle one after a second, though the next stage needs one."""


@contextmanager
def ray_session(resources: ClusterConfig) -> Iterator[None]:
    """Connect to the configured cluster, or start one in this process and stop it at the end.

    A connection that is already there (a test's, a notebook's) is used and left open.
    """
    if ray.is_initialized():
        yield
        return
    _quiet_logs()
    with _own_sigterm(), environment(LOCAL_SETTINGS):
        _connect(_target(resources))
    _quiet_data()
    try:
        yield
    finally:
        ray.shutdown()


def _connect(target: dict[str, Any]) -> None:
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init(
                **target,
                include_dashboard=False,
                logging_level=logging.WARNING,
                log_to_driver=False,
            )
            return
        except Exception as error:  # Ray has no class for it
            if START_TIMEOUT not in str(error) or attempt == START_ATTEMPTS:
                raise
            ray.shutdown()


def _target(resources: ClusterConfig) -> dict[str, Any]:
    """Which cluster: the one that is named, else a new one; never one that happens to run here.

    Ray refuses a number of CPUs for a cluster that it does not start.
    """
    address = resources.address or os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        return {"address": address}
    return {"address": "local", "num_cpus": resources.num_cpus}


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Give the process its handler of SIGTERM back: Ray's own aborts a driver that waits."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _quiet_logs() -> None:
    """That a local cluster has a token is no warning."""
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)


def _quiet_data() -> None:
    """Our own progress line speaks; Ray Data's bars and logs do not."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
