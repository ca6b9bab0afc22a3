"""The eight ways to lay a square: quarter turns, of it and of its mirror image."""

import torch
from torch import Tensor

from noise2map_core.inference.region import NUM_TURNS


def turned(x: Tensor, turn: int) -> Tensor:
    """[..., H, W] of squares, by so many quarter turns; from 4 on, of the mirror image."""
    mirrored = x.flip(-1) if turn >= NUM_TURNS // 2 else x
    return torch.rot90(mirrored, turn % 4, dims=(-2, -1)) if turn else x


def turned_back(x: Tensor, turn: int) -> Tensor:
    """What `turned` was given."""
    back = torch.rot90(x, -(turn % 4), dims=(-2, -1)) if turn else x
    return back.flip(-1) if turn >= NUM_TURNS // 2 else back
