"""Augmentations: what may be changed in a training batch without changing what is true.

Libraries of augmentations draw their random numbers themselves, batch by batch; here they are drawn
for the global batch, so that one worker or several see the same. What is done with them is torch's.
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from noise2map_core.learning.metrics import IGNORE
from noise2map_core.settings.learning import TrainingConfig

HAZE_CELLS = 4
"""Haze is a field of so many random numbers a side, smoothly in between."""
HAZE_LEVEL = 3.0
"""What opaque cloud looks like, in standard deviations above the mean of every band."""
OPAQUE = 0.7
"""Opacity from which nobody can say what is below."""


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
    crop: Tensor
    """float32 [B, 3]: side of the part that is kept, and how far from the upper left corner it
    lies, as parts of 1 and of what is free; [1, 0, 0] is everything."""
    haze: Tensor
    """float32 [B, date, cell, cell]: opacity of haze and clouds, 0 where there is none."""

    def of_rank(self, rank: int, world_size: int) -> "AugmentDraws":
        """Every `world_size`-th draw from `rank` on."""
        own = {field.name: getattr(self, field.name)[rank::world_size] for field in fields(self)}
        return AugmentDraws(**own)


def draw_augmentations(
    count: int, channels: int, num_dates: int, config: TrainingConfig, generator: torch.Generator
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
        crop=_draw_crops(count, config.crop, generator),
        haze=_draw_haze(count, num_dates, config.haze, generator),
    )


def _draw_crops(count: int, crop: float, generator: torch.Generator) -> Tensor:
    if not crop:
        return torch.tensor([1.0, 0.0, 0.0]).expand(count, 3)
    drawn = torch.rand(count, 3, generator=generator)
    drawn[:, 0] = 1 - crop * drawn[:, 0]
    return drawn


def _draw_haze(count: int, num_dates: int, share: float, generator: torch.Generator) -> Tensor:
    """Dates are hazy independently: thin haze or clouds with gaps, as the numbers fall."""
    shape = (count, num_dates, HAZE_CELLS, HAZE_CELLS)
    if not share:
        return torch.zeros(shape)
    hazy, thickness = torch.rand(2, count, num_dates, 1, 1, generator=generator)
    return torch.rand(shape, generator=generator) * thickness * (hazy < share)


def augment(batch: TrainingBatch, draws: AugmentDraws, num_dates: int) -> TrainingBatch:
    """Mirror, turn and crop image, label and valid alike; reverse the dates; jitter the radiometry;
    lay haze and clouds over dates.

    Chips are square. Change has no direction in time here, so labels survive the reversal. Invalid
    pixels stay zero; what an opaque cloud hides is labelled 255.
    """
    batch = cropped(batch, draws.crop)
    image, label, valid = (
        turned(part, draws.flip, draws.turns) for part in (batch.image, batch.label, batch.valid)
    )
    reversed_dates = torch.cat(list(image.chunk(num_dates, dim=1))[::-1], dim=1)
    image = torch.where(draws.reverse[:, None, None, None].to(image.device), reversed_dates, image)
    gain, offset = draws.gain.to(image.device), draws.offset.to(image.device)
    image = image * gain[:, :, None, None] + offset[:, :, None, None]
    image, label = hazed(image, label, draws.haze.to(image.device))
    return TrainingBatch(torch.where(valid[:, None], image, 0.0), label, valid)


def hazed(image: Tensor, label: Tensor, haze: Tensor) -> tuple[Tensor, Tensor]:
    """Images [B, date·band, N, N] under haze [B, date, cell, cell], and their labels [B, N, N]."""
    if not haze.any():
        return image, label
    size = image.shape[-2:]
    opacity = F.interpolate(haze, size, mode="bicubic", align_corners=True).clamp(0, 1)
    bands = image.shape[1] // haze.shape[1]
    over = opacity.repeat_interleave(bands, dim=1)
    hidden = (opacity >= OPAQUE).any(dim=1)
    return image + over * (HAZE_LEVEL - image), label.masked_fill(hidden, IGNORE)


def cropped(batch: TrainingBatch, crop: Tensor) -> TrainingBatch:
    """The part of each chip that `crop` [B, 3] says, stretched to the whole chip.

    Images bilinearly, labels by the nearest; a pixel to which an invalid one contributes is none.
    """
    if (crop[:, 0] == 1).all():
        return batch
    side, free = crop[:, 0], 2 * crop[:, 1:] - 1
    rows, cols = ((1 - side) * free[:, axis] for axis in (0, 1))
    zero = torch.zeros_like(side)
    theta = torch.stack([side, zero, cols, zero, side, rows], dim=1).view(-1, 2, 3)
    size = [len(batch), 1, *batch.image.shape[-2:]]
    grid = F.affine_grid(theta.to(batch.image), size, align_corners=False)

    def sampled(values: Tensor, mode: str) -> Tensor:
        return F.grid_sample(values, grid, mode, padding_mode="border", align_corners=False)

    label = sampled(batch.label[:, None].to(grid), "nearest")[:, 0].long()
    valid = sampled(batch.valid[:, None].to(grid), "bilinear")[:, 0] > 1 - 1e-4
    return TrainingBatch(sampled(batch.image, "bilinear"), label, valid)


def turned(images: Tensor, flip: Tensor, turns: Tensor) -> Tensor:
    """Square images [B, …, N, N], mirrored where `flip` [B] is, then turned `turns` [B] times."""
    return torch.stack(
        [
            torch.rot90(one.flip(-1) if mirror else one, quarters, dims=(-2, -1))
            for one, mirror, quarters in zip(images, flip.tolist(), turns.tolist(), strict=True)
        ]
    )
