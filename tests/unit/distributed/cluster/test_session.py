"""The connection to a cluster."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

import pytest
from filelock import FileLock

from noise2map_core.distributed import metrics
from noise2map_core.distributed.cluster import folder as folder_module
from noise2map_core.distributed.cluster import needs, session
from noise2map_core.distributed.cluster.folder import clear_left, session_folder
from noise2map_core.distributed.cluster.needs import predictor_needs, require_here
from noise2map_core.distributed.cluster.session import (
    LOCAL_SETTINGS,
    START_ATTEMPTS,
    START_TIMEOUT,
    _connect,
    _target,
    ray_session,
)
from noise2map_core.distributed.metrics import region_tag
from noise2map_core.runtime.environment import environment
from noise2map_core.runtime.errors import ClusterError, ConfigError
from noise2map_core.settings.resources import ResourcesConfig

SCRIPT = """
import time
import ray
from pydantic import BaseModel
from noise2map_core.cli.application import application
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.distributed.cluster.session import ray_session

class WaitConfig(BaseModel):
    pass

@ray.remote
def wait():
    time.sleep(100)

def run(config):
    try:
        with ray_session(ResourcesConfig(num_cpus=1)):
            task = wait.remote()
            print("ready", flush=True)
            ray.get(task)
    finally:
        print("unwound", flush=True)

application(WaitConfig, run)
"""


@pytest.mark.slow
def test_sigterm_unwinds_a_driver_that_waits_for_ray(tmp_path: Path) -> None:
    script = tmp_path / "wait_ray.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert out == "unwound\n"
    # Ray itself may have logged before, such as that there is no network.
    assert err.splitlines()[-1] == (
        "Stopped by SIGTERM; the same command continues where this one ended."
    )
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("resources", "environment", "target"),
    [
        (ResourcesConfig(num_cpus=2), None, {"address": "local", "num_cpus": 2}),
        (ResourcesConfig(num_cpus=2), "10.0.0.1:6379", {"address": "10.0.0.1:6379"}),
        (ResourcesConfig(address="auto", num_cpus=2), None, {"address": "auto"}),
        (ResourcesConfig(), None, {"address": "local", "num_cpus": None}),
    ],
)
def test_a_cluster_is_named_or_new(
    resources: ResourcesConfig,
    environment: str | None,
    target: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    assert _target(resources) == target


def test_a_local_cluster_is_set_while_it_starts_unless_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    niceness, idle = LOCAL_SETTINGS
    monkeypatch.setenv(niceness, "5")
    monkeypatch.delenv(idle, raising=False)
    with environment(LOCAL_SETTINGS):
        assert os.environ[niceness] == "5" and os.environ[idle] == LOCAL_SETTINGS[idle]
    assert os.environ[niceness] == "5" and idle not in os.environ


def test_a_node_that_starts_slowly_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def slow_then_up(**_: object) -> None:
        calls.append(1)
        if len(calls) < START_ATTEMPTS:
            raise Exception(f"The current node {START_TIMEOUT}. The GCS has become overloaded.")

    monkeypatch.setattr("ray.init", slow_then_up)
    _connect({"address": "local"})
    assert len(calls) == START_ATTEMPTS


@pytest.mark.parametrize("message", ["no such cluster", f"it {START_TIMEOUT}"])
def test_a_cluster_that_cannot_be_had_is_an_error(
    monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def never_up(**_: object) -> None:
        raise ConnectionError(message)

    monkeypatch.setattr("ray.init", never_up)
    with pytest.raises(ClusterError, match=message):
        _connect({"address": "local"})


AFTER_RAY = """
import os, signal, sys, tempfile, time
import psutil
import ray
from ray.data import DataContext
from pydantic import BaseModel
from noise2map_core.cli.application import application
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.distributed.cluster.session import ray_session

class WaitConfig(BaseModel):
    pass

@ray.remote
def one():
    return 1

def agents():
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name() == "ray::DashboardAgent"]

def run(config):
    before = DataContext.get_current().enable_progress_bars
    with ray_session(ResourcesConfig(num_cpus=1)):
        while not agents():
            time.sleep(0.1)
        for agent in agents():
            agent.kill()
            agent.wait(30)
        print(ray.get(one.remote()), flush=True)
        time.sleep(3)  # a raylet that shared its fate would be gone by now
        print(ray.get(one.remote()), flush=True)
    assert DataContext.get_current().enable_progress_bars == before
    assert not os.listdir(tempfile.gettempdir())
    try:
        print("products", flush=True)
        time.sleep(100)
    finally:
        print("unwound", flush=True)

application(WaitConfig, run)
"""


@pytest.mark.slow
def test_a_run_outlives_rays_agent_and_is_its_own_again_after_ray(tmp_path: Path) -> None:
    script, short = tmp_path / "after_ray.py", Path(tempfile.mkdtemp(prefix="n"))
    script.write_text(AFTER_RAY)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(short)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines == ["1\n", "1\n", "products\n"], process.communicate(timeout=60)
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "unwound\n")
    assert err.splitlines()[-1].startswith("Stopped by SIGTERM; the same command continues")
    short.rmdir()


def test_a_cluster_at_an_address_without_anybody_is_named_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "REACH_S", 0.1)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        for place in (address, f"ray://{address}"):
            monkeypatch.setenv("RAY_ADDRESS", place)
            with (
                pytest.raises(ClusterError, match=rf"{place} .*RAY_ADDRESS.* refused\. .*unset"),
                ray_session(ResourcesConfig()),
            ):
                pass


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_a_long_temporary_folder_is_not_used_for_sockets(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(name, str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with session_folder() as folder:
        assert len(str(folder) + folder_module.SOCKET.removeprefix("/n2m-abcdefgh")) <= 107
        assert folder.parent != long and str(long) in capsys.readouterr().err
    assert not folder.exists()


def test_folders_of_dead_runs_are_cleared_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "FRESH_S", -1.0)
    dead, strange, alive = tmp_path / "n2m-dead", tmp_path / "n2m-strange", tmp_path / "n2m-alive"
    for folder in (dead, strange, alive):
        (folder / "session_x" / "logs").mkdir(parents=True)
    (dead / folder_module.LOCK).touch()
    with FileLock(alive / folder_module.LOCK):
        clear_left(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n2m-alive", "n2m-strange"]
    assert (alive / "session_x" / "logs").is_dir()


@pytest.mark.parametrize(
    ("resources", "gpus", "said"),
    [
        (ResourcesConfig(predictor_gpus=1), 0, "1 predictor of 1 GPUs do not fit into 0 GPUs"),
        (ResourcesConfig(predictor_gpus=1.5), 4, "above one, GPUs are whole"),
        (ResourcesConfig(predictor_gpus=0.6, predictors=3), 2, "3 predictors of 0.6 GPUs"),
        (ResourcesConfig(predictor_cpus=99), 0, "of 99 CPUs and .* do not fit .*predictor_cpus"),
        (ResourcesConfig(reader_cpus=99), 0, "1 reading task of 99 CPUs .* resources.reader_cpus"),
        (ResourcesConfig(predictors=4, num_cpus=2), 0, "4 predictors of 0.5 CPUs"),
        (ResourcesConfig(predictors=4, num_cpus=3), 0, None),
        (ResourcesConfig(predictor_gpus=0.5, predictors=4, num_cpus=4), 2, None),
        (ResourcesConfig(predictor_cpus=99, address="10.0.0.1:6379"), 0, None),
    ],
)
def test_workers_that_no_machine_here_has_place_for_are_refused(
    resources: ResourcesConfig, gpus: int, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(needs, "gpus_here", lambda: gpus)
    if said is None:
        require_here(predictor_needs(resources, 100), resources)
        return
    with pytest.raises(ConfigError, match=said):
        require_here(predictor_needs(resources, 100), resources)


@pytest.mark.parametrize("name", ["Zürich", "東京", "a b", '50% "q"', "naïve\\x", "", "Ω" * 60])
def test_an_output_of_any_name_makes_a_tag(name: str) -> None:
    tag = region_tag(Path("/maps") / name)
    assert tag.isascii() and tag.isprintable() and tag
    if name:
        assert unquote(tag) == name
    metrics.count_kept(Path("/maps") / name, 1)  # Ray itself takes it
