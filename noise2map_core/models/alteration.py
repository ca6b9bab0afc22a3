"""What a network sees of a pair by MAD variates: how much changed, in units of what did not.

The variates are those of the whole scene (`learning.alteration`), so that a network need not find
out from a chip what light, season and sensor have done to all of it.
"""

import torch
from torch import Tensor


def in_z_scores(alteration: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Matrix and offset [B, variate, date·band + 1] for z-scores, of those for raw numbers.

    `mean`, `std` [B or nothing, date·band, 1, 1] are what the numbers were brought to one scale by.
    Where the variates are unknown (NaN): the differences of the z-scores of the last and the first
    date, over √2, so that two independent dates differ by 1.
    """
    mean, std = (numbers[..., 0, 0].expand(len(alteration), -1) for numbers in (mean, std))
    matrix, offset = alteration[..., :-1], alteration[..., -1:]
    scaled = torch.cat([matrix * std[:, None], offset + matrix @ mean[..., None]], dim=-1)
    known = torch.isfinite(alteration).all(dim=-1, keepdim=True).all(dim=1, keepdim=True)
    return torch.where(known, scaled, _differences(alteration))


def _differences(like: Tensor) -> Tensor:
    bands, channels = like.shape[1], like.shape[2] - 1
    matrix = torch.zeros_like(like[0])
    band = torch.arange(bands, device=like.device)
    matrix[band, band], matrix[band, channels - bands + band] = -(0.5**0.5), 0.5**0.5
    return matrix


def reversed_dates(alteration: Tensor, num_dates: int) -> Tensor:
    """For images of which the dates are in the other order."""
    dates = list(alteration[..., :-1].chunk(num_dates, dim=-1))
    return torch.cat([*dates[::-1], alteration[..., -1:]], dim=-1)


def altered(x: Tensor, alteration: Tensor) -> Tensor:
    """log(1 + |variate|) of each, and of their common length, [B, variate + 1, H, W] of images
    [B, date·band, H, W] and their matrices and offsets [B, variate, date·band + 1].

    Sizes, for a variate's sign is arbitrary; logarithms, for real change is many units long.
    """
    with torch.autocast(x.device.type, enabled=False):  # small differences of large numbers
        variates = torch.einsum("bvc,bchw->bvhw", alteration[..., :-1], x.float())
        variates = variates + alteration[..., -1:, None]
        length = variates.square().sum(dim=1, keepdim=True)
        return torch.log1p(torch.cat([variates.abs(), length], dim=1))
