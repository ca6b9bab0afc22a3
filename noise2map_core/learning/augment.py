"""Augmentations: what may be changed in a training batch without changing what is true.

Libraries of augmentations draw their random numbers themselves, batch by batch; here each chip has
its own, so that one worker or several see the same. What is done with them is torch's.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from noise2map_core.learning.appearance import draw_appearance
from noise2map_core.learning.draws import CELLS, Draws, Effect, under
from noise2map_core.learning.geometry import draw_crops, draw_moves, resampled, turned
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.learning.pairs import PairDraws, draw_pairs, made
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.learning.sensor import draw_sensor
from noise2map_core.models.alteration import reversed_dates
from noise2map_core.settings.learning import TrainingConfig

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
    draws_of: NDArray[np.int64]
    """[B, n]: what the random numbers of each follow from; see `ChipRandom`."""
    alteration: Tensor | None = None
    """float32 [B, variate, date·band + 1]: matrix and offset of the MAD variates of `image`."""

    def __len__(self) -> int:
        """Its number of chips."""
        return len(self.image)


@dataclass(frozen=True)
class AugmentDraws(Draws):
    """The random numbers of one batch."""

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
    """float32 [B, 3], as of `resampled`."""
    haze: Tensor
    """float32 [B, date, cell, cell]: opacity of haze and clouds, 0 where there is none."""
    pairs: PairDraws | None
    """Which chips' change is made; None: nobody's."""
    moves: Tensor | None
    """float32 [B, date, 2, cell, cell], as of `resampled`; None: every date lies where it is."""
    appearance: tuple[Effect, ...]
    sensor: tuple[Effect, ...]


def draw_augmentations(
    random: ChipRandom, channels: int, num_dates: int, config: TrainingConfig
) -> AugmentDraws:
    """Random numbers for images of `channels` = date·band channels.

    Gain and offset are drawn per date and band, normally with standard deviation `config.jitter`:
    dates differ in light, haze and season, and a network that trusts absolute levels fails on the
    next pair of dates.
    """
    bands, invariance = channels // num_dates, config.invariance
    return AugmentDraws(
        flip=(random.rand() < 0.5) & config.flips,
        turns=random.randint(4) * config.flips,
        reverse=(random.rand() < 0.5) & config.reverse_dates,
        gain=1 + config.jitter * random.randn(channels),
        offset=config.jitter * random.randn(channels),
        crop=draw_crops(random, config.crop),
        haze=_draw_haze(random, num_dates, config.haze),
        pairs=draw_pairs(random, num_dates, invariance),
        moves=draw_moves(random, num_dates, invariance),
        appearance=draw_appearance(random, num_dates, bands, invariance),
        sensor=draw_sensor(random, num_dates, bands, invariance),
    )


def _draw_haze(random: ChipRandom, num_dates: int, share: float) -> Tensor:
    """Dates are hazy independently: thin haze or clouds with gaps, as the numbers fall."""
    if not share:
        return torch.zeros(len(random), num_dates, CELLS, CELLS)
    hazy, thickness = random.rand(2, num_dates, 1, 1).unbind(1)
    return random.rand(num_dates, CELLS, CELLS) * thickness * (hazy < share)


def augment(batch: TrainingBatch, draws: AugmentDraws, num_dates: int) -> TrainingBatch:
    """Make pairs of known change; mirror, turn, crop and move; reverse the dates; change what each
    date looks like, lay haze and clouds over it, and see it by another sensor.

    Chips are square. Change has no direction in time here, so labels survive the reversal. Invalid
    pixels stay zero, and nothing of them gets into others; what an opaque cloud hides is labelled
    255.
    """
    image, label, valid = batch.image, batch.label, batch.valid
    if draws.pairs is not None:
        image, label = made(image, label, valid, draws.pairs, num_dates)
    image, label, valid = (
        turned(part, draws.flip, draws.turns)
        for part in resampled(image, label, valid, draws.crop, draws.moves)
    )
    other_order = torch.cat(list(image.chunk(num_dates, dim=1))[::-1], dim=1)
    reverse = draws.reverse.to(image.device)
    image = torch.where(reverse[:, None, None, None], other_order, image)
    alteration = batch.alteration
    if alteration is not None:
        other = reversed_dates(alteration, num_dates)
        alteration = torch.where(reverse[:, None, None], other, alteration)
    image = under(image, valid, draws.appearance)
    gain, offset = draws.gain.to(image.device), draws.offset.to(image.device)
    image = image * gain[:, :, None, None] + offset[:, :, None, None]
    image, label = hazed(image, label, draws.haze)
    image = under(image, valid, draws.sensor)
    shown = torch.where(valid[:, None], image, 0.0)
    return TrainingBatch(shown, label, valid, batch.draws_of, alteration)


def hazed(image: Tensor, label: Tensor, haze: Tensor) -> tuple[Tensor, Tensor]:
    """Images [B, date·band, N, N] under haze [B, date, cell, cell], and their labels [B, N, N]."""
    if not haze.any():
        return image, label
    size = image.shape[-2:]
    opacity = F.interpolate(haze.to(image.device), size, mode="bicubic", align_corners=True).clamp(
        0, 1
    )
    bands = image.shape[1] // haze.shape[1]
    over = opacity.repeat_interleave(bands, dim=1)
    hidden = (opacity >= OPAQUE).any(dim=1)
    return image + over * (HAZE_LEVEL - image), label.masked_fill(hidden, IGNORE)
