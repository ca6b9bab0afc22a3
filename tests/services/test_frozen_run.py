"""A run that sleeps through the end of its lease: who took over has the last word."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
import torch
import yaml

from noise2map_core.mapping.ledger import Ledger
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.products.verification import verify_output
from noise2map_core.runtime.storage import location
from noise2map_core.testing.scenes import EmbeddedCatalog
from tests.factories import checkpoint_spec
from tests.services.test_object_storage import contents, settings_of

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
LEASE_S = 12.0
COARSE = {"grid": {"tile_px": 128}}
RUN = f"""
from noise2map_core.runtime import lease
lease.EXPIRE_S, lease.RENEW_S = {LEASE_S}, 1.0
from noise2map_core.cli.application import application
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines.infer_region import run
from tests.region_in_process import in_process
with in_process():
    application(InferRegionConfig, run)
"""


def checkpoint(path: Path, bands: list[str], seed: int) -> Path:
    torch.manual_seed(seed)
    spec = checkpoint_spec(bands=tuple(bands))
    save_checkpoint(Noise2Map(spec).eval(), spec, path, "# untrained\n")
    return path


def until(condition: Callable[[], bool], seconds: float = 280) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_that_wakes_after_another_took_over_changes_nothing(
    s3: str, embedded: EmbeddedCatalog, checkout: Path, tmp_path: Path
) -> None:
    """The two have different models, so that a tile of the first would be seen."""
    url = f"{s3}/{uuid4().hex}/map"

    def start(name: str, model: int, output: str) -> "subprocess.Popen[str]":
        made = checkpoint(tmp_path / name, list(embedded.bands), model)
        config = tmp_path / f"{name}.yaml"
        config.write_text(yaml.safe_dump(settings_of(embedded, made, output) | COARSE))
        return subprocess.Popen(
            [sys.executable, "-c", RUN, str(config)], cwd=checkout, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    first = start("first", 1, url)
    try:
        until(lambda: bool(Ledger(location(url)).newest()) or first.poll() is not None)
        assert first.poll() is None, first.communicate()[1]
        first.send_signal(signal.SIGSTOP)
        assert not (location(url) / "manifest.json").exists()
        codes = []
        while codes[-1:] in ([], [4]):  # until the lease has run out
            second = start(f"second{len(codes)}", 2, url)
            out, err = second.communicate(timeout=300)
            codes.append(second.returncode)
            assert len(codes) < 10 and codes[-1] in (0, 4), err
        assert codes[-1] == 0 and "kept" in out
    finally:
        first.send_signal(signal.SIGCONT)
        told = first.communicate(timeout=120)[1]
    assert first.returncode == 4 and "LeaseLostError: this run holds" in told
    assert "complete" in verify_output(location(url))[0]
    alone = start("third", 2, str(tmp_path / "alone"))
    err = alone.communicate(timeout=200)[1]
    assert alone.returncode == 0, err
    assert contents(location(url)) == contents(tmp_path / "alone")
