"""How long one chip takes at inference."""

import statistics
import time

import torch

from noise2map_core.inference.networks.compiled import networks_at
from noise2map_core.inference.numeric_path import resolve_numeric_path
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.settings.inference import InferenceConfig

REPEATS = 7


def time_chip(spec: CheckpointSpec, config: InferenceConfig, gpus: float = 0.0) -> float:
    """Milliseconds a chip: all passes of all tasks, the median of several batches.

    On the path that infer-region takes, with random weights: values do not change the time.
    """
    path = resolve_numeric_path(config, gpus)
    torch.set_num_threads(path.threads)
    model = Noise2Map(spec).eval().to(path.device)
    passes = [
        (name, t, fixed)
        for name, task in spec.tasks.items()
        for t, fixed in networks_at(model, path, name, task.inference_timesteps).items()
    ]
    images = {
        name: torch.full(
            (path.batch, task.num_dates * len(spec.bands), spec.chip_px, spec.chip_px), 1.0
        ).to(path.device)
        for name, task in spec.tasks.items()
    }

    @torch.inference_mode()
    def seconds() -> float:
        begun = time.perf_counter()
        for name, t, fixed in passes:
            fixed.logits(images[name], t, None, name).cpu()
        return time.perf_counter() - begun

    seconds()  # the first batch lays out weights and memory
    return 1000 * statistics.median(seconds() for _ in range(REPEATS)) / path.batch
