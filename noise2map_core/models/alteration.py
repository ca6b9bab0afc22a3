"""What a network sees of a pair by MAD variates: how much changed, by what is usual in the scenes.

Variates and ranks are those of the whole scene (`learning.alteration`), so that a network need not
find out from a chip what light, season and sensor have done to all of it.
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from noise2map_core.models.spec import (
    BENDS,
    CONTRAST_PX,
    EDGE_PX,
    LIKENESS_PX,
    MEANS_PX,
    NUM_TRACES,
    RANK_LEVELS,
    RANK_STEP,
    TEXTURE_PX,
    TRUNCATE,
    PixelwiseSpec,
)
from noise2map_core.models.unet import TaskShape, pixel_path
from noise2map_core.settings.network import Task

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


HIDDEN = 2
"""Layers of the perceptron before its last."""


class Pixelwise(nn.Module):
    """Change judged pixel by pixel, from ranks or from sizes of variates.

    Which variate is which differs from place to place, so those of a pixel are told by size; and
    the network may bend at `BENDS`, for what is rare by half and by a thousandth means
    different things (Gorishniy, Rubachev, Babenko, "On embeddings for numerical features in tabular
    deep learning", NeurIPS 2022).
    """

    def __init__(self, network: PixelwiseSpec, shapes: Mapping[Task, TaskShape]) -> None:
        super().__init__()
        self.smoothing_px = network.smoothing_px
        self.traces = NUM_TRACES if network.fusion == "ranks" else 1
        seen = {
            task: (len(BENDS) - 1) * self.traces * (shape.num_bands + 1)
            for task, shape in shapes.items()
        }
        self.heads = nn.ModuleDict(
            {
                task: pixel_path(seen[task], network.width, shape.num_classes)
                for task, shape in shapes.items()
            }
        )

    def forward(
        self, task: Task, x: Tensor, timesteps: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """Logits [B, K, H, W] of `x` [B, (variate + 1)·trace, H, W], 0 where nothing is observed.

        `keep` bool [B, layer·width]: hidden features that may be used; None: all. Timesteps have no
        effect.
        """
        logits = self._judged(self.heads[task], in_pieces(by_size(x, self.traces)), keep)
        if not self.smoothing_px:
            return logits
        observed = (x > 0).any(dim=1, keepdim=True).to(logits.dtype)
        return _mean(logits, observed, self.smoothing_px)

    def _judged(self, head: nn.Module, pieces: Tensor, keep: Tensor | None) -> Tensor:
        if keep is None:
            logits: Tensor = head(pieces)
            return logits
        hidden, layers = pieces, list(head.children())
        for layer, kept in enumerate(keep.to(pieces.dtype).chunk(HIDDEN, dim=1)):
            share = kept.mean(dim=1, keepdim=True).clamp(min=1 / kept.shape[1])
            hidden = layers[2 * layer + 1](layers[2 * layer](hidden))
            hidden = hidden * (kept / share)[..., None, None]
        logits = layers[-1](hidden)
        return logits


def by_size(x: Tensor, traces: int) -> Tensor:
    """Numbers [B, (variate + 1)·trace, H, W] with those of the variates falling, trace by trace."""
    rows = x.unflatten(1, (-1, traces))
    variates = rows[:, :-1].sort(dim=1, descending=True).values
    return torch.cat([variates, rows[:, -1:]], dim=1).flatten(1, 2)


def in_pieces(x: Tensor) -> Tensor:
    """How much of each piece between `BENDS` numbers [B, C, H, W] have passed, 0 … 1,
    [B, piece·C, H, W]."""
    return torch.cat([((x - low) / (up - low)).clamp(0, 1) for low, up in pairwise(BENDS)], dim=1)
