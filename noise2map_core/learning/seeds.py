"""Random numbers as a function of where training is."""

import numpy as np
import torch


def step_generator(seed: int, epoch: int, step: int, purpose: str) -> torch.Generator:
    """Random numbers of one global batch: the same on every worker, and after a restart."""
    entropy = (seed, epoch, step, *purpose.encode())
    mixed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]))
