"""The report of a training, made where training took place."""

import math
from pathlib import Path
from typing import Any

import ray
import torch

from noise2map_core.runtime.storage import absolute
from noise2map_core.settings.learning import OptimisationConfig
from noise2map_core.settings.resources import gpus_held
from noise2map_core.training.curve import CURVE_FILE
from noise2map_core.training.report.writer import ReportPaths, write_report
from noise2map_core.training.run import TrainingRun


def report_training(training_run: TrainingRun, chips: Path, training: OptimisationConfig) -> None:
    """Write the report of a finished run, on what one worker of it had.

    Needs a connection to a cluster, which sees the run's output. `chips` is absolute.
    """
    output = absolute(training_run.output)
    paths = ReportPaths(
        report=output / training_run.report.name,
        checkpoint=output / training_run.checkpoint.name,
        note=output / training_run.note.name,
        chips=chips,
        curve=output / training_run.state.name / CURVE_FILE,
    )
    gpus = gpus_held(training.worker_gpus)
    task: Any = ray.remote(num_cpus=training.worker_cpus, num_gpus=gpus)(_report)
    device = "cuda" if gpus else "cpu"
    threads = max(1, math.floor(training.worker_cpus))
    ray.get(task.remote(paths, device, threads))


def _report(paths: ReportPaths, device: str, threads: int) -> None:
    torch.set_num_threads(threads)
    write_report(paths, device)
