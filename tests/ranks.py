"""Ranks of a training as processes on gloo, without Ray."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from noise2map_core.distributed.fitting.finetuning import train_in_process
from noise2map_core.distributed.fitting.fit import TrainLink
from noise2map_core.training.finetuning import TrainingJob


class ProcessLink(TrainLink):
    """Stands for Ray Train: one of several processes, which keeps its losses."""

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank, self.world_size = rank, world_size
        self.losses: list[float] = []
        """Of every step, and of every epoch behind its steps."""

    def device(self) -> torch.device:
        return torch.device("cpu")

    def wrap(self, model: nn.Module) -> nn.Module:
        return model if self.world_size == 1 else DistributedDataParallel(model)

    def last_checkpoint(self) -> None:
        return None

    def report(self, metrics: dict[str, Any], state: Any) -> None:
        self.losses.append(state["losses"][-1] if state["losses"] else metrics["loss"])


def losses_alone(job: TrainingJob) -> list[float]:
    """Of a training in this very process."""
    link = ProcessLink()
    assert train_in_process(job, link) is None
    return link.losses


def losses_together(job: TrainingJob, world_size: int, folder: Path) -> list[list[float]]:
    """Of a training with so many ranks, each rank's."""
    job = replace(job, training=job.training.model_copy(update={"num_workers": world_size}))
    # Ranks come of one process that has imported everything, and nothing else.
    mp.get_context("forkserver").set_forkserver_preload([__name__])
    start: Callable[..., Any] = mp.start_processes
    start(_run, (world_size, job, folder), nprocs=world_size, start_method="forkserver")
    files = [folder / f"{rank}.json" for rank in range(world_size)]
    return [json.loads(file.read_text()) for file in files]


def _run(rank: int, world_size: int, job: TrainingJob, folder: Path) -> None:
    torch.set_num_threads(1)
    place = f"file://{folder / 'ranks'}"
    dist.init_process_group("gloo", place, rank=rank, world_size=world_size)
    link = ProcessLink(rank, world_size)
    assert train_in_process(job, link) is None
    (folder / f"{rank}.json").write_text(json.dumps(link.losses))
    dist.destroy_process_group()
