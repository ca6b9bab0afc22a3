"""Keys and signatures open catalogues and files, and are in nothing that a run leaves behind."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.testing.catalog import serve_catalog
from noise2map_core.testing.guard import Guard
from noise2map_core.testing.scenes import EmbeddedCatalog
from tests.factories import checkpoint_spec

KEY, SIGNATURE = "CANARY-key", "CANARY-signature"
NEEDLE = b"CANARY"


@pytest.fixture
def signed_catalog(embedded: EmbeddedCatalog, tmp_path: Path) -> Path:
    """The embedded catalogue as somebody keeps it who had its links signed."""
    root = tmp_path / "signed"
    shutil.copytree(embedded.root, root)
    for path in root.rglob("*.json"):
        document = json.loads(path.read_text())
        for asset in document.get("assets", {}).values():
            if asset["href"].endswith(".tif"):
                asset["href"] += f"?sv=2021&sig={SIGNATURE}&auth_token=CANARY-unknown"
                asset.pop("file:checksum", None)
        path.write_text(json.dumps(document))
    return root


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its logs; its sockets need a short name."""
    folder = Path(tempfile.mkdtemp(prefix="n2m-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_no_key_or_signature_is_left_in_outputs_messages_or_logs(
    embedded: EmbeddedCatalog,
    signed_catalog: Path,
    ray_folder: Path,
    tmp_path: Path,
    checkout: Path,
) -> None:
    spec = checkpoint_spec(bands=embedded.bands)
    torch.manual_seed(0)
    save_checkpoint(Noise2Map(spec), spec, tmp_path / "checkpoint", "# untrained\n")
    guard = Guard(KEY, issued={SIGNATURE: float("inf")})
    with serve_catalog(signed_catalog, guard=guard) as server:
        key = f"{server.url}\nX-Api-Key: {KEY}"
        env = {"NOISE2MAP_HEADER_HERE": key, "RAY_TMPDIR": str(ray_folder)}
        common = [
            "--aoi", str(embedded.map_aoi), "--catalog", server.static,
            "--collection", embedded.collection, "--before", embedded.before,
            "--after", embedded.after, "--resources.num-cpus", "1", "--debug",
        ]  # fmt: skip
        ingest = [*common, "--search.bands", *embedded.bands]
        infer = [*common, "--checkpoint", str(tmp_path / "checkpoint"), "--grid.tile_px", "64"]
        texts = b""
        for name, flags, code in [
            ("ingest", ingest, 0), ("infer", infer, 0),
            ("ingest", [*ingest, "--search.filter", "eo:cloud_cover < -1"], 2),
        ]:  # fmt: skip
            output = tmp_path / "out" / f"{name}-{code}"
            done = subprocess.run(
                [sys.executable, f"pipelines/{name}_region.py", *flags, "--output", str(output)],
                cwd=checkout, env={**os.environ, **env}, capture_output=True, timeout=400,
            )  # fmt: skip
            assert done.returncode == code, done.stderr.decode()[-2000:]
            texts += done.stdout + done.stderr
        guard.issued.clear()  # the signatures have ended: now every read fails
        failed = subprocess.run(
            [sys.executable, "pipelines/ingest_region.py", *ingest, "--output",
             str(tmp_path / "out" / "failed")],
            cwd=checkout, env={**os.environ, **env}, capture_output=True, timeout=400,
        )  # fmt: skip
    assert failed.returncode == 2 and b"403" in failed.stderr, failed.stderr.decode()[-2000:]
    written = [p for folder in (tmp_path / "out", ray_folder) for p in folder.rglob("*")]
    assert len([path for path in written if path.is_file()]) > 20
    assert NEEDLE not in texts + failed.stdout + failed.stderr
    assert [str(p) for p in written if p.is_file() and NEEDLE in p.read_bytes()] == []
