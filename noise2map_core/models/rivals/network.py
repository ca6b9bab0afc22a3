"""Rivals for change, behind the interface of our own networks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from noise2map_core.models.baselines import train_depthwise_in_float32
from noise2map_core.models.rivals.bit import BIT
from noise2map_core.models.rivals.changeformer import ChangeFormer
from noise2map_core.models.rivals.fully_convolutional import FullyConvolutional
from noise2map_core.models.rivals.snunet import SNUNet
from noise2map_core.models.rivals.tinycd import TinyCD
from noise2map_core.models.spec import RivalSpec
from noise2map_core.models.unet import TaskShape
from noise2map_core.settings.network import RivalName, Task

BODIES: Mapping[RivalName, Callable[[int], Any]] = {
    "fc_ef": partial(FullyConvolutional, fusion="early"),
    "fc_siam_conc": partial(FullyConvolutional, fusion="concatenation"),
    "fc_siam_diff": partial(FullyConvolutional, fusion="difference"),
    "snunet": SNUNet,
    "bit": BIT,
    "changeformer": ChangeFormer,
    "tinycd": TinyCD,
}
"""All but their last convolution, for so many bands."""


class Rival(nn.Module):
    """A published network for change between two dates; it knows no timestep."""

    def __init__(self, network: RivalSpec, shapes: Mapping[Task, TaskShape]) -> None:
        super().__init__()
        shape = shapes["change"]
        self.body = BODIES[network.architecture](shape.num_bands)
        px = self.body.head_px
        self.head = nn.Conv2d(self.body.width, shape.num_classes, px, padding=px // 2)
        train_depthwise_in_float32(self)

    def forward(
        self, task: Task, x: Tensor, timesteps: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """Logits [B, K, H, W] of `x` [B, C, H, W]; the other arguments have no effect."""
        logits: Tensor = self.head(self.body(*x.chunk(2, dim=1)))
        return logits
