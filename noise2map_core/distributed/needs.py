"""What the workers of a run need at least, and whether a cluster has it.

Ray waits for ever, and without a word, for a machine that will never come.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from noise2map_core.distributed.config import ClusterConfig, ResourcesConfig
from noise2map_core.errors import ConfigError


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
            "predictor", count, resources.predictor_cpus, resources.predictor_gpus,
            "resources.predictors, resources.predictor_cpus or resources.predictor_gpus",
        ),
        *reader_needs(resources),
    )  # fmt: skip


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
        require_fit(needs, cpus, _gpus() if any(need.gpus for need in needs) else 0)


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


def _gpus() -> int:
    import torch  # slow, and only who asks for GPUs needs to know

    return torch.cuda.device_count()
