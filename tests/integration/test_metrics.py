"""What Prometheus is told of a run is what its manifest says."""

import json
import re
import time
from pathlib import Path

import pytest
import ray
import requests
from prometheus_client.parser import text_string_to_metric_families

from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines.infer_region import run
from tests.factories import checkpoint_spec

pytestmark = pytest.mark.slow
REPORTED_S = 60.0
"""Ray reports every ten seconds."""


def endpoint() -> str:
    (node,) = (node for node in ray.nodes() if node["Alive"])
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def counted(region: str) -> dict[str, float]:
    """What the endpoint says of a region's counters, by name and tag."""
    text = requests.get(endpoint(), timeout=10).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = re.fullmatch(r"ray_noise2map_(\w+)_total", sample.name)
            if name and sample.labels.get("region") == region:
                tag = sample.labels.get("status") or sample.labels.get("stage") or ""
                key = f"{name[1]} {tag}".strip()
                found[key] = found.get(key, 0.0) + sample.value
    return found


def settled(region: str, tiles: int) -> dict[str, float]:
    """The counters as soon as they know of `tiles` finished tiles."""
    deadline = time.monotonic() + REPORTED_S
    while (found := counted(region)).get("tiles done") != tiles:
        assert time.monotonic() < deadline, found
        time.sleep(1.0)
    return found


def test_the_endpoint_counts_what_the_manifest_says(
    ray_cluster: None, embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    output, checkpoint = tmp_path / "counted-region", tmp_path / "checkpoint"
    spec = checkpoint_spec(bands=embedded.bands)
    save_checkpoint(Noise2Map(spec), spec, checkpoint, "# untrained\n")
    settings = {
        "aoi": str(embedded.map_aoi), "before": embedded.before, "after": embedded.after,
        "search": {"catalog": embedded.catalog, "collection": embedded.collection},
        "checkpoint": str(checkpoint), "output": str(output), "grid": {"tile_px": 64},
        "resources": {"num_cpus": 2},
    }  # fmt: skip
    config = InferRegionConfig.model_validate(settings)
    run(config)
    manifest = json.loads((output / "manifest.json").read_text())
    total, speed = manifest["tiles"]["total"], manifest["throughput"]
    found = settled(output.name, total)
    assert found["pixels"] == total * 64**2
    assert found["chips"] == speed["chips"]
    for stage, seconds in speed["work_s"].items():
        assert found[f"work_seconds {stage}"] == pytest.approx(seconds, abs=0.06)
    assert 0 < found["wait_seconds predict"] <= speed["predictors_wait_s"] + 0.1
    assert "tiles failed" not in found and "ledger_hits" not in found

    lost = sorted((output / "ledger" / "records").glob("*.json"))[:3]
    for record in lost:
        record.unlink()
    run(config)
    found = settled(output.name, total + len(lost))
    assert found["ledger_hits"] == total - len(lost)
