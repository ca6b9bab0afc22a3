"""Applications as jobs of a Ray cluster, through its dashboard."""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient
from ray.util.state import list_nodes
from ray.util.state.exception import RayStateApiException
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.redact import redacted

POLL_S = 1.0
STARTING_S = 60.0
"""Age of a cluster's head up to which a job agent that is not there may still come."""
NO_AGENT = "No available agent"
EXCLUDES = [".git", ".venv", "out", "dist"]
"""Left out of the upload even where a .rayignore does not say so."""

TOKEN_HELP = (
    "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token "
    "(by default it is read from ~/.ray/auth_token)"
)


def run_job(address: str, entrypoint: str, working_dir: Path) -> int:
    """Run a command on a cluster in a copy of `working_dir`; prints its log, returns its exit code.

    `.gitignore` and `.rayignore` are honoured in the copy. Interrupted, the job goes on. Raises
    ConfigError if the cluster cannot be reached or refuses the token.
    """
    client = connect(address)
    job_id = submit(client, entrypoint, working_dir)
    print(f"job {job_id}: {entrypoint}", flush=True)
    try:
        _follow(client, job_id)
    except (KeyboardInterrupt, SystemExit):
        print(f"job {job_id} goes on; stop it by: ray job stop --address {address} {job_id}")
        raise
    return exit_code(client, job_id)


def run_logged(address: str, entrypoint: str, working_dir: Path, log: Path) -> int:
    """As `run_job`, but the log goes to a file when the job has ended."""
    client = connect(address)
    job_id = submit(client, entrypoint, working_dir)
    code = exit_code(client, job_id)
    log.write_text(redacted(client.get_job_logs(job_id)), encoding="utf-8")
    return code


def connect(address: str) -> JobSubmissionClient:
    """A client of the dashboard at `address`."""
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise _refused(error) from error
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"no Ray dashboard answers at {address}: {_first(error)}. "
            "Set --submit to a dashboard's address, such as http://127.0.0.1:8265."
        ) from error


def submit(client: JobSubmissionClient, entrypoint: str, working_dir: Path) -> str:
    """Upload `working_dir` and start `entrypoint` there; returns the job's id."""
    environment = {"working_dir": str(working_dir), "excludes": EXCLUDES}
    try:
        return _submit_when_ready(client, entrypoint, environment)
    except AuthenticationError as error:
        raise _refused(error) from error
    except (RuntimeError, ValueError) as error:
        if _lacks_agent(error):
            raise ConfigError(
                f"the cluster at {client.get_address()} takes no jobs: its dashboard answers, but "
                "the job agent of none of its nodes does. Start the cluster again, or look why in "
                "the head's log (session_latest/logs/dashboard_agent.log)."
            ) from error
        raise ConfigError(
            f"the job was not accepted: {_first(error)}. If {working_dir} is too large to upload, "
            "name what to leave out in its .rayignore."
        ) from error


def _submit_when_ready(
    client: JobSubmissionClient, entrypoint: str, environment: dict[str, Any]
) -> str:
    """Submit, again and again while a cluster that has just started lacks its job agent."""

    def may_come(error: BaseException) -> bool:
        return _lacks_agent(error) and _is_starting(client.get_address())

    attempts = Retrying(
        retry=retry_if_exception(may_come),
        wait=wait_fixed(POLL_S),
        stop=stop_after_delay(STARTING_S),
        reraise=True,
    )
    return attempts(client.submit_job, entrypoint=entrypoint, runtime_env=environment)


def _is_starting(address: str) -> bool:
    """Whether the head of a cluster is younger than `STARTING_S`; one that does not say is not."""
    try:
        nodes = list_nodes(address, detail=True, timeout=5, raise_on_missing_output=False)
    except (RayStateApiException, requests.RequestException):
        return False
    started = [node.start_time_ms for node in nodes if node.is_head_node and node.start_time_ms]
    return bool(started) and time.time() - max(started) / 1000 < STARTING_S


def _lacks_agent(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and NO_AGENT in str(error)


def exit_code(client: JobSubmissionClient, job_id: str) -> int:
    """Wait for the end of a job; the exit code of its command, 1 if it never ran."""
    while not (status := client.get_job_status(job_id)).is_terminal():
        time.sleep(POLL_S)
    details = client.get_job_info(job_id)
    if status is JobStatus.SUCCEEDED:
        return 0
    code = details.driver_exit_code
    if code is None or code < 0:
        print(f"job {job_id} {status.lower()}: {details.message}", flush=True)
    return code if code is not None and code > 0 else 1


def _follow(client: JobSubmissionClient, job_id: str) -> None:
    """Print the job's log as it grows; a cut connection only ends the printing."""

    async def tail() -> None:
        async for lines in client.tail_job_logs(job_id):
            print(lines, end="", flush=True)

    try:
        asyncio.run(tail())
    except (aiohttp.ClientError, RuntimeError) as error:
        print(f"job {job_id} goes on, but its log was cut: {_first(error)}", flush=True)


def _refused(error: AuthenticationError) -> ConfigError:
    return ConfigError(f"the cluster wants a token: {_first(error)}. {TOKEN_HELP}.")


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
