"""Fixtures for all tests."""

import gc
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

from noise2map_core.models.backbone import let_torchvision_import
from noise2map_core.testing.scenes import EmbeddedCatalog, write_catalog

CHECKOUT = Path(__file__).resolve().parent.parent
STARTED = time.monotonic()

# Ray gets a token of these tests' own: neither read from nor written to the home directory.
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray's future default, set here so that it does not warn.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

# Workers stay for the next test, and get their share of a busy machine.
os.environ.setdefault("RAY_num_workers_soft_limit", "12")
os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "600000")
os.environ.setdefault("RAY_worker_niceness", "0")

let_torchvision_import()  # tests ask diffusers themselves, as an oracle

# The same examples every day: what fails fails again. `make test-all` draws at random, and more;
# what it finds it prints as a line that repeats it, to become an example of the test.
hypothesis.settings.register_profile("same", max_examples=50, deadline=None, derandomize=True)
hypothesis.settings.register_profile(
    "random",
    max_examples=500,
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # of a machine that is busy
)
hypothesis.settings.register_profile(
    "thorough", hypothesis.settings.get_profile("random"), max_examples=2000
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


FOLLOWED = ("test_tutorials", "test_notebooks")
"""Modules of tests of the documents' commands."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --budget."""
    parser.addoption(
        "--budget", type=float, metavar="SECONDS", help="skip the tests that would start later"
    )


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector need not look through it again and again."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What people follow word for word goes first, so that no budget is spent before it."""
    items.sort(key=lambda item: item.path.stem not in FOLLOWED)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what the time no longer allows."""
    budget = item.config.getoption("--budget")
    if budget is not None and time.monotonic() - STARTED > budget:
        pytest.skip(f"the {budget:.0f} seconds of --budget are spent")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top of the source tree."""
    return CHECKOUT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scenes. Without it the test is skipped; in CI it fails."""
    path = Path(os.environ.get("NOISE2MAP_DATA", CHECKOUT.parent / "shared" / "data"))
    if not path.is_absolute():
        path = CHECKOUT / path
    if not (path / "stac" / "catalog.json").is_file():
        reason = f"real scenes are not at {path}; set NOISE2MAP_DATA to their folder"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path.resolve()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedCatalog:
    """A small invented scene pair with a known change, as a static catalogue."""
    return write_catalog(tmp_path_factory.mktemp("embedded"), size_px=256)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One Ray cluster of two CPUs in this process, shared by all tests that ask for it."""
    import ray

    from noise2map_core.distributed.cluster.session import ray_session
    from noise2map_core.settings.resources import ResourcesConfig

    with ray_session(ResourcesConfig(num_cpus=2)):
        yield
    assert not ray.is_initialized()


def _cannot_mount(why: str) -> NoReturn:
    """Skip, saying why; CI fails instead, so that no part goes missing in silence."""
    outcome = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    outcome(f"no small tmpfs can be mounted here: {why}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB; grows when mounted again with another size."""
    if os.geteuid() != 0:
        _cannot_mount("that needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    if mounted.returncode:
        _cannot_mount(mounted.stderr.strip())
    yield disk
    subprocess.run(["umount", str(disk)], timeout=10, check=True)
