"""More than one node: a cluster of two loses one in the middle, and the result is what it was."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from noise2map_core.chips.writer import progress_folder
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import WEIGHTS_NAME
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.settings.labels import SplitConfig
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from pipelines import finetune_maps, infer_region, ingest_region
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec
from tests.unit.evaluation.test_evaluation import bounds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
APPLICATIONS: dict[str, Any] = {
    "ingest": (ingest_region, IngestRegionConfig),
    "infer": (infer_region, InferRegionConfig),
    "finetune": (finetune_maps, FinetuneMapsConfig),
}
LIMIT_S = 300.0
NODE = {"num_cpus": 1, "object_store_memory": 200 << 20}


@dataclass
class TwoNodes:
    """A head and a worker, each with one CPU and processes of its own."""

    cluster: Any
    worker: Any

    def lose_worker(self) -> None:
        """Its raylet and all its workers die at once; another node comes in its place."""
        self.cluster.remove_node(self.worker, allow_graceful=False)
        self.worker = self.cluster.add_node(**NODE)


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        yield TwoNodes(cluster, cluster.add_node(**NODE))
    finally:
        cluster.shutdown()


def run_and_lose_a_node(
    nodes: TwoNodes, name: str, settings: dict[str, Any], checkout: Path, log: Path,
    begun: Callable[[], bool],
) -> str:  # fmt: skip
    """Run an application on the cluster, a node of which dies once the work has begun; what it
    said."""
    module, config = APPLICATIONS[name]
    script = (
        f"import sys; from {module.__name__} import run, {config.__name__} as Config\n"
        "run(Config.model_validate_json(sys.argv[1]))"
    )
    given = config.model_validate(settings).model_dump_json()
    environment = {"RAY_ADDRESS": nodes.cluster.address, "PYTHONPATH": str(checkout)}
    with log.open("wb") as output:
        driver = subprocess.Popen(
            [sys.executable, "-c", script, given], cwd=checkout, env=os.environ | environment,
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + LIMIT_S
        while not begun():
            assert driver.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        assert driver.poll() is None
        nodes.lose_worker()
        assert driver.wait(LIMIT_S) == 0, log.read_text()[-4000:]
    finally:
        driver.kill()
        driver.wait(30)
    return log.read_text()


def undisturbed(name: str, settings: dict[str, Any]) -> None:
    module, config = APPLICATIONS[name]
    module.run(config.model_validate(settings))


def digests(*paths: Path) -> dict[str, str]:
    """SHA-256 of every file of these folders and files, by its path in the parent."""
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    return {str(file.relative_to(paths[0].parent)): file_sha256(file) for file in sorted(files)}


def common(embedded: EmbeddedCatalog, output: Path, **more: Any) -> dict[str, Any]:
    return {
        "search": {"catalog": embedded.catalog, "collection": embedded.collection},
        "before": embedded.before, "after": embedded.after, "output": str(output), **more,
    }  # fmt: skip


GPUS_SEEN = """
import ray
from ray.core.generated.autoscaler_pb2 import ClusterConfig
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_put
from noise2map_core.distributed.cluster.gpus import find_gpus
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.settings.resources import ResourcesConfig

resources = ResourcesConfig()
print(find_gpus(resources))
print(find_gpus(resources, "H100"))
with ray_session(resources):
    # As an autoscaler tells of a pool that may grow to eight nodes.
    place = {"namespace": ray._raylet.GCS_AUTOSCALER_STATE_NAMESPACE.encode()}
    key = ray._raylet.GCS_AUTOSCALER_CLUSTER_CONFIG_KEY.encode()
    pools = ClusterConfig()
    pools.node_group_configs.add(name="predicting", max_count=8, resources={"CPU": 8, "GPU": 1})
    pools.node_group_configs[0].resources["accelerator_type:A100"] = 1
    _internal_kv_put(key, pools.SerializeToString(), **place)
    print(find_gpus(resources, "A100"))
    where = ray.remote(lambda: ray.get_runtime_context().get_node_id())
    kind = dict(num_gpus=1, num_cpus=0, accelerator_type="H100")
    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes()}
    print([name for name in nodes[ray.get(where.options(**kind).remote())] if ":H" in name])
    _internal_kv_del(key, **place)
"""


def test_of_nodes_of_other_gpus_those_of_one_type_are_taken(
    nodes: TwoNodes, checkout: Path
) -> None:
    """And a pool that may grow is counted at its largest."""
    added = [
        nodes.cluster.add_node(**NODE, num_gpus=gpus, resources={f"accelerator_type:{kind}": 1})
        for kind, gpus in (("A100", 2), ("H100", 1))
    ]
    try:
        environment = {"RAY_ADDRESS": nodes.cluster.address, "PYTHONPATH": str(checkout)}
        told = subprocess.run(
            [sys.executable, "-c", GPUS_SEEN], env=os.environ | environment, timeout=LIMIT_S,
            cwd=checkout, capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
    finally:
        for node in added:
            nodes.cluster.remove_node(node)
    assert told == [
        "Gpus(count=2, type='A100')", "Gpus(count=1, type='H100')", "Gpus(count=8, type='A100')",
        "['accelerator_type:H100']",
    ]  # fmt: skip


def test_a_store_is_whole_though_a_node_died(
    ray_cluster: None, nodes: TwoNodes, embedded: EmbeddedCatalog, checkout: Path, tmp_path: Path
) -> None:
    def settings(output: Path) -> dict[str, Any]:
        search = {"catalog": embedded.catalog, "collection": embedded.collection}
        return common(
            embedded, output, aoi=str(embedded.train_aoi),
            search={**search, "bands": list(embedded.bands)},
            chips={"chip_px": 32, "stride_px": 8}, split={"boxes": embedded.train_boxes},
            labels={"kind": "raster", "asset": embedded.label_asset},
        )  # fmt: skip

    calm, lost = tmp_path / "a" / "chips.zarr", tmp_path / "b" / "chips.zarr"
    undisturbed("ingest", settings(calm))
    run_and_lose_a_node(
        nodes, "ingest", settings(lost), checkout, tmp_path / "log",
        lambda: any(progress_folder(lost).glob("shard-*.json")),
    )  # fmt: skip
    assert digests(lost) == digests(calm)


def test_a_map_is_the_same_though_a_node_died(
    ray_cluster: None, nodes: TwoNodes, embedded: EmbeddedCatalog, checkout: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    spec = checkpoint_spec(bands=embedded.bands)
    save_checkpoint(Noise2Map(spec), spec, tmp_path / "checkpoint", "# untrained\n")

    def settings(output: Path) -> dict[str, Any]:
        return common(
            embedded, output, aoi=str(embedded.map_aoi), checkpoint=str(tmp_path / "checkpoint"),
            grid={"tile_px": 64}, resources={"predictors": 2, "predictor_cpus": 0.5},
        )  # fmt: skip

    calm, lost = tmp_path / "a" / "map", tmp_path / "b" / "map"
    undisturbed("infer", settings(calm))
    run_and_lose_a_node(
        nodes, "infer", settings(lost), checkout, tmp_path / "log",
        lambda: any((lost / "ledger" / "records").glob("*.json")),
    )  # fmt: skip
    same = ("mosaic.zarr", "change.tif", "probability.tif")
    assert digests(*(lost / name for name in same)) == digests(*(calm / name for name in same))


def test_training_goes_on_though_a_node_died(
    ray_cluster: None, nodes: TwoNodes, checkout: Path, tmp_path: Path
) -> None:
    split = SplitConfig(boxes={"train": (bounds(0, 0, 30, 50),), "val": (bounds(46, 0, 90, 50),)})
    chips = make_store(plan_store(tmp_path / "sources", tmp_path / "chips.zarr", split=split))
    # More than half of a CPU: the two workers cannot lie on one node.
    training = TrainingConfig(
        epochs=12, batch=8, checkpoint_epochs=2, num_workers=2, worker_cpus=0.75
    )

    def settings(output: Path) -> dict[str, Any]:
        return {"chips": chips, "output": output, "training": training.model_dump()}

    calm, lost = tmp_path / "calm", tmp_path / "lost"
    undisturbed("finetune", settings(calm))
    run_and_lose_a_node(
        nodes, "finetune", settings(lost), checkout, tmp_path / "log",
        lambda: any(lost.glob("state/train/checkpoint_*/state.pt")),
    )  # fmt: skip
    found = load_file(lost / "checkpoint" / WEIGHTS_NAME)
    for name, weight in load_file(calm / "checkpoint" / WEIGHTS_NAME).items():
        assert torch.equal(weight, found[name]), name
