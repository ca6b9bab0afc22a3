"""Rivals beside what is published of them: parameters and multiplications, at 256 pixels, RGB.

python tests/benchmarks/published_networks.py
"""

from typing import Any, get_args

import torch
import tyro
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from noise2map_core.models.baselines import SegmentationModels
from noise2map_core.models.noise2map import count_parameters
from noise2map_core.models.presets import network_of
from noise2map_core.models.rivals.network import Rival
from noise2map_core.models.spec import RivalSpec, SegmentationModelSpec
from noise2map_core.models.unet import TaskShape
from noise2map_core.settings.network import Preset, RivalName, Task

PUBLISHED: dict[str, tuple[float, float]] = {
    "fc_ef": (1.35, 3.57),
    "fc_siam_conc": (1.55, 5.32),
    "fc_siam_diff": (1.35, 4.72),
    "snunet": (12.03, 54.83),
    "bit": (3.55, 10.63),
    "changeformer": (41.03, 202.87),
    "tinycd": (0.29, 1.45),
}
"""Million parameters and 10⁹ multiplications for a pair of three bands and 256 pixels, as tables of
later papers give them for the authors' code; docs/evidence/rivals.md says how they were counted."""
PX = 256
SEGMENTATION: tuple[Preset, ...] = "unet", "deeplabv3plus", "segformer", "upernet"


def rival(name: RivalName) -> Rival:
    """The network with random weights, for three bands and two classes."""
    return Rival(RivalSpec(architecture=name), {"change": TaskShape(2, 3, 2)}).eval()


def multiplications(model: nn.Module, pair: Tensor) -> float:
    """As the tables count: a transposed convolution as if it had a product for each tap and each
    pixel that it gives, of which there are stride² times as many as it takes."""
    more = 0.0

    def count(layer: Any, given: Any, _: Any) -> None:
        nonlocal more
        taps = layer.weight.numel() * given[0][0, 0].numel()
        more += taps * (layer.stride[0] * layer.stride[1] - 1)

    hooks = [
        layer.register_forward_hook(count)
        for layer in model.modules()
        if isinstance(layer, nn.ConvTranspose2d)
    ]
    counted = exact(model, pair) + more
    for hook in hooks:
        hook.remove()
    return counted


def exact(model: nn.Module, image: Tensor, task: Task = "change") -> float:
    """Products of convolutions, matrices and attention that a pass computes."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(task, image, torch.zeros(1))
    return counter.get_total_flops() / 2


def main() -> None:
    """Print both tables."""
    print_change()
    print_segmentation()


def print_segmentation() -> None:
    """Of a single image; of these sizes nothing is published, for encoders can be chosen."""
    print("| preset | encoder | parameters | G products |\n| --- | --- | --- | --- |")
    for preset in SEGMENTATION:
        network = network_of(preset, PX)
        assert isinstance(network, SegmentationModelSpec)
        model = SegmentationModels(network, {"segment": TaskShape(1, 3, 2)}).eval()
        own = exact(model, torch.zeros(1, 3, PX, PX), "segment") / 1e9
        millions = count_parameters(model) / 1e6
        print(f"| `{preset}` | {network.encoder} | {millions:.1f} M | {own:.1f} |")


def print_change() -> None:
    """Of a pair, beside what is published."""
    print("| preset | parameters | published | G products | as tables count | published |")
    print("| --- | --- | --- | --- | --- | --- |")
    pair = torch.zeros(1, 6, PX, PX, device="meta")
    for name in get_args(RivalName):
        model, (millions, giga) = rival(name).to("meta"), PUBLISHED[name]
        found, own = multiplications(model, pair) / 1e9, exact(model, pair) / 1e9
        print(
            f"| `{name}` | {count_parameters(model) / 1e6:.3f} M | {millions} M | {own:.2f} "
            f"| {found:.2f} | {giga} |"
        )


if __name__ == "__main__":
    tyro.cli(main)
