"""Random numbers of augmentations, and what is made of them over the pixels of a chip."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from noise2map_core.learning.seeds import ChipRandom

CELLS = 4
"""Smooth fields are so many random numbers a side, smoothly in between."""
GRAIN_SPARE = 256
"""Places a side at which the one field of white noise can be begun."""


@dataclass(frozen=True)
class Draws:
    """Random numbers of one batch, the chip first in every field."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """With every tensor changed, those of draws that are held in turn included."""
        return type(self)(
            **{field.name: _each(getattr(self, field.name), change) for field in fields(self)}
        )


def _each(held: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(held, tuple):
        return tuple(_each(one, change) for one in held)
    if isinstance(held, Draws):
        return held.each(change)
    return None if held is None else change(held)


@dataclass(frozen=True)
class Effect(Draws, ABC):
    """One thing that makes dates look different; drawn for each date by itself."""

    strength: Tensor
    """float32 [B, date]; 0: the date is spared."""

    def of_frames(self, chosen: Tensor, device: torch.device) -> Self:
        """Of some of the dates, [n, …], which are counted over all chips."""
        return self.each(lambda drawn: drawn.flatten(0, 1)[chosen].to(device))

    @abstractmethod
    def on(self, frames: Tensor, seen: Tensor) -> Tensor:
        """Single dates under it, float32 [n, band, H, W], as many as draws.

        `seen` bool [n, 1, H, W]: where they are valid; what they show elsewhere does not matter.
        """


def under(image: Tensor, valid: Tensor, effects: tuple[Effect, ...]) -> Tensor:
    """Images [B, date·band, H, W], valid [B, H, W], under one effect after the other."""
    if not effects:
        return image
    num_dates = effects[0].strength.shape[1]
    frames = image.unflatten(1, (num_dates, -1)).flatten(0, 1).clone()
    for effect in effects:
        chosen = effect.strength.flatten().nonzero()[:, 0]
        if len(chosen):
            frames[chosen] = effect.of_frames(chosen, image.device).on(
                frames[chosen], valid[chosen // num_dates, None]
            )
    return frames.view_as(image)


def strengths(random: ChipRandom, shape: tuple[int, ...], most: float, share: float) -> Tensor:
    """float32 [B, *shape], uniform up to `most` in a share of them, 0 in the others."""
    drawn, strength = random.rand(2, *shape).unbind(1)
    return torch.where(drawn < share, strength * most, 0.0)


def rectangles(random: ChipRandom, shape: tuple[int, ...], least: float, most: float) -> Tensor:
    """Places for `covered`, float32 [B, *shape, 5], with half sides of `least` to `most` chips."""
    place = random.rand(*shape, 5)
    place[..., 2:4] = least + (most - least) * place[..., 2:4]
    place[..., 4] *= math.pi
    return place


def smooth(cells: Tensor, size: torch.Size) -> Tensor:
    """[..., H, W], bicubically between the numbers of [..., cell, cell], which lie at the corners
    and evenly in between."""
    return (
        _basis(cells.shape[-2], size[-2], cells.device).T
        @ cells
        @ _basis(cells.shape[-1], size[-1], cells.device)
    )


@lru_cache
def _basis(cells: int, px: int, device: torch.device) -> Tensor:
    """What each cell adds to each pixel, [cell, px]."""
    alone = torch.eye(cells, device=device)[None, None]
    return F.interpolate(alone, (cells, px), mode="bicubic", align_corners=True)[0, 0]


def covered(places: Tensor, size: torch.Size, soft_px: float) -> Tensor:
    """How much of each pixel lies in one of some rectangles, [n, H, W] in 0 … 1.

    `places` [n, rectangle, 5]: row and column of the middle, half the length and the width, as
    parts of the chip's side; angle, radians. Edges fade over `soft_px` pixels.
    """
    row, col, length, width, angle = (part[..., None, None] for part in places.unbind(-1))
    rows = (_centres(size[-2], places.device)[:, None] - row) * size[-2]
    cols = (_centres(size[-1], places.device) - col) * size[-1]
    along = (cols * angle.cos() + rows * angle.sin()).abs_()
    across = (cols * -angle.sin() + rows * angle.cos()).abs_()
    inside = torch.minimum(length * size[-1] - along, width * size[-1] - across)
    return inside.amax(dim=1).div_(soft_px).add_(0.5).clamp_(0, 1)


def beyond(line: Tensor, size: torch.Size) -> Tensor:
    """float32 [n, H, W], 1 on one side of a line.

    `line` [n, 3]: row and column of a point of it, as parts of the chip's side; angle, radians.
    """
    row, col, angle = (part[:, None, None] for part in line.unbind(-1))
    rows = _centres(size[-2], line.device)[:, None] - row
    cols = _centres(size[-1], line.device) - col
    return (rows * angle.cos() + cols * angle.sin() > 0).float()


def _centres(px: int, device: torch.device) -> Tensor:
    return (torch.arange(px, device=device) + 0.5) / px


def grain(starts: Tensor, size: torch.Size) -> Tensor:
    """White noise of mean 0 and standard deviation 1, [..., H, W].

    `starts` int64 [..., 2] below GRAIN_SPARE: where in the one field of noise, which is the same on
    every machine, each is cut out; so nobody draws noise pixel by pixel.
    """
    field = _grain(max(size) + GRAIN_SPARE, starts.device)
    windows = field.unfold(0, size[-2], 1).unfold(1, size[-1], 1)
    return windows[starts[..., 0], starts[..., 1]]


@lru_cache
def _grain(px: int, device: torch.device) -> Tensor:
    return torch.randn(px, px, generator=torch.Generator().manual_seed(0)).to(device)
