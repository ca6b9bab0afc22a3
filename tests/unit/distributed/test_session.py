"""The connection to a cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from noise2map_core.distributed.config import ResourcesConfig
from noise2map_core.distributed.session import (
    LOCAL_SETTINGS,
    START_ATTEMPTS,
    START_TIMEOUT,
    _connect,
    _target,
)
from noise2map_core.environment import environment

SCRIPT = """
import time
import ray
from pydantic import BaseModel
from noise2map_core.application import application
from noise2map_core.distributed.config import ResourcesConfig
from noise2map_core.distributed.session import ray_session

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
    with pytest.raises(ConnectionError, match=message):
        _connect({"address": "local"})
