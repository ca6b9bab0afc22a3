"""Catalogues whose files change, or whose servers are busy, while a region is mapped."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from noise2map_core.distributed import region
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import IncompleteRegionError
from noise2map_core.testing.catalog import Burst, serve_catalog
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines.infer_region import run
from tests.factories import checkpoint_spec
from tests.said import told

pytestmark = pytest.mark.slow


@pytest.fixture
def checkpoint(embedded: EmbeddedCatalog, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    spec = checkpoint_spec(bands=embedded.bands)
    save_checkpoint(Noise2Map(spec), spec, tmp_path / "checkpoint", "# untrained\n")
    return tmp_path / "checkpoint"


@pytest.fixture
def root(embedded: EmbeddedCatalog, tmp_path: Path) -> Path:
    """The embedded catalogue, in which nothing is stated of the files' bytes."""
    folder = tmp_path / "catalogue"
    shutil.copytree(embedded.root, folder)
    for path in folder.rglob("*.json"):
        document = json.loads(path.read_text())
        for asset in document.get("assets", {}).values():
            asset.pop("file:checksum", None)
        path.write_text(json.dumps(document))
    return folder


def config(embedded: EmbeddedCatalog, catalog: str, checkpoint: Path, output: Path) -> Any:
    search = {"catalog": catalog, "collection": embedded.collection}
    return InferRegionConfig.model_validate({
        "aoi": str(embedded.map_aoi), "before": embedded.before, "after": embedded.after,
        "search": search, "checkpoint": str(checkpoint), "output": str(output),
        "grid": {"tile_px": 64}, "resources": {"num_cpus": 2}, "pair_quality": {"action": "off"},
    })  # fmt: skip


@contextmanager
def served(root: Path, how: str) -> Iterator[str]:
    if how == "disk":
        yield str(root / "catalog.json")
        return
    with serve_catalog(root, versions=how) as server:
        yield server.static


@pytest.mark.parametrize("how", ["etag", "modified", "disk"])
def test_a_file_that_is_replaced_during_the_run_fails_by_name_and_a_rerun_is_a_clean_run(
    ray_cluster: None,
    embedded: EmbeddedCatalog,
    root: Path,
    checkpoint: Path,
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (asset,) = root.rglob(f"*after*/{embedded.bands[0]}.tif")
    (other,) = root.rglob(f"*before*/{embedded.bands[0]}.tif")
    predict = region.predict_wave

    def replace_then_predict(*args: Any) -> None:
        os.replace(shutil.copy(other, tmp_path / "new.tif"), asset)
        os.utime(asset, (os.stat(asset).st_mtime + 9,) * 2)
        predict(*args)

    with served(root, how) as catalog:
        mine = config(embedded, catalog, checkpoint, tmp_path / "out")
        with monkeypatch.context() as patched:
            patched.setattr(region, "predict_wave", replace_then_predict)
            with pytest.raises(
                IncompleteRegionError, match=rf"{asset.name} changed during the run"
            ):
                run(mine)
        assert not (tmp_path / "out" / "change.tif").exists()
        run(mine)
        run(config(embedded, catalog, checkpoint, tmp_path / "clean"))
    for name in ("change.tif", "probability.tif"):
        again, clean = ((tmp_path / folder / name).read_bytes() for folder in ("out", "clean"))
        assert again == clean


def test_workers_wait_for_a_busy_server_and_the_driver_says_so(
    ray_cluster: None,
    embedded: EmbeddedCatalog,
    root: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    busy, predict = Burst(0, 503, from_byte=0), region.predict_wave

    def begin_burst_then_predict(*args: Any) -> None:
        busy.left = 3
        predict(*args)

    with serve_catalog(root, faults={".tif": busy}) as server:
        monkeypatch.setattr(region, "predict_wave", begin_burst_then_predict)
        result = run(config(embedded, server.static, checkpoint, tmp_path / "東京 Zürich"))
    assert result.predicted == result.tiles and busy.left < 0
    said = [line for line in told(capfd.readouterr().err) if line.startswith("waiting ")]
    assert len(said) == 3 and all(f"{server.url}/files/" in line for line in said)
