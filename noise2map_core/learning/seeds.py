"""Random numbers as a function of what they are for, whoever draws them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ChipRandom:
    """Random numbers of the samples of a batch, each sample's from a generator of its own.

    They follow from seed, epoch, purpose and what the sample is, and not from the batch that it is
    in: a worker draws for its own samples alone, and any number of workers draws the same.
    """

    def __init__(self, seed: int, epoch: int, purpose: str, samples: NDArray[np.int64]) -> None:
        """`samples` [B, n]: what tells each sample from all others of the epoch, and from itself
        when it is shown again."""
        common = (seed, epoch, *purpose.encode())
        self._seeds = [np.random.SeedSequence((*common, *one)) for one in samples.tolist()]
        self._generators = [np.random.Generator(np.random.SFC64(seed)) for seed in self._seeds]

    def __len__(self) -> int:
        """B, the number of samples."""
        return len(self._seeds)

    def rand(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32 [B, *shape]."""
        return self._stacked([one.random(shape, np.float32) for one in self._generators])

    def randn(self, *shape: int) -> Tensor:
        """Standard normal, float32 [B, *shape]."""
        return self._stacked([one.standard_normal(shape, np.float32) for one in self._generators])

    def randint(self, high: int, *shape: int) -> Tensor:
        """Whole numbers below `high`, int64 [B, *shape]."""
        return self._stacked([one.integers(high, size=shape) for one in self._generators])

    def noise(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Standard normal, float32 [B, *shape], made where it is needed; the same at every call.

        Whole images of it: other devices make other numbers.
        """
        found = torch.empty((len(self), *shape), device=device)
        for image, seed in zip(found, self._seeds, strict=True):
            generator = torch.Generator(device)
            generator.manual_seed(int(seed.generate_state(1, np.uint64)[0]))
            image.normal_(generator=generator)
        return found

    @staticmethod
    def _stacked(values: list[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(values))
