"""GPUs that there are, on this machine or in a cluster, and settings that give them to workers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray._private import state
from ray._private.accelerators import NvidiaGPUAcceleratorManager

from noise2map_core.detectors.spec import is_detector
from noise2map_core.distributed.cluster.needs import (
    cluster_address,
    gpus_here,
    predictor_needs,
    require_here,
)
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.learning import OptimisationConfig
from noise2map_core.settings.resources import ClusterConfig, ResourcesConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.pretrain_denoiser import PretrainDenoiserConfig
from noise2map_core.workflows.tools.bootstrap import BootstrapConfig

TYPE = "accelerator_type:"
"""Begins the name of the resource by which a node says which GPUs it has."""

MapT = TypeVar("MapT", bound=InferRegionConfig)
TrainT = TypeVar("TrainT", FinetuneMapsConfig, PretrainDenoiserConfig, BootstrapConfig)


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of one type."""

    count: int
    type: str = ""
    """As Ray names it: "H100". Empty: nodes that are still to come have not said."""


def find_gpus(resources: ClusterConfig, wanted: str | None = None) -> Gpus:
    """Those that a run may use: of the `wanted` type, else of the one of which there are most.

    A cluster that grows is taken at its largest. One that is elsewhere is connected to and asked;
    raises ClusterError if it cannot be.
    """
    if not ray.is_initialized() and cluster_address(resources) is None:
        return _here(wanted)
    with ray_session(resources):
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        # Ray Data and Ray Train ask here, too: nothing public says how far a cluster may grow.
        most = state.state.get_max_resources_from_cluster_config() or {}
    return most_alike(nodes, most, wanted)


def _here(wanted: str | None) -> Gpus:
    kind = NvidiaGPUAcceleratorManager.get_current_node_accelerator_type() or ""
    return Gpus(gpus_here() if wanted in (None, kind) else 0, kind)


def most_alike(
    nodes: Sequence[Mapping[str, float]], most: Mapping[str, float], wanted: str | None = None
) -> Gpus:
    """GPUs of one type, by the resources of each node, and the `most` that there may be.

    Where nodes are still to come, of a type that their pool does not state, the type is not known,
    whatever is there at the moment: else a map would be another's tomorrow, and Ray would wait for
    nodes that it does not know how to get.
    """
    counts = Counter[str]()
    for node in nodes:
        if gpus := int(node.get("GPU", 0)):
            counts[next(iter(_types(node)), "")] += gpus
    if (grown := int(most.get("GPU", 0))) > counts.total():
        pools = _types(most)
        kind = wanted or _largest(pools)
        return Gpus(grown if len(pools) < 2 else int(pools.get(kind, 0)), kind)
    kind = wanted or _largest(counts)
    return Gpus(counts[kind], kind)


def _types(resources: Mapping[str, float]) -> dict[str, float]:
    """Types of GPUs that are stated, and by how many nodes."""
    return {name[len(TYPE) :]: of for name, of in resources.items() if name.startswith(TYPE)}


def _largest(counts: Mapping[str, float]) -> str:
    """Of equal ones, by name; empty: none."""
    return min(counts, key=lambda name: (-counts[name], name), default="")


def with_gpus(config: MapT) -> MapT:
    """Settings of a map whose predictors take the GPUs that there are, unless they say otherwise;
    detectors take none.

    Raises ConfigError for a predictor that this machine has no place for.
    """
    if not is_detector(config.checkpoint):
        resources = predicting_on_gpus(config.resources, config.inference)
        config = config.model_copy(update={"resources": resources})
    require_here(predictor_needs(config.resources), config.resources)
    return config


def predicting_on_gpus(resources: ResourcesConfig, inference: InferenceConfig) -> ResourcesConfig:
    """The same of the workers alone."""
    if inference.device == "cpu" or resources.predictor_gpus == 0:
        return resources
    found = find_gpus(resources, resources.predictor_gpu_type)
    if resources.predictor_gpus == "auto":
        resources = _shared_out(resources, found)
    if resources.predictor_gpus and found.type:
        return resources.model_copy(update={"predictor_gpu_type": found.type})
    return resources


def _shared_out(resources: ResourcesConfig, found: Gpus) -> ResourcesConfig:
    """One for each predictor, and a predictor for each."""
    update: dict[str, Any] = {"predictor_gpus": 1.0 if found.count else 0.0}
    if found.count and "predictors" not in resources.model_fields_set:
        update["predictors"] = found.count
    return resources.model_copy(update=update)


def trained_on_gpus(config: TrainT) -> TrainT:
    """Settings of a training whose workers take the GPUs that there are, unless they say
    otherwise: one each, and as many workers as can share a batch out evenly."""
    training = training_on_gpus(config.training, config.resources)
    return config.model_copy(update={"training": training})


def training_on_gpus(training: OptimisationConfig, resources: ClusterConfig) -> OptimisationConfig:
    """The same of the training alone."""
    if training.worker_gpus != "auto":
        return training
    count = find_gpus(resources).count
    update: dict[str, Any] = {"worker_gpus": 1.0 if count else 0.0}
    if count and "num_workers" not in training.model_fields_set:
        update["num_workers"] = even_workers(count, training.batch, training.accumulation)
    return training.model_copy(update=update)


def even_workers(most: int, batch_size: int, accumulation: int) -> int:
    """The most workers whose parts of a batch are equal; one always is."""
    parts = batch_size // accumulation
    most = max(1, min(most, parts))  # a pool without a limit has more GPUs than can be counted
    return max(workers for workers in range(1, most + 1) if parts % workers == 0)
