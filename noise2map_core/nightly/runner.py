"""Who runs infer-region for a slice: a process here, or a job of a Ray cluster."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.workflows.launch import applications_root, find_command

STOP_WITHIN_S = 60.0
"""What a process has to end in when it is asked to."""
LAST_WORDS = 4_000
"""Bytes of a log's end in which its last line is looked for."""


class RegionFailedError(Noise2MapError):
    """infer-region ended with another code than 0."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


class Runner(Protocol):
    """Maps a region by a file of settings, and returns when it is mapped."""

    def __call__(self, settings: Path, log: Path) -> None:
        """Run infer-region; what it prints goes to `log`. Raises RegionFailedError."""


def run_process(settings: Path, log: Path) -> None:
    """A process here, which connects to RAY_ADDRESS or starts Ray if there is work."""
    command = [sys.executable, str(find_command("infer-region").path), str(settings)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
    _require_success(code, log)


def run_on(dashboard: str) -> Runner:
    """A runner whose regions are jobs of the cluster with that dashboard, which sees the files."""

    def run(settings: Path, log: Path) -> None:
        # Here and not above: nights without a cluster spare the seconds that Ray takes.
        from noise2map_core.distributed.cluster.jobs import run_logged

        root = applications_root()
        script = find_command("infer-region").path.relative_to(root).as_posix()
        code = run_logged(dashboard, shlex.join(["python", script, str(settings)]), root, log)
        _require_success(code, log)

    return run


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let it end by itself: it stops its workers then."""
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _require_success(code: int, log: Path) -> None:
    if code:
        raise RegionFailedError(f"{_last_line(log)} (log: {log})", code if code > 0 else 1)


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-LAST_WORDS:].decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")
