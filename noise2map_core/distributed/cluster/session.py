"""The connection to a Ray cluster."""

import logging
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import ray
from ray._private import ray_constants, services
from tenacity import (
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_fixed,
)

from noise2map_core.distributed.cluster import agent_keeper
from noise2map_core.distributed.cluster.actor_arguments import whole_arguments
from noise2map_core.distributed.cluster.folder import session_folder
from noise2map_core.distributed.cluster.needs import Need, cluster_address, require_fit, shortage
from noise2map_core.runtime.environment import environment
from noise2map_core.runtime.errors import ClusterError
from noise2map_core.runtime.progress import tell, waiting
from noise2map_core.settings.resources import ClusterConfig

START_ATTEMPTS = 3
START_TIMEOUT = "timed out during startup"
"""What Ray says of a node that has not started within its 30 seconds, as on a busy machine."""
REACH_S = 10.0
"""How long a cluster that is named is looked for; Ray itself would take a quarter of an hour."""

LOCAL_SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
}
"""Of a cluster started here. Ray's own would start workers at niceness 15, where any other program
takes the machine from them, and end an idle one after a second, though the next stage needs one."""
REMOTE_SETTINGS = {"RAY_gcs_server_port_wait_time_s": "1", "RAY_py_gcs_connect_timeout_s": "10"}
"""While connecting to a cluster that somebody answers for: it may be no cluster at all."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ray_session(resources: ClusterConfig, needs: Sequence[Need] = ()) -> Iterator[None]:
    """Connect to the configured cluster, or start one in this process and stop it at the end.

    A connection that is already there (a test's, a notebook's) is used and left open. Whatever Ray
    makes of this process's signals, logs and settings is undone. Raises ClusterError, and
    ConfigError if the workers in `needs` do not fit into a cluster started here.
    """
    if ray.is_initialized():
        _tell_if_short(needs)
        with whole_arguments():
            yield
        return
    target = _target(resources)
    with ExitStack() as stack:
        if target["address"] == "local":
            target["_temp_dir"] = str(stack.enter_context(session_folder()))
        stack.enter_context(_level("ray._private.authentication", logging.ERROR))
        stack.callback(_shutdown)
        with _own_signals(), waiting("start Ray" if target["address"] == "local" else "reach Ray"):
            _connect(target)
        stack.enter_context(_quiet_data())
        stack.enter_context(whole_arguments())
        if target["address"] == "local":
            require_fit(needs, *_capacity())
        _tell_if_short(needs)
        yield


def _capacity() -> tuple[float, float]:
    """CPUs and GPUs of the cluster."""
    found = ray.cluster_resources()
    return found.get("CPU", 0.0), found.get("GPU", 0.0)


def _tell_if_short(needs: Sequence[Need]) -> None:
    """Say on stderr if a cluster has to grow before the work can begin: it may never do so."""
    if short := shortage(needs, *_capacity()):
        tell(f"waiting for the cluster to grow: {short[1]}.")


def _shutdown() -> None:
    with _own_signals():
        ray.shutdown()


def _connect(target: dict[str, Any]) -> None:
    """Start or reach the cluster. Raises ClusterError."""
    local = target["address"] == "local"
    if not local:
        _require_reachable(target["address"])
    attempts = Retrying(
        retry=retry_if_exception(lambda error: START_TIMEOUT in str(error)),
        stop=stop_after_attempt(START_ATTEMPTS),
        after=lambda _: ray.shutdown(),
        reraise=True,
    )
    try:
        with environment(LOCAL_SETTINGS if local else REMOTE_SETTINGS), _kept_agent():
            attempts(
                ray.init,
                **target,
                include_dashboard=False,
                logging_level=logging.WARNING,
                log_to_driver=False,
            )
    except Exception as error:  # Ray has no class for it
        raise _not_had(target["address"], error) from error


@contextmanager
def _kept_agent() -> Iterator[None]:
    """Within the body, let clusters start the dashboard agent behind `agent_keeper`.

    Ray has no setting for it: it builds the command in a function of its own, which is replaced.
    """
    build = services._build_python_executable_command_memory_profileable

    def built(component: str, *args: Any, **options: Any) -> list[str]:
        command: list[str] = build(component, *args, **options)
        agent = component == ray_constants.PROCESS_TYPE_DASHBOARD_AGENT
        return [*command, agent_keeper.__file__] if agent else command

    services._build_python_executable_command_memory_profileable = built
    try:
        yield
    finally:
        services._build_python_executable_command_memory_profileable = build


def _not_had(address: str, error: Exception) -> ClusterError:
    told = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    told = told.strip().rstrip(".")
    if address == "local":
        return ClusterError(f"Ray could not be started here: {told}.")
    return ClusterError(
        f"Ray cluster {address} (resources.address, or RAY_ADDRESS of the environment) cannot be "
        f"used: {told}. Start it, correct the address, or unset both to start a cluster here."
    )


def _require_reachable(address: str) -> None:
    """Raises ClusterError if nobody answers at an address; "auto" is Ray's to find."""
    place = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = place.hostname, place.port
    except ValueError as error:
        raise _not_had(address, error) from error
    if host is None or port is None:
        return
    attempts = Retrying(
        retry=retry_if_exception_type(OSError),
        stop=stop_after_delay(REACH_S),
        wait=wait_fixed(1.0),
        reraise=True,
    )
    try:
        attempts(socket.create_connection, (host, port), timeout=REACH_S / 2).close()
    except OSError as error:
        raise _not_had(address, OSError(error.strerror or str(error) or "no answer")) from error


def _target(resources: ClusterConfig) -> dict[str, Any]:
    """Which cluster: the one that is named, else a new one; never one that happens to run here.

    Ray refuses a number of CPUs for a cluster that it does not start.
    """
    if address := cluster_address(resources):
        return {"address": address}
    return {"address": "local", "num_cpus": resources.num_cpus}


@contextmanager
def _own_signals() -> Iterator[None]:
    """Give the process its handlers of signals back: Ray's own abort a driver that waits, and are
    the system's after Ray has ended."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None:
                    signal.signal(number, handler)


@contextmanager
def _level(logger: str, level: int) -> Iterator[None]:
    """A logger's level, for the time of the body."""
    known = logging.getLogger(logger)
    before = known.level
    known.setLevel(level)
    try:
        yield
    finally:
        known.setLevel(before)


@contextmanager
def _quiet_data() -> Iterator[None]:
    """Our own progress line speaks; Ray Data's bars and logs do not."""
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    try:
        with _level("ray.data", logging.ERROR):
            yield
    finally:
        context.enable_progress_bars = before
