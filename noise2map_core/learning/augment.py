"""Augmentations: what may be changed in a training batch without changing what is true."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from noise2map_core.learning.config import TrainingConfig


@dataclass(frozen=True)
class TrainingBatch:
    """Normalised images of one task and their labels."""

    image: Tensor
    """float32 [B, date·band, H, W], z-scores; 0 where invalid."""
    label: Tensor
    """int64 [B, H, W]; 255 = ignore."""
    valid: Tensor
    """bool [B, H, W]; True = observed at every date."""

    def __getitem__(self, part: slice) -> "TrainingBatch":
        """Some of its chips."""
        return TrainingBatch(self.image[part], self.label[part], self.valid[part])

    def __len__(self) -> int:
        """Its number of chips."""
        return len(self.image)


@dataclass(frozen=True)
class AugmentDraws:
    """The random numbers of one batch; drawn for the global batch, so that the same chips are
    augmented alike whatever the number of workers."""

    flip: Tensor
    """bool [B]: mirror the columns."""
    turns: Tensor
    """int64 [B] in 0 … 3: quarter turns."""
    reverse: Tensor
    """bool [B]: reverse the order of the dates."""
    gain: Tensor
    """float32 [B, date·band], around 1."""
    offset: Tensor
    """float32 [B, date·band], around 0, in standard deviations."""

    def of_rank(self, rank: int, world_size: int) -> "AugmentDraws":
        """Every `world_size`-th draw from `rank` on."""
        own = {field.name: getattr(self, field.name)[rank::world_size] for field in fields(self)}
        return AugmentDraws(**own)


def draw_augmentations(
    count: int, channels: int, config: TrainingConfig, generator: torch.Generator
) -> AugmentDraws:
    """Random numbers for `count` images of `channels` = date·band channels.

    Gain and offset are drawn per date and band, normally with standard deviation `config.jitter`:
    dates differ in light, haze and season, and a network that trusts absolute levels fails on the
    next pair of dates.
    """
    return AugmentDraws(
        flip=(torch.rand(count, generator=generator) < 0.5) & config.flips,
        turns=torch.randint(4, (count,), generator=generator) * config.flips,
        reverse=(torch.rand(count, generator=generator) < 0.5) & config.reverse_dates,
        gain=1 + config.jitter * torch.randn(count, channels, generator=generator),
        offset=config.jitter * torch.randn(count, channels, generator=generator),
    )


def augment(batch: TrainingBatch, draws: AugmentDraws, num_dates: int) -> TrainingBatch:
    """Mirror and turn image, label and valid alike; reverse the dates; jitter the radiometry.

    Chips are square. Change has no direction in time here, so labels survive the reversal. Invalid
    pixels stay zero.
    """
    image, label, valid = (
        turned(part, draws.flip, draws.turns) for part in (batch.image, batch.label, batch.valid)
    )
    reversed_dates = torch.cat(list(image.chunk(num_dates, dim=1))[::-1], dim=1)
    image = torch.where(draws.reverse[:, None, None, None].to(image.device), reversed_dates, image)
    gain, offset = draws.gain.to(image.device), draws.offset.to(image.device)
    jittered = image * gain[:, :, None, None] + offset[:, :, None, None]
    return TrainingBatch(torch.where(valid[:, None], jittered, 0.0), label, valid)


def turned(images: Tensor, flip: Tensor, turns: Tensor) -> Tensor:
    """Square images [B, …, N, N], mirrored where `flip` [B] is, then turned `turns` [B] times."""
    return torch.stack(
        [
            torch.rot90(one.flip(-1) if mirror else one, quarters, dims=(-2, -1))
            for one, mirror, quarters in zip(images, flip.tolist(), turns.tolist(), strict=True)
        ]
    )
