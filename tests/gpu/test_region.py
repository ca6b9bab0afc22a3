"""Regions mapped by GPUs: `pytest -m gpu -rP tests/gpu/test_region.py` prints what they took."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from noise2map_core.models.spec import read_spec
from tests.gpu_speed import of_network
from tests.large_region import Change, infer_command, train_checkpoint, write_scenes
from tests.measure import measured

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(900)]

SIZE = 8192
ASKED, LEFT_BYTES = 4096, 4 << 30
"""A batch, for which there is not enough memory on the device."""
BUSY = 0.95
PARTS = 0.8
"""Of the speed of the network alone, a region's at least."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "checkpoint"
    train_checkpoint(path, Change(), "base")
    return path


@pytest.fixture(scope="module")
def told(network: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run says of itself that says nothing of GPUs."""
    folder = tmp_path_factory.mktemp("region")
    write_scenes(folder / "scenes", SIZE, Change())
    settings: dict[str, object] = {"grid": {"tile_px": 1024}, "resources": {}}
    measured(infer_command(folder / "scenes", network, folder / "map", settings))
    manifest: dict[str, Any] = json.loads((folder / "map" / "manifest.json").read_text())
    return manifest


def test_a_region_is_mapped_on_the_gpus_that_there_are(told: dict[str, Any]) -> None:
    path, resources = told["numeric_path"], told["config"]["resources"]
    assert path["device"] == "cuda" and path["processor"] == resources["predictor_gpu_type"]
    assert resources["predictors"] == torch.cuda.device_count()


def test_predictors_wait_for_nothing(told: dict[str, Any]) -> None:
    print(f"{torch.cuda.get_device_name()}: {told['throughput']}, {told['seconds']}")
    assert told["throughput"]["predictors_busy_share"] >= BUSY


def test_a_region_is_as_fast_as_its_parts(told: dict[str, Any], network: Path) -> None:
    spec, facts = read_spec(network), told["throughput"]
    alone = of_network(spec, 1.0, told["numeric_path"]["batch"])
    seconds = told["seconds"]["predict"] - facts["start_s"]
    whole = facts["chips"] / seconds / torch.cuda.device_count()
    print(f"{whole:,.0f} chips/s of a GPU in a region, {alone:,.0f} of the network alone")
    assert whole >= PARTS * alone


def test_a_batch_that_does_not_fit_is_halved_and_remembered(network: Path, tmp_path: Path) -> None:
    """Most of the memory is taken by somebody else: this process."""
    write_scenes(tmp_path / "scenes", 1024, Change())
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(free - LEFT_BYTES, dtype=torch.uint8, device="cuda")
    settings: dict[str, object] = {"inference": {"batch": ASKED}, "resources": {}}
    measured(infer_command(tmp_path / "scenes", network, tmp_path / "map", settings))
    del held
    torch.cuda.empty_cache()
    path = json.loads((tmp_path / "map" / "manifest.json").read_text())["numeric_path"]
    assert 1 <= path["batch"] < ASKED and ASKED % path["batch"] == 0
    again = measured(infer_command(tmp_path / "scenes", network, tmp_path / "map", settings))
    assert "nothing new" in again.out
