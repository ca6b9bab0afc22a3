"""Where a chip's pixels come from: crops, turns, and dates that do not lie on one another."""

import torch
import torch.nn.functional as F
from torch import Tensor

from noise2map_core.learning.draws import CELLS, smooth, strengths
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.settings.learning import InvarianceConfig


def draw_crops(random: ChipRandom, crop: float) -> Tensor:
    """float32 [B, 3], as of `resampled`; up to `crop` of the side is cut away."""
    if not crop:
        return torch.tensor([1.0, 0.0, 0.0]).expand(len(random), 3)
    drawn = random.rand(3)
    drawn[:, 0] = 1 - crop * drawn[:, 0]
    return drawn


def draw_moves(random: ChipRandom, num_dates: int, config: InvarianceConfig) -> Tensor | None:
    """float32 [B, date, 2, cell, cell], as of `resampled`; None where nothing moves.

    One date of each chip, by which the labels lie, stays; which, is drawn.
    """
    if num_dates == 1 or not (config.shift_px or config.warp_px):
        return None
    moved = strengths(random, (1,), 1.0, config.share) > 0
    shift = 2 * random.rand(num_dates, 2, 1, 1) - 1
    warp = 2 * random.rand(num_dates, 2, CELLS, CELLS) - 1
    stays = random.randint(num_dates, 1)
    moved = moved & (torch.arange(num_dates) != stays)
    return (config.shift_px * shift + config.warp_px * warp) * moved[:, :, None, None, None]


def resampled(
    image: Tensor, label: Tensor, valid: Tensor, crop: Tensor, moves: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The part of each chip that `crop` says, stretched to the whole chip, and dates moved.

    `crop` [B, 3]: side of the part that is kept, and how far from the upper left corner it lies,
    as parts of 1 and of what is free. `moves` [B, date, 2, cell, cell]: how many pixels further
    down and right each date is looked up, smoothly in between. Images bilinearly, labels by the
    nearest, in one go; a pixel to which an invalid one contributes is none. What lies outside is
    what lies at the edge.
    """
    whole = bool((crop[:, 0] == 1).all())
    if whole and moves is None:
        return image, label, valid
    crop = crop.to(image)
    grid = _crop_grid(crop, image.shape[-2:])
    if not whole:
        label = _sampled(label[:, None].to(grid), grid, "nearest")[:, 0].long()
    if moves is None:
        return _sampled(image, grid), label, _all_valid(valid, grid)
    image, valid = _moved(image, valid, crop, grid, moves)
    return image, label, valid


def _crop_grid(crop: Tensor, size: torch.Size) -> Tensor:
    side, free = crop[:, 0], 2 * crop[:, 1:] - 1
    rows, cols = ((1 - side) * free[:, axis] for axis in (0, 1))
    zero = torch.zeros_like(side)
    theta = torch.stack([side, zero, cols, zero, side, rows], dim=1).view(-1, 2, 3)
    return F.affine_grid(theta, [len(crop), 1, *size], align_corners=False)


def _moved(
    image: Tensor, valid: Tensor, crop: Tensor, grid: Tensor, moves: Tensor
) -> tuple[Tensor, Tensor]:
    """Dates that lie where they are and are whole are left as they are."""
    num_dates, size = moves.shape[1], image.shape[-2:]
    frames = image.unflatten(1, (num_dates, -1)).flatten(0, 1).clone()
    seen = valid.repeat_interleave(num_dates, dim=0)
    touched = (moves != 0).flatten(2).any(dim=2) | (crop[:, :1] != 1).to(moves.device)
    chosen = touched.flatten().nonzero()[:, 0]
    step = 2 / torch.tensor([size[1], size[0]], device=image.device)
    further = smooth(moves.flatten(0, 1)[chosen].to(image), size)
    places = grid[chosen // num_dates] + further.flip(1).movedim(1, -1) * step
    frames[chosen] = _sampled(frames[chosen], places)
    seen[chosen] = _all_valid(seen[chosen], places)
    return frames.view_as(image), seen.unflatten(0, (-1, num_dates)).all(dim=1)


def _sampled(values: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
    return F.grid_sample(values, grid, mode, padding_mode="border", align_corners=False)


def _all_valid(valid: Tensor, grid: Tensor) -> Tensor:
    return _sampled(valid[:, None].to(grid), grid)[:, 0] > 1 - 1e-4


def turned(images: Tensor, flip: Tensor, turns: Tensor) -> Tensor:
    """Square images [B, …, N, N], mirrored where `flip` [B] is, then turned `turns` [B] times."""
    return torch.stack(
        [
            torch.rot90(one.flip(-1) if mirror else one, quarters, dims=(-2, -1))
            for one, mirror, quarters in zip(images, flip.tolist(), turns.tolist(), strict=True)
        ]
    )
