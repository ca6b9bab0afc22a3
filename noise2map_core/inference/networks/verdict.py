"""What is decided of a tile, on the device that it was predicted on: few bytes come back from it.

The same as `inference.decision` decides of arrays, to the byte on a CPU.
"""

import torch
from torch import Tensor

from noise2map_core.detectors.spec import MapTask
from noise2map_core.detectors.transitions import kind_numbers
from noise2map_core.inference.decision import TOLERANCE, Verdict, is_change
from noise2map_core.mapping.mosaic import PROBABILITY_SCALE
from noise2map_core.mapping.recut import stored_cut


def verdict_of(probability: Tensor, task: MapTask) -> Verdict:
    """The class of each pixel, and the probability that is stored of it, on the host.

    `probability` [class, height, width]; two classes are cut from what is stored.
    """
    if len(task.classes) == 2:
        second = _rounded(probability[1])
        sure = second >= stored_cut(task.decided_from)
        told = second if is_change(task) else torch.where(sure, second, PROBABILITY_SCALE - second)
        return _fetched(sure, told)
    classes = _decided(probability, task)
    taken = probability.gather(0, classes[None])[0]
    return _fetched(classes, _rounded(probability[1] if is_change(task) else taken))


def verdict_of_change(changed: Tensor, direction: Tensor, task: MapTask) -> Verdict:
    """As `verdict_of`, of two maps compared: `changed` [height, width] is the probability of
    change, `direction` its kind."""
    second = _rounded(changed)
    return _fetched(torch.where(second >= stored_cut(task.decided_from), direction, 0), second)


def compared(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of change and its kind, each [height, width], from the probabilities [class,
    height, width] of two dates; see `detectors.transitions.compare`."""
    gain = after - before
    total = gain[0].abs()
    for one in gain[1:]:
        total += one.abs()
    numbers = torch.from_numpy(kind_numbers(len(gain))).to(gain.device)
    kinds = numbers[first_highest(-gain), first_highest(gain)]
    return (total / 2).clamp(max=1), kinds


def in_stored_units(probability: Tensor) -> Tensor:
    """As the mosaic stores them, uint16."""
    return _rounded(probability).to(torch.uint16)


def first_highest(layers: Tensor) -> Tensor:
    """The number of the highest of layers [layer, height, width], of equal ones the first.

    Layer by layer: on a CPU a fifth of what `argmax` over the first axis takes.
    """
    highest, number = layers[0].clone(), torch.zeros_like(layers[0], dtype=torch.int64)
    for index, layer in enumerate(layers[1:], start=1):
        number.masked_fill_(layer > highest, index)
        torch.maximum(highest, layer, out=highest)
    return number


def _decided(probability: Tensor, task: MapTask) -> Tensor:
    """As `decision.decide_classes`."""
    values = {entry.name: entry.value for entry in task.classes}
    others = [values[name] for name in values if name not in task.threshold]
    numbers = torch.tensor(others, device=probability.device)
    classes = numbers[first_highest(probability[others])]
    for name, threshold in reversed(task.threshold.items()):
        classes.masked_fill_(probability[values[name]] >= threshold - TOLERANCE, values[name])
    return classes


def _rounded(probability: Tensor) -> Tensor:
    """In the units of the mosaic, still float32, which holds them exactly."""
    return (probability * PROBABILITY_SCALE).round_()


def _fetched(classes: Tensor, stored: Tensor) -> Verdict:
    return Verdict(classes.to(torch.uint8).cpu().numpy(), stored.to(torch.uint16).cpu().numpy())
