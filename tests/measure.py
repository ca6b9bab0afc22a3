"""What a command takes: seconds, and the memory of it and its children."""

import time
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

import psutil


@dataclass(frozen=True)
class Measured:
    """What a process printed, and what it took."""

    out: str
    seconds: float
    mib: float
    """Peak of the memory of it and its children, without pages that processes share: those of Ray's
    object store above all."""
    driver_mib: float
    """Peak of its own."""
    worker_mib: float = 0.0
    """Of the largest of Ray's workers."""


def measured(command: list[str], every_s: float = 0.5) -> Measured:
    """Run a command to its end. Raises RuntimeError, with its last words, if it fails."""
    started, peak, own, worker = time.perf_counter(), 0, 0, 0
    # Files and not pipes: nobody reads while the process runs, and a full pipe would stop it.
    with TemporaryFile("w+") as out, TemporaryFile("w+") as error:
        process = psutil.Popen(command, stdout=out, stderr=error)
        while process.poll() is None:
            family = _family(process)
            sizes = [_uss(one) for one in family]
            peak, own = max(peak, sum(sizes)), max(own, sizes[0] if sizes else 0)
            workers = (size for one, size in zip(family, sizes, strict=True) if _is_worker(one))
            worker = max(worker, *workers, 0)
            time.sleep(every_s)
        said, complaint = _read(out), _read(error)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {complaint[-2000:]}")
    seconds, peaks = time.perf_counter() - started, (peak, own, worker)
    return Measured(said, seconds, *(one / 2**20 for one in peaks))


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "".join(process.cmdline()[:1]).startswith("ray::")
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def _uss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return 0
