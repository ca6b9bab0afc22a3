"""GPUs that there are, and settings that give them to workers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ray._private.accelerators import NvidiaGPUAcceleratorManager as Nvidia

from noise2map_core.distributed.cluster import gpus
from noise2map_core.distributed.cluster.gpus import (
    Gpus,
    even_workers,
    find_gpus,
    most_alike,
    predicting_on_gpus,
    require_usable,
    trained_on_gpus,
    with_gpus,
)
from noise2map_core.distributed.cluster.needs import (
    predictor_gpus,
    predictor_pool,
    require_feasible,
)
from noise2map_core.inference.numeric_path import resolve_numeric_path
from noise2map_core.runtime.errors import ClusterError, ConfigError
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig

H100, A100 = {"GPU": 2.0, "accelerator_type:H100": 1.0}, {"GPU": 1.0, "accelerator_type:A100": 1.0}
CPUS = {"CPU": 8.0}
STATED = {"GPU": 16, "accelerator_type:H100": 8}
"""Of eight nodes of two."""


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """A machine of eight H100; the types that were asked for."""
    asked = list[str | None]()

    def found(resources: object, wanted: str | None = None) -> Gpus:
        asked.append(wanted)
        return Gpus(8, "H100")

    monkeypatch.setattr(gpus, "find_gpus", found)
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere:1")  # nothing must fit into this machine
    return asked


def map_of(checkpoint: str, **resources: Any) -> InferRegionConfig:
    return InferRegionConfig.model_validate(
        {
            "aoi": "a.geojson", "after": "2024-06-01", "before": "2023-06-01", "output": "out",
            "search": {"catalog": "c.json", "collection": "c"}, "checkpoint": checkpoint,
            "resources": resources,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "most", "wanted", "found"),
    [
        ([], {}, None, Gpus(0)),
        ([CPUS], {"CPU": 800}, None, Gpus(0)),
        ([CPUS, H100, H100], {}, None, Gpus(4, "H100")),
        ([H100, A100, A100], {}, None, Gpus(2, "A100")),  # of as many, by name
        ([H100, A100], {}, "A100", Gpus(1, "A100")),
        ([H100], {}, "A100", Gpus(0, "A100")),
        ([{"GPU": 1.0}], {}, None, Gpus(1)),
        # A pool that has shrunk to nothing, or not quite: the same map.
        ([CPUS], {"GPU": 16}, None, Gpus(16)),
        ([H100], {"GPU": 16}, None, Gpus(16)),
        ([CPUS], STATED, None, Gpus(16, "H100")),
        ([H100], STATED, None, Gpus(16, "H100")),
        ([H100], {"GPU": 16}, "H100", Gpus(16, "H100")),
        ([A100], {**STATED, "accelerator_type:A100": 9}, None, Gpus(9, "A100")),
        ([A100], {**STATED, "accelerator_type:A100": 9}, "H100", Gpus(8, "H100")),
    ],
)
def test_gpus_of_one_type_are_taken(
    nodes: list[dict[str, float]], most: dict[str, float], wanted: str | None, found: Gpus
) -> None:
    assert most_alike(nodes, most, wanted) == found


@pytest.mark.parametrize(("visible", "count"), [(None, 4), ("1,2", 2), ("", 0)])
def test_here_are_those_that_ray_would_find(
    visible: str | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Nvidia, "get_current_node_num_accelerators", lambda: 4)
    monkeypatch.setattr(Nvidia, "get_current_node_accelerator_type", lambda: "H100")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(gpus.ray, "is_initialized", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_gpus(ResourcesConfig()) == Gpus(count, "H100")
    assert find_gpus(ResourcesConfig(), "A100").count == 0


def test_predictors_take_the_gpus_that_there_are(eight: list[str | None]) -> None:
    resources = with_gpus(map_of("buildings")).resources
    assert (resources.predictors, resources.predictor_gpus) == (8, 1.0)
    assert predictor_gpus(resources) == {"num_gpus": 1.0, "accelerator_type": "H100"}
    path = resolve_numeric_path(InferenceConfig(), 1.0, resources.predictor_gpu_type or "")
    assert (path.device, path.processor) == ("cuda", "H100")


def test_what_is_set_stays(eight: list[str | None]) -> None:
    resources = with_gpus(map_of("buildings", predictors=3)).resources
    assert (resources.predictors, resources.predictor_gpus) == (3, 1.0)
    half = with_gpus(map_of("buildings", predictor_gpus=0.5, predictors=16)).resources
    assert (half.predictors, half.predictor_gpus, half.predictor_gpu_type) == (16, 0.5, "H100")
    asked = with_gpus(map_of("buildings", predictor_gpu_type="H100")).resources
    assert asked.predictor_gpus == 1.0 and eight == [None, None, "H100"]
    for cpus in (map_of("buildings", predictor_gpus=0), map_of("irmad")):
        assert with_gpus(cpus) == cpus
    on_cpu = InferenceConfig(device="cpu")
    assert predicting_on_gpus(ResourcesConfig(), on_cpu) == ResourcesConfig()
    assert len(eight) == 3


def test_without_gpus_everything_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "find_gpus", lambda *_: Gpus(0))
    resources = with_gpus(map_of("buildings")).resources
    assert (resources.predictors, resources.predictor_gpus) == (1, 0.0)
    assert resources.model_fields_set == {"predictor_gpus"} and predictor_gpus(resources) == {}
    assert resolve_numeric_path(InferenceConfig(), 0.0).device == "cpu"


def test_a_gpu_that_is_not_there_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "find_gpus", lambda *_: Gpus(0))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(Nvidia, "get_current_node_num_accelerators", lambda: 0)
    with pytest.raises(ConfigError, match="1 predictor of 1 GPUs do not fit into 0 GPUs"):
        with_gpus(map_of("buildings", predictor_gpus=1))


@pytest.mark.parametrize(
    ("training", "workers", "held"),
    [
        ({"batch": 16}, 8, 1.0),
        ({"batch": 20}, 5, 1.0),
        ({"batch": 16, "accumulation": 4}, 4, 1.0),
        ({"batch": 7}, 7, 1.0),
        ({"batch": 16, "num_workers": 2}, 2, 1.0),
        ({"batch": 16, "worker_gpus": 0.5}, 1, 0.5),
        ({"batch": 16, "worker_gpus": 0}, 1, 0.0),
    ],
)
def test_trainings_take_as_many_gpus_as_share_a_batch_evenly(
    eight: list[str | None], training: dict[str, Any], workers: int, held: float
) -> None:
    config = FinetuneMapsConfig(
        chips=Path("chips.zarr"), output=Path("out"), training=TrainingConfig(**training)
    )
    found = trained_on_gpus(config).training
    assert (found.num_workers, found.worker_gpus) == (workers, held)


@given(st.integers(0, 70), st.integers(1, 512), st.integers(1, 8))
def test_workers_share_batches_evenly(most: int, parts: int, accumulation: int) -> None:
    workers = even_workers(most, parts * accumulation, accumulation)
    assert 1 <= workers <= max(most, 1) and parts * accumulation % (workers * accumulation) == 0


def test_predictors_of_a_cluster_elsewhere_come_as_they_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert predictor_pool(ResourcesConfig(predictors=4), 100) == (4, 4)
    assert predictor_pool(ResourcesConfig(predictors=4), 2) == (2, 2)
    assert predictor_pool(ResourcesConfig(predictors=4, address="ray://a:1"), 100) == (1, 4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPUs")
def test_a_gpu_that_torch_cannot_use_is_told_by_the_node_that_has_it(ray_cluster: None) -> None:
    """Here Ray gives one, of which torch knows nothing."""
    with pytest.raises(ClusterError, match=r"^torch .* cannot use the GPU of this node\. Install"):
        require_usable({"num_gpus": 0})


@pytest.mark.parametrize(("workers", "each"), [(2, 0.5), (4, 0.25)])
def test_workers_that_may_share_a_gpu_are_refused(
    workers: int, each: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NCCL takes no two ranks on one GPU; those of more than a half never lie on the same."""
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere:1")
    training = TrainingConfig(batch=8, num_workers=workers, worker_gpus=each)
    with pytest.raises(ConfigError, match=rf"^{workers} training workers of {each:g} GPUs may sha"):
        require_feasible(training, ResourcesConfig())
    for fine in ({"num_workers": 1}, {"worker_gpus": 0.6}, {"worker_gpus": 0.0}):
        require_feasible(training.model_copy(update=fine), ResourcesConfig())
