"""A denoiser on images: batches, validation, and what it makes of noised ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise2map_core.chips.order import Int64
from noise2map_core.diffusion.objectives import denoising_loss, x_0_from_epsilon, x_0_from_velocity
from noise2map_core.learning.denoising import CleanBatch, noise, training_weights
from noise2map_core.models.denoiser import Denoiser
from noise2map_core.training.pretraining_data import CENTRE, UnlabelledImages


def clean_batch(
    model: Denoiser, draws_of: Int64, image: NDArray[Any], valid: NDArray[np.bool_]
) -> CleanBatch:
    """Images as the model sees them, of raw numbers [B, band, y, x] and valid [B, y, x].

    `draws_of` [B, n]: what random numbers of each follow from.
    """
    seen = torch.from_numpy(valid).to(model.device)[:, None]
    raw = torch.from_numpy(image.astype(np.float32)).to(model.device)
    return CleanBatch(model.normalise(raw, seen), seen, draws_of)


@torch.inference_mode()
def validation_error(
    model: Denoiser, images: UnlabelledImages, numbers: Int64, batch_size: int
) -> Tensor:
    """Squared error and how many numbers it is of, float64 [2]; parts add up.

    Timestep and noise of an image follow from its number alone, so that epochs can be compared and
    it does not matter which worker judges it.
    """
    weights = training_weights(model.spec, model.alpha_bars.cpu())
    total = torch.zeros(2, dtype=torch.float64, device=model.device)
    for start in range(0, len(numbers), batch_size):
        chosen = numbers[start : start + batch_size]
        read = images.read(chosen, np.full((len(chosen), 2), CENTRE))
        batch = clean_batch(model, chosen[:, None], *read)
        draws = [_draw(int(number), weights, batch.image.shape[1:]) for number in chosen]
        timesteps, epsilon = map(torch.stack, zip(*draws, strict=True))
        noised = noise(model, batch, timesteps.to(model.device), epsilon.to(model.device))
        total += torch.stack(denoising_loss(model(noised.inputs), *noised.targets))
    return total


def _draw(number: int, weights: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    timestep = torch.multinomial(weights, 1, generator=generator)[0]
    return timestep, torch.randn(shape, generator=generator)


@dataclass(frozen=True)
class DenoisedExamples:
    """Images, noised and denoised; all z-scores."""

    timesteps: tuple[int, ...]
    original: NDArray[np.float32]
    """[image, band, y, x]."""
    valid: NDArray[np.bool_]
    """[image, y, x]."""
    noised: NDArray[np.float32]
    """[timestep, image, band, y, x]."""
    denoised: NDArray[np.float32]
    """[timestep, image, band, y, x]: x_0 as the network sees it in one pass."""


@torch.inference_mode()
def denoise_examples(
    model: Denoiser, images: UnlabelledImages, numbers: Int64, timesteps: Sequence[int]
) -> DenoisedExamples:
    """What the model makes of some images at several timesteps."""
    read = images.read(numbers, np.full((len(numbers), 2), CENTRE))
    batch = clean_batch(model, numbers[:, None], *read)
    epsilon = torch.randn(batch.image.shape, generator=torch.Generator().manual_seed(0))
    pairs = [_denoise(model, batch, t, epsilon.to(model.device)) for t in timesteps]
    noised, denoised = (torch.stack(part).cpu().numpy() for part in zip(*pairs, strict=True))
    original, valid = batch.image.cpu().numpy(), batch.valid[:, 0].cpu().numpy()
    return DenoisedExamples(tuple(timesteps), original, valid, noised, denoised)


def _denoise(
    model: Denoiser, batch: CleanBatch, timestep: int, epsilon: Tensor
) -> tuple[Tensor, Tensor]:
    """x_t, and the x_0 that one pass finds in it."""
    timesteps = torch.full((len(batch.image),), timestep, device=model.device)
    x_t, _ = noise(model, batch, timesteps, epsilon).inputs
    predicted, alpha_bars_t = model((x_t, timesteps)), model.alpha_bars[timesteps]
    is_velocity = model.spec.denoising.objective == "velocity"
    x_0 = x_0_from_velocity if is_velocity else x_0_from_epsilon
    return x_t, x_0(x_t, predicted, alpha_bars_t)
