"""Applications as jobs of a real cluster: head with dashboard, token authentication on."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import rasterio
import requests
import torch

from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import Normalisation
from noise2map_core.testing.scenes import EmbeddedCatalog
from tests.factories import checkpoint_spec
from tests.ports import free_ports
from tests.said import errors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

BIN = Path(sys.executable).parent
UP_WITHIN_S = 90
JOB_WITHIN_S = 240


@dataclass(frozen=True)
class Head:
    """A running head node."""

    address: str
    """Of its dashboard."""
    environment: dict[str, str]
    """That of a client which knows the token."""

    def run(self, *command: str | Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
        """Run a command beside the head; `changes` to the environment, None takes a name out."""
        merged = {**self.environment, **changes}
        environment = {name: value for name, value in merged.items() if value is not None}
        return subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True,
            timeout=JOB_WITHIN_S,
        )  # fmt: skip


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """`ray start --head` in a process and a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="n2m-"))  # short: sockets lie in it
    port, dashboard, agent = free_ports(3)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [
        BIN / "ray", "start", "--head", "--block", "--num-cpus=2", f"--port={port}",
        "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
        # The agent takes jobs; its own default port may be another cluster's on this machine.
        f"--dashboard-agent-listen-port={agent}",
        f"--temp-dir={folder}", "--object-store-memory=300000000",
    ]  # fmt: skip
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)), env=environment, stdout=log, stderr=log, cwd=folder
        )
    try:
        address = f"http://127.0.0.1:{dashboard}"
        wait_until_up(address, environment["RAY_AUTH_TOKEN"], process, folder / "head.log")
        yield Head(address, environment)
    finally:
        end(process)
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_up(address: str, token: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = requests.get(
                f"{address}/api/jobs/", headers={"authorization": f"Bearer {token}"}, timeout=5
            )
            if answer.ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.5)
    pytest.fail(f"the head did not come up:\n{log.read_text()}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End the head and what it started, and nothing else."""
    head = psutil.Process(process.pid)
    family = [*head.children(recursive=True), head]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    _, alive = psutil.wait_procs(family, timeout=10)
    for member in alive:
        member.kill()
    process.wait(10)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog) -> Path:
    """An untrained network."""
    bands = tuple(embedded.bands)
    spec = checkpoint_spec(
        bands=bands,
        normalisation=Normalisation(
            mean=((1500.0,) * len(bands),) * 2, std=((800.0,) * len(bands),) * 2
        ),
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("submitted") / "checkpoint"
    save_checkpoint(Noise2Map(spec), spec, path, "# untrained\n")
    return path


def infer_flags(embedded: EmbeddedCatalog, checkpoint: Path, output: Path) -> list[str]:
    return [
        "--aoi", str(embedded.map_aoi), "--catalog", embedded.catalog,
        "--collection", embedded.collection, "--before", embedded.before,
        "--after", embedded.after, "--checkpoint", str(checkpoint), "--output", str(output),
    ]  # fmt: skip


def test_a_submitted_job_writes_the_products(
    head: Head, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "map"
    ended = head.run(
        BIN / "noise2map", "infer-region", "--submit", head.address,
        *infer_flags(embedded, checkpoint, output),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "tiles predicted" in ended.stdout
    for name in ("polygons.parquet", "quicklook.png", "item.json", "manifest.json", "mosaic.zarr"):
        assert (output / name).exists()
    with rasterio.open(output / "change.tif") as change:
        assert change.crs.to_string() == embedded.crs
        assert set(change.read(1).ravel()) <= {0, 1, 255}


def test_ray_job_submit_runs_an_application_from_the_checkout(head: Head, checkout: Path) -> None:
    ended = head.run(
        BIN / "ray", "job", "submit", "--address", head.address, "--working-dir", checkout,
        "--", "python", "pipelines/infer_region.py", "--help",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "noise2map infer-region [CONFIG ...]" in ended.stdout


def test_the_exit_code_is_that_of_the_job(head: Head, tmp_path: Path) -> None:
    ended = head.run(
        BIN / "noise2map", "infer-region", "--submit", head.address, "--output", tmp_path
    )
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "ConfigError: missing settings aoi" in ended.stdout


@pytest.mark.parametrize(
    "changes",
    [
        {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": None},
        {"RAY_AUTH_TOKEN": "not-the-token"},
    ],
)
def test_a_client_without_the_token_is_told_how_to_give_it(
    head: Head, changes: dict[str, str | None]
) -> None:
    command = (BIN / "noise2map", "infer-region", "--submit", head.address, "--output", "x")
    ended = head.run(*command, **changes)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    (line,) = errors(ended.stderr)
    assert line.startswith("ConfigError: the cluster wants a token")
    assert "RAY_AUTH_MODE=token" in line
