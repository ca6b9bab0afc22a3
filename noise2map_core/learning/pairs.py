"""Pairs whose change is known because it was made: none at all, or one object."""

from dataclasses import dataclass

import torch
from torch import Tensor

from noise2map_core.learning.draws import Draws, covered, rectangles
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.settings.learning import InvarianceConfig

UNCHANGED, CHANGED = 0, 1
OBJECT_SIDES = (0.06, 0.25)
"""Half the sides of what is pasted, as parts of the chip's."""
EDGE_PX = 1.5
CLEAR = 1.0
"""Distance in colour, as root mean square over bands in standard deviations, from which what is
pasted is something else than what was there."""


@dataclass(frozen=True)
class PairDraws(Draws):
    """Which chips' change is made."""

    copied: Tensor
    """int64 [B]: the date that every date is a copy of; -1: none."""
    pasted: Tensor
    """int64 [B]: the date that shows something else in one place; -1: none."""
    place: Tensor
    """float32 [B, 1, 5]: that place, as of `covered`."""
    source: Tensor
    """float32 [B, 2]: where else in the chip it is taken from, in parts of the chip's side."""


def draw_pairs(random: ChipRandom, num_dates: int, config: InvarianceConfig) -> PairDraws | None:
    """For so many chips; None where nothing is made, and for single dates."""
    if num_dates == 1 or not (config.unchanged or config.pasted):
        return None

    def dates(share: float) -> Tensor:
        date = random.randint(num_dates)
        return torch.where(random.rand() < share, date, -1)

    return PairDraws(
        copied=dates(config.unchanged),
        pasted=dates(config.pasted),
        place=rectangles(random, (1,), *OBJECT_SIDES),
        source=random.rand(2),
    )


def made(
    image: Tensor, label: Tensor, valid: Tensor, draws: PairDraws, num_dates: int
) -> tuple[Tensor, Tensor]:
    """Images [B, date·band, H, W] and labels [B, H, W] with the change that was drawn."""
    dates = image.unflatten(1, (num_dates, -1)).clone()
    label = _without_change(dates, label, valid, draws.copied)
    label = _with_objects(dates, label, valid, draws)
    return dates.flatten(1, 2), label


def _without_change(dates: Tensor, label: Tensor, valid: Tensor, copied: Tensor) -> Tensor:
    """Nothing has changed there, whatever was known before: unlabelled pixels are labelled, too."""
    chips = (copied >= 0).nonzero()[:, 0]
    dates[chips] = dates[chips, copied[chips]][:, None]
    same = torch.zeros(len(label), dtype=torch.bool).index_fill(0, chips, True).to(label.device)
    return label.masked_fill(same[:, None, None] & valid, UNCHANGED)


def _with_objects(dates: Tensor, label: Tensor, valid: Tensor, draws: PairDraws) -> Tensor:
    """What lies elsewhere in the chip, where it is of another colour than at the other date.

    It comes from the same chip: others may be with other workers. Its edges are not learnt from.
    """
    chips = (draws.pasted >= 0).nonzero()[:, 0]
    date = draws.pasted[chips]
    host, other = dates[chips, date], dates[chips, (date + 1) % dates.shape[1]]
    sources = draws.source[chips].to(host.device)
    seen = valid[chips, None]
    donor, observed = _from_elsewhere(host, sources), _from_elsewhere(seen, sources)
    cover = covered(draws.place[chips].to(host), host.shape[-2:], EDGE_PX)[:, None]
    cover = cover * (seen & observed)
    mean = (cover * (donor - other)).sum(dim=(2, 3)) / cover.sum(dim=(2, 3)).clamp_min(1)
    cover = cover * (mean.square().mean(dim=1).sqrt() >= CLEAR)[:, None, None, None]
    dates[chips, date] = host + cover * (donor - host)
    known = torch.where(cover[:, 0] > 0, IGNORE, label[chips])
    return label.index_copy(
        0, chips.to(label.device), torch.where(cover[:, 0] >= 0.5, CHANGED, known)
    )


def _from_elsewhere(images: Tensor, source: Tensor) -> Tensor:
    """[n, band, H, W], moved by `source` [n, 2] sides, round the edges, and upside down."""
    height, width = images.shape[-2:]
    rows, cols = (
        ((source[:, axis, None] * px).long() - torch.arange(px, device=images.device)) % px
        for axis, px in enumerate((height, width))
    )
    chip = torch.arange(len(images), device=images.device)[:, None, None, None]
    band = torch.arange(images.shape[1], device=images.device)[:, None, None]
    return images[chip, band, rows[:, None, :, None], cols[:, None, None, :]]
