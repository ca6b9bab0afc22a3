"""Augmentations: what may be changed in a training batch without changing what is true."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TrainingBatch:
    """Normalised pairs and their labels."""

    pair: Tensor
    """float32 [B, 2·C, H, W], z-scores; 0 where invalid."""
    label: Tensor
    """int64 [B, H, W]; 255 = ignore."""
    valid: Tensor
    """bool [B, H, W]; True = observed at both dates."""


@dataclass(frozen=True)
class AugmentDraws:
    """The random numbers of one batch; drawn for the global batch, so that the same chips are
    augmented alike whatever the number of workers."""

    flip: Tensor
    """bool [B]: mirror the columns."""
    turns: Tensor
    """int64 [B] in 0 … 3: quarter turns."""
    swap: Tensor
    """bool [B]: exchange the dates."""
    gain: Tensor
    """float32 [B, 2·C], around 1."""
    offset: Tensor
    """float32 [B, 2·C], around 0, in standard deviations."""

    def of_rank(self, rank: int, world_size: int) -> "AugmentDraws":
        """Every `world_size`-th draw from `rank` on."""
        fields = (self.flip, self.turns, self.swap, self.gain, self.offset)
        return AugmentDraws(*(field[rank::world_size] for field in fields))


def draw_augmentations(
    count: int, channels: int, jitter: float, generator: torch.Generator
) -> AugmentDraws:
    """Random numbers for `count` pairs of `channels` = 2·C channels.

    Gain and offset are drawn per date and band, normally with standard deviation `jitter`: dates
    differ in light, haze and season, and a network that trusts absolute levels fails on the next
    pair of dates.
    """
    return AugmentDraws(
        flip=torch.rand(count, generator=generator) < 0.5,
        turns=torch.randint(4, (count,), generator=generator),
        swap=torch.rand(count, generator=generator) < 0.5,
        gain=1 + jitter * torch.randn(count, channels, generator=generator),
        offset=jitter * torch.randn(count, channels, generator=generator),
    )


def augment(batch: TrainingBatch, draws: AugmentDraws) -> TrainingBatch:
    """Mirror and turn pair, label and valid alike; exchange dates; jitter the radiometry.

    Chips are square. Change has no direction in time here, so labels survive the exchange. Invalid
    pixels stay zero.
    """
    pair = torch.stack([_turned(chip, draws, index) for index, chip in enumerate(batch.pair)])
    label = torch.stack([_turned(chip, draws, index) for index, chip in enumerate(batch.label)])
    valid = torch.stack([_turned(chip, draws, index) for index, chip in enumerate(batch.valid)])
    before, after = pair.chunk(2, dim=1)
    swapped = torch.cat([after, before], dim=1)
    pair = torch.where(draws.swap[:, None, None, None].to(pair.device), swapped, pair)
    gain, offset = draws.gain.to(pair.device), draws.offset.to(pair.device)
    jittered = pair * gain[:, :, None, None] + offset[:, :, None, None]
    return TrainingBatch(torch.where(valid[:, None], jittered, 0.0), label, valid)


def _turned(image: Tensor, draws: AugmentDraws, index: int) -> Tensor:
    if draws.flip[index]:
        image = image.flip(-1)
    return torch.rot90(image, int(draws.turns[index]), dims=(-2, -1))
