"""Noise2Map: raw numbers in, logits out, in one forward pass (Shibli et al., TGRS 2026)."""

import torch
from torch import Tensor, nn

from noise2map_core.diffusion.corruption import swapped_pair
from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.models.unet import PairNetwork


class Noise2Map(nn.Module):
    """A diffusion UNet that maps a corrupted image pair straight to class logits.

    Channels are ordered by date, then band: `before` bands, then `after` bands.
    """

    alpha_bars: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, spec: CheckpointSpec) -> None:
        super().__init__()
        self.spec = spec
        channels = spec.num_dates * len(spec.bands)
        self.network = PairNetwork(spec.network, channels, len(spec.classes))
        # Constants of the spec, not weights: kept out of the state dict.
        self.register_buffer("alpha_bars", schedule_alpha_bars(spec.schedule), persistent=False)
        for name, values in (("mean", spec.normalisation.mean), ("std", spec.normalisation.std)):
            constant = torch.tensor(values, dtype=torch.float32).flatten()[:, None, None]
            self.register_buffer(name, constant, persistent=False)

    def logits(self, image: Tensor, timestep: int, valid: Tensor | None = None) -> Tensor:
        """Class logits, float32 [B, K, H, W], of raw numbers [B, date·band, H, W].

        `valid` bool [B, date, H, W], True = observed; None: all. H and W must be multiples of
        `spec.network.stride`. Averaging over timesteps, blending, temperature and threshold are
        the caller's.
        """
        timesteps = torch.full((len(image),), timestep, device=image.device)
        logits: Tensor = self(self.normalise(image, valid), timesteps)
        return logits.float()

    def normalise(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """z-scores, float32 [B, date·band, H, W]; 0 at every date where any date is invalid."""
        normalised = (image.to(torch.float32) - self.mean) / self.std
        if valid is None:
            return normalised
        # where, not a product: what lies under an invalid pixel may be NaN.
        return torch.where(valid.all(dim=1, keepdim=True), normalised, 0.0)

    def forward(self, x_0: Tensor, timesteps: Tensor, keep_context: Tensor | None = None) -> Tensor:
        """Logits [B, K, H, W] of a normalised pair `x_0` at `timesteps` (int64 [B]).

        `keep_context` bool [B]: see `PairNetwork`; None outside of training.
        """
        x_t = swapped_pair(x_0, self.alpha_bars[timesteps])
        logits: Tensor = self.network(x_t, timesteps, keep_context)
        return logits
