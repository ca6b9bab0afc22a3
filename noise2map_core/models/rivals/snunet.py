"""SNUNet-CD/32 with its channel attention, ECAM (Fang, Li, Shao & Li, GRSL 2021)."""

import torch
from torch import Tensor, nn

WIDTHS = 32, 64, 128, 256, 512
ROWS = len(WIDTHS)


class SNUNet(nn.Module):
    """A nested UNet: each node sees all before it in its row, of both dates, and the one below."""

    width, head_px = 4 * WIDTHS[0], 1

    def __init__(self, num_bands: int) -> None:
        super().__init__()
        above = (num_bands, *WIDTHS)
        self.encoder = nn.ModuleList(
            _Block(wide, out) for wide, out in zip(above, WIDTHS, strict=False)
        )
        self.nodes, self.rise = nn.ModuleDict(), nn.ModuleDict()
        for column in range(1, ROWS):
            for row in range(ROWS - column):
                seen = (column + 1) * WIDTHS[row] + WIDTHS[row + 1]
                self.nodes[f"{row}_{column}"] = _Block(seen, WIDTHS[row])
                below = WIDTHS[row + 1]
                self.rise[f"{row}_{column}"] = nn.ConvTranspose2d(below, below, 2, stride=2)
        self.between = _ChannelAttention(self.width, 16)
        self.within = _ChannelAttention(WIDTHS[0], 4)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Features [B, width, H, W] of two dates [B, C, H, W]."""
        earlier, later = self._encoded(before, ROWS - 1), self._encoded(after, ROWS)
        rows = [*map(list, zip(earlier, later, strict=False)), later[-1:]]
        for column in range(1, ROWS):
            for row in range(ROWS - column):
                # The row below ends with the later date, or with its node of the last column.
                seen = [*rows[row], self.rise[f"{row}_{column}"](rows[row + 1][-1])]
                rows[row].append(self.nodes[f"{row}_{column}"](torch.cat(seen, dim=1)))
        return self._weighed(rows[0][2:])

    def _encoded(self, x: Tensor, depth: int) -> list[Tensor]:
        found: list[Tensor] = []
        for block in self.encoder[:depth]:
            found.append(block(nn.functional.max_pool2d(found[-1], 2) if found else x))
        return found

    def _weighed(self, maps: list[Tensor]) -> Tensor:
        """The four full-resolution nodes, [B, 4·C, H, W], channels weighed within and between."""
        together = torch.cat(maps, dim=1)
        within = self.within(torch.stack(maps).sum(dim=0))
        weighed: Tensor = self.between(together) * (together + within.repeat(1, len(maps), 1, 1))
        return weighed


class _Block(nn.Module):
    """Two convolutions, the second around a residual of the first."""

    def __init__(self, wide: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(wide, out, 3, padding=1)
        self.rest = nn.Sequential(
            nn.BatchNorm2d(out), nn.ReLU(), nn.Conv2d(out, out, 3, padding=1), nn.BatchNorm2d(out)
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        return torch.relu(first + self.rest(first))


class _ChannelAttention(nn.Module):
    """Weights of channels, [B, C, 1, 1], from their means and maxima (Woo et al. 2018)."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.squeezed = nn.Sequential(
            nn.Conv2d(channels, channels // ratio, 1, bias=False), nn.ReLU(),
            nn.Conv2d(channels // ratio, channels, 1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        mean, most = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        return torch.sigmoid(self.squeezed(mean) + self.squeezed(most))
