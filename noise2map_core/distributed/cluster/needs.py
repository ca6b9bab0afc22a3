"""What the workers of a run need at least, and whether a cluster has it.

Ray waits for ever, and without a word, for a machine that will never come.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray._private.accelerators import NvidiaGPUAcceleratorManager

from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.learning import OptimisationConfig, PretrainingConfig, TrainingConfig
from noise2map_core.settings.resources import ClusterConfig, ResourcesConfig, gpus_held


@dataclass(frozen=True, slots=True)
class Need:
    """Workers that all run at once."""

    what: str
    """Of one: "predictor"."""
    count: int
    cpus: float
    gpus: float
    settings: str
    """Those to be lowered: "resources.predictors or resources.predictor_cpus"."""


def predictor_needs(resources: ResourcesConfig, tiles: int | None = None) -> tuple[Need, ...]:
    """Of mapping a region: predictors, for `tiles` no more than these, and a reader beside them.

    Without `tiles`, what a single one needs.
    """
    count = 1 if tiles is None else min(resources.predictors, max(tiles, 1))
    return (
        Need(
            "predictor", count, resources.predictor_cpus, gpus_held(resources.predictor_gpus),
            "resources.predictors, resources.predictor_cpus or resources.predictor_gpus",
        ),
        *reader_needs(resources),
    )  # fmt: skip


def predictor_pool(resources: ResourcesConfig, tiles: int) -> tuple[int, int]:
    """How many predictors there are for `tiles`, at least and at most.

    In a cluster elsewhere they come one by one, as work is waiting for them and nodes are there.
    """
    most = max(1, min(resources.predictors, tiles))
    return 1 if cluster_address(resources) else most, most


def predictor_gpus(resources: ResourcesConfig) -> dict[str, Any]:
    """What a predictor asks Ray for besides CPUs."""
    if not (gpus := gpus_held(resources.predictor_gpus)):
        return {}
    kind = resources.predictor_gpu_type
    return {"num_gpus": gpus, **({"accelerator_type": kind} if kind else {})}


def reader_needs(resources: ClusterConfig) -> tuple[Need, ...]:
    """Of reading imagery or chips: one task."""
    return (Need("reading task", 1, resources.reader_cpus, 0.0, "resources.reader_cpus"),)


def cluster_address(resources: ClusterConfig) -> str | None:
    """The cluster that is named by the settings or the environment; None: one is started here."""
    address = resources.address or os.environ.get("RAY_ADDRESS")
    return address if address and address != "local" else None


def require_here(needs: Sequence[Need], resources: ClusterConfig) -> None:
    """Raises ConfigError for workers that a cluster started here has no place for; says nothing of
    a cluster elsewhere, which may grow."""
    if cluster_address(resources) is None:
        cpus = resources.num_cpus or os.cpu_count() or 1
        require_fit(needs, cpus, gpus_here() if any(need.gpus for need in needs) else 0)


def require_fit(needs: Sequence[Need], cpus: float, gpus: float) -> None:
    """Raises ConfigError if workers do not fit into a machine, together."""
    if found := shortage(needs, cpus, gpus):
        need, told = found
        raise ConfigError(f"{told}. Lower {need.settings}.")


def shortage(needs: Sequence[Need], cpus: float, gpus: float) -> tuple[Need, str] | None:
    """The first workers that do not fit into a machine or cluster, and why; None: all do."""
    for need in needs:
        if need.gpus > 1 and need.gpus != math.floor(need.gpus):
            return need, f"{need.gpus:g} GPUs for a {need.what}: above one, GPUs are whole"
        if need.gpus and need.count > _places(need.gpus, gpus):
            told = f"{_counted(need)} of {need.gpus:g} GPUs do not fit into {gpus:g} GPUs"
            return need, told
    total = sum(need.count * need.cpus for need in needs)
    if total <= cpus:
        return None
    largest = max(needs, key=lambda need: need.count * need.cpus)
    parts = " and ".join(f"{_counted(need)} of {need.cpus:g} CPUs" for need in needs if need.cpus)
    return largest, f"{parts} do not fit into {cpus:g} CPUs"


def _places(each: float, gpus: float) -> int:
    """How many workers find a place; one that takes a part of a GPU shares no second one."""
    return int(gpus // each) if each >= 1 else int(gpus) * math.floor(1 / each + 1e-9)


def _counted(need: Need) -> str:
    return f"{need.count} {need.what}" + ("s" if need.count > 1 else "")


def gpus_here() -> int:
    """As many as Ray will find when it is started here."""
    seen = NvidiaGPUAcceleratorManager.get_current_process_visible_accelerator_ids()
    count = NvidiaGPUAcceleratorManager.get_current_node_num_accelerators()
    return count if seen is None else min(count, len(seen))


def require_feasible(training: OptimisationConfig, resources: ClusterConfig) -> None:
    """Raise ConfigError for what could only fail, or wait for ever, later."""
    fewest = training.num_workers if training.min_workers is None else training.min_workers
    if fewest > training.num_workers:
        raise ConfigError(
            f"training.min_workers {fewest} is more than training.num_workers "
            f"{training.num_workers}. Change one of them."
        )
    for workers in range(fewest, training.num_workers + 1):
        if training.batch % (workers * training.accumulation):
            raise ConfigError(
                f"training.batch {training.batch} is not a multiple of {workers} "
                f"workers times training.accumulation {training.accumulation}. Change "
                "training.batch, training.num_workers or training.min_workers."
            )
    require_here(training_needs(training, resources), resources)


def require_feasible_trials(training: OptimisationConfig, resources: ResourcesConfig) -> None:
    """Raise ConfigError unless one trial of a sweep fits, and then the timing of its chips.

    More trials wait for one another.
    """
    alone = {"num_workers": 1, "min_workers": None}
    require_feasible(training.model_copy(update=alone), resources)
    gpus = gpus_held(resources.predictor_gpus)
    timed = Need("timing of chips", 1, 0.0, gpus, "resources.predictor_gpus")
    require_here((timed,), resources)


def training_needs(training: OptimisationConfig, resources: ClusterConfig) -> tuple[Need, ...]:
    """The workers of a training, and the reading task that feeds them where chips are streamed."""
    fewest = training.num_workers if training.min_workers is None else training.min_workers
    workers = Need(
        "training worker", fewest, training.worker_cpus, gpus_held(training.worker_gpus),
        "training.num_workers, training.worker_cpus or training.worker_gpus",
    )  # fmt: skip
    return (workers, *(reader_needs(resources) if is_streamed(training) else ()))


def is_streamed(training: OptimisationConfig) -> bool:
    """True if Ray Data's tasks read the chips."""
    if isinstance(training, TrainingConfig | PretrainingConfig):
        return training.loader == "ray_data"
    return False
