"""What a network sees of a pair by MAD variates: how much changed, by what is usual in the scenes.

Variates and ranks are those of the whole scene (`learning.alteration`), so that a network need not
find out from a chip what light, season and sensor have done to all of it.
"""

from functools import lru_cache

import torch
from torch import Tensor

from noise2map_core.models.spec import (
    CONTRAST_PX,
    EDGE_PX,
    LIKENESS_PX,
    MEANS_PX,
    NUM_TRACES,
    RANK_LEVELS,
    RANK_STEP,
    TEXTURE_PX,
    TRUNCATE,
)

BEYOND = 8.0
"""Steps of rank behind the last level: nothing is ranked higher."""
INDEPENDENT = 0.3
"""About how far from 0 the correlations of independent dates lie, in windows of these sizes."""


def in_z_scores(alteration: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """What is noted of pairs [B, variate + 1, date·band + 1 + trace·level] for z-scores, of that
    for raw numbers.

    `mean`, `std` [B or nothing, date·band, 1, 1] are what the numbers were brought to one scale by.
    Where the variates are unknown (NaN): the differences of the z-scores of the last and the first
    date, over √2, so that two independent dates differ by 1, and ranks as if these were noise.
    """
    mean, std = (numbers[..., 0, 0].expand(len(alteration), -1) for numbers in (mean, std))
    channels = mean.shape[-1]
    matrix, offset, ranks = alteration.tensor_split((channels, channels + 1), dim=-1)
    scaled = torch.cat([matrix * std[:, None], offset + matrix @ mean[..., None], ranks], dim=-1)
    known = torch.isfinite(alteration).all(dim=-1, keepdim=True).all(dim=1, keepdim=True)
    return torch.where(known, scaled, _differences(alteration))


def _differences(like: Tensor) -> Tensor:
    bands = like.shape[1] - 1
    note, band = torch.zeros_like(like[0]), torch.arange(bands, device=like.device)
    note[band, band], note[band, bands + band] = -(0.5**0.5), 0.5**0.5
    note[bands, :bands], note[bands, bands : 2 * bands] = -1 / bands, 1 / bands
    ranks = 1 - 10 ** -(RANK_STEP * torch.arange(RANK_LEVELS, device=like.device))
    unlike = INDEPENDENT * torch.special.ndtri(ranks.clamp(min=1e-3))
    size, all_sizes = _normal_sizes(ranks), _square_sizes(ranks, bands)
    for row in range(bands + 1):
        means = all_sizes if row == bands else size
        note[row, 2 * bands + 1 :] = torch.cat(
            [means] * len(MEANS_PX) + [unlike] * len(LIKENESS_PX) + [size] * 2
        )
    return note


def _normal_sizes(ranks: Tensor) -> Tensor:
    """log(1 + |n|) of these ranks, of a normal number n."""
    return torch.log1p(torch.erfinv(ranks.double()) * 2**0.5).to(ranks.dtype)


def _square_sizes(ranks: Tensor, count: int) -> Tensor:
    """log(1 + Σ n²) of these ranks, of so many, after Wilson and Hilferty (1931)."""
    normal = torch.special.ndtri(ranks.double().clamp(min=1e-9))
    third = 1 - 2 / (9 * count) + normal * (2 / (9 * count)) ** 0.5
    return torch.log1p(count * third.clamp(min=0) ** 3).to(ranks.dtype)


def reversed_dates(alteration: Tensor, num_dates: int) -> Tensor:
    """For images of which the dates are in the other order."""
    channels = num_dates * (alteration.shape[1] - 1)
    dates = list(alteration[..., :channels].chunk(num_dates, dim=-1))
    return torch.cat([*dates[::-1], alteration[..., channels:]], dim=-1)


def altered(x: Tensor, alteration: Tensor) -> Tensor:
    """log(1 + |variate|) of each, and of their squared length, [B, variate + 1, H, W] of images
    [B, date·band, H, W] and what is noted of their pairs; see `in_z_scores`.

    Sizes, for a variate's sign is arbitrary; logarithms, for real change is many units long.
    """
    channels = x.shape[1]
    with torch.autocast(x.device.type, enabled=False):  # small differences of large numbers
        variates = torch.einsum("bvc,bchw->bvhw", alteration[:, :-1, :channels], x.float())
        variates = variates + alteration[:, :-1, channels, None, None]
        length = variates.square().sum(dim=1, keepdim=True)
        return torch.log1p(torch.cat([variates.abs(), length], dim=1))


def ranked(x: Tensor, alteration: Tensor, valid: Tensor) -> Tensor:
    """How far each trace stands out in its scene, -log10(1 - rank), [B, (variate + 1)·trace, H, W].

    Ranks, for what is unusual in one scene is usual in another. Of traces, see `traces`, since
    change is rarely one pixel wide, and what is built looks different, not only brighter.
    """
    with torch.autocast(x.device.type, enabled=False):
        found = traces(x.float(), alteration, valid)
        values = alteration[..., x.shape[1] + 1 :].unflatten(-1, (NUM_TRACES, RANK_LEVELS))
        return _rank(found, values).flatten(1, 2)


def traces(x: Tensor, alteration: Tensor, valid: Tensor) -> Tensor:
    """What tells of change around each pixel [B, variate + 1, trace, H, W], in windows over what is
    `valid` [B, 1, H, W]; see `learning.alteration._traces`, of which this is the other form."""
    weight, bands = valid.to(x.dtype), x.shape[1] // 2
    before = torch.einsum("bvc,bchw->bvhw", -alteration[..., :bands], x[:, :bands])
    after = torch.einsum("bvc,bchw->bvhw", alteration[..., bands : 2 * bands], x[:, bands:])
    sizes = altered(x, alteration)
    edges = [_edges(part, weight) for part in (before, after)]
    return torch.stack(
        [
            *(_mean(sizes, weight, sigma) if sigma else sizes for sigma in MEANS_PX),
            *(-_correlation(before, after, weight, sigma) for sigma in LIKENESS_PX),
            _mean(edges[1] - edges[0], weight, CONTRAST_PX).abs(),
            _mean(edges[0] + edges[1], weight, TEXTURE_PX),
        ],
        dim=2,
    )


def _mean(parts: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Gaussian means [B, part, H, W] over what is observed; 0 where nothing is around."""
    return _blurred(parts * weight, sigma) / _blurred(weight, sigma).clamp(min=1e-6)


def _correlation(one: Tensor, other: Tensor, weight: Tensor, sigma: float) -> Tensor:
    mean, square = _mean(one, weight, sigma), _mean(one * one, weight, sigma)
    others, others_square = _mean(other, weight, sigma), _mean(other * other, weight, sigma)
    covariance = _mean(one * other, weight, sigma) - mean * others
    variances = (square - mean**2) * (others_square - others**2)
    return covariance / variances.clamp(min=1e-6).sqrt()


def _edges(parts: Tensor, weight: Tensor) -> Tensor:
    """Lengths of the gradients."""
    return torch.hypot(*torch.gradient(_mean(parts, weight, EDGE_PX), dim=(-2, -1)))


def _blurred(part: Tensor, sigma: float) -> Tensor:
    """Products with banded matrices: far faster than convolutions of single channels."""
    height, width = (_window(size, sigma).to(part) for size in part.shape[-2:])
    return height @ (part @ width)


@lru_cache(maxsize=64)
def _window(size: int, sigma: float) -> Tensor:
    """Weights [pixel, neighbour] of a line of so many pixels."""
    offset = torch.arange(size, dtype=torch.float64)
    distance = (offset[:, None] - offset).abs()
    radius = int(TRUNCATE * sigma + 0.5)
    whole = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weight = torch.exp(-0.5 * (distance / sigma) ** 2) * (distance <= radius)
    return (weight / torch.exp(-0.5 * (whole / sigma) ** 2).sum()).float()


def _rank(found: Tensor, values: Tensor) -> Tensor:
    """-log10(1 - rank) of traces [B, row, trace, H, W] by their values at the levels [B, row,
    trace, level]; beyond the last the last step goes on."""
    line, step = found.flatten(-2), values.diff(dim=-1).clamp(min=1e-6)
    level = torch.searchsorted(values[..., 1:-1].contiguous(), line, out_int32=True).long()
    share = (line - values.gather(-1, level)) / step.gather(-1, level)
    most = torch.where(level == RANK_LEVELS - 2, BEYOND, 1.0)
    told = level + torch.minimum(share.clamp(min=0.0), most)
    return RANK_STEP * told.unflatten(-1, found.shape[-2:])
