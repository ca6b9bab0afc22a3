"""Noise2Map: raw numbers in, logits out, in one forward pass (Shibli et al., TGRS 2026)."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from noise2map_core.diffusion.corruption import corrupt, fixed_epsilon, needs_epsilon, noise_of
from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.models.alteration import (
    HIDDEN,
    Pixelwise,
    altered,
    in_z_scores,
    ranked,
    reversed_dates,
)
from noise2map_core.models.baselines import SegmentationModels
from noise2map_core.models.difference import DifferenceUNet
from noise2map_core.models.rivals.network import Rival
from noise2map_core.models.spec import (
    NUM_TRACES,
    CheckpointSpec,
    PatchUNetSpec,
    PixelwiseSpec,
    ReferenceSpec,
    RivalSpec,
    SegmentationModelSpec,
    TaskSpec,
    note_size,
)
from noise2map_core.models.unet import PatchUNet, ReferenceNetwork, TaskShape
from noise2map_core.settings.diffusion import NoCorruption
from noise2map_core.settings.network import Task


@dataclass(frozen=True)
class TaskInput:
    """A batch of one task, ready for the network."""

    x_0: Tensor
    """float32 [B, date·band, H, W], normalised; 0 where invalid."""
    valid: Tensor
    """bool [B, 1, H, W], True = observed at every date."""
    timesteps: Tensor
    """int64 [B]."""
    epsilon: Tensor | None = None
    """Standard normal, broadcasts to `x_0`; needed where the noise has a Gaussian part."""
    keep: Tensor | None = None
    """bool [B], training only: where False, pixels are judged without context; of a network that
    has none, [B, layer·width], which hidden features may be used. None: all kept."""
    alteration: Tensor | None = None
    """float32 [B, variate, date·band + 1]: matrix and offset of the MAD variates of `x_0`; needed
    where the network sees these."""

    def part(self, index: int, parts: int) -> "TaskInput":
        """Every `parts`-th chip from `index` on."""
        mine = slice(index, None, parts)
        return TaskInput(
            self.x_0[mine],
            self.valid[mine],
            self.timesteps[mine],
            None if self.epsilon is None else self.epsilon[mine],
            None if self.keep is None else self.keep[mine],
            None if self.alteration is None else self.alteration[mine],
        )


class _TaskConstants(nn.Module):
    """What the spec says about a task, as tensors. Not weights: kept out of the state dict."""

    alpha_bars: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, task: TaskSpec) -> None:
        super().__init__()
        self.register_buffer("alpha_bars", schedule_alpha_bars(task.schedule), persistent=False)
        for name, values in (("mean", task.normalisation.mean), ("std", task.normalisation.std)):
            constant = torch.tensor(values, dtype=torch.float32).flatten()[:, None, None]
            self.register_buffer(name, constant, persistent=False)
        self.by_scene = task.normalisation.of == "scene"

    def light(self, scenes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and std [B or nothing, date·band, 1, 1]; of `scenes` [B, 2, date·band], where they
        are known and asked for."""
        if scenes is None or not self.by_scene:
            return self.mean, self.std
        mean, std = scenes.to(self.mean)[..., None, None].unbind(dim=1)
        known = torch.isfinite(mean) & torch.isfinite(std)
        return torch.where(known, mean, self.mean), torch.where(known, std, self.std)


class Noise2Map(nn.Module):
    """A diffusion UNet that maps a corrupted image, or pair, straight to class logits.

    Channels are ordered by date, then band: all bands of the first date, then of the next.
    """

    def __init__(self, spec: CheckpointSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network = build_network(spec)
        self.constants = nn.ModuleDict(
            {name: _TaskConstants(task) for name, task in spec.tasks.items()}
        )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device

    @property
    def kept_each(self) -> tuple[int, ...]:
        """Shape of what training may keep from the network for a chip; see `TaskInput.keep`."""
        network = self.spec.network
        return (HIDDEN * network.width,) if isinstance(network, PixelwiseSpec) else ()

    def alpha_bars(self, task: Task | None = None) -> Tensor:
        """ᾱ of a task's schedule, float64 [T]."""
        return self._constants(self.spec.task_name(task)).alpha_bars

    def logits(
        self,
        image: Tensor,
        timestep: int,
        valid: Tensor | None = None,
        task: Task | None = None,
        *,
        light: Tensor | None = None,
        alteration: Tensor | None = None,
        reverse_dates: bool = False,
    ) -> Tensor:
        """Class logits, float32 [B, K, H, W], of raw numbers [B, date·band, H, W].

        `valid` bool [B, date, H, W], True = observed; None: all. `task` None: the only one. H and W
        must be multiples of `spec.network.stride`. `light` is as in `normalise`, `alteration` as in
        `alteration_of`. `reverse_dates` shows the network the dates in the other order, each
        normalised as itself. Blending, temperature and threshold are the caller's. Raises
        CheckpointError if the model does not know the task.
        """
        name = self.spec.task_name(task)
        x_0 = self.normalise(image, valid, name, light)
        variates = self.alteration_of(alteration, len(image), name, light)
        observed = _observed(image, valid)
        return self.judged(self.shown(x_0, observed, timestep, name, variates, reverse_dates),
                           timestep, name)  # fmt: skip

    def shown(
        self,
        x_0: Tensor,
        observed: Tensor,
        timestep: int,
        task: Task,
        variates: Tensor | None = None,
        reverse_dates: bool = False,
    ) -> Tensor:
        """What the network gets at a timestep, float32 [B, C, H, W], of normalised images.

        `x_0` is as `normalise` gives it, `variates` as `alteration_of`; `observed` bool
        [B, 1, H, W], True = at every date. `reverse_dates` is as in `logits`.
        """
        if reverse_dates:
            dates = self.spec.tasks[task].num_dates
            x_0 = torch.cat(list(x_0.chunk(dates, dim=1))[::-1], dim=1)
            variates = None if variates is None else reversed_dates(variates, dates)
        batch = TaskInput(
            x_0=x_0,
            valid=observed,
            timesteps=torch.full((len(x_0),), timestep, device=x_0.device),
            epsilon=self._fixed_epsilon(x_0, task),
            alteration=variates,
        )
        return self._seen(batch, task)

    def shows_pixels_alone(self, task: Task) -> bool:
        """True if what is `shown` of a pixel depends on nothing else: a whole image may be shown at
        once, and cut up afterwards, with the same bits."""
        noise = needs_epsilon(self.spec.tasks[task].corruption)
        return not (noise or self.spec.sees_alteration(task))

    def judged(self, x_t: Tensor, timestep: int, task: Task) -> Tensor:
        """Class logits, float32 [B, K, H, W], of what the network is shown."""
        timesteps = torch.full((len(x_t),), timestep, device=x_t.device)
        logits: Tensor = self.network(task, x_t, timesteps, None)
        return logits.float()

    def logits_over(
        self,
        image: Tensor,
        timesteps: Sequence[int],
        valid: Tensor | None = None,
        task: Task | None = None,
        *,
        light: Tensor | None = None,
        alteration: Tensor | None = None,
        reverse_dates: bool = False,
    ) -> Tensor:
        """Class logits at each of several timesteps, float32 [timestep, B, K, H, W].

        Their mean is the prediction, their spread says how much it depends on the timestep.
        """
        return torch.stack(
            [
                self.logits(
                    image, t, valid, task,
                    light=light, alteration=alteration, reverse_dates=reverse_dates,
                )
                for t in timesteps
            ]
        )  # fmt: skip

    def normalise(
        self,
        image: Tensor,
        valid: Tensor | None = None,
        task: Task | None = None,
        light: Tensor | None = None,
    ) -> Tensor:
        """z-scores, float32 [B, date·band, H, W]; 0 at every date where any date is invalid.

        `light` [B, 2, date·band] are centre and spread of each image's scenes, NaN where unknown;
        used by a task that is normalised by scene.
        """
        mean, std = self._constants(self.spec.task_name(task)).light(light)
        normalised = (image.to(torch.float32) - mean).div_(std)
        # Filled, not multiplied: what lies under an invalid pixel may be NaN.
        return normalised.masked_fill_(~_observed(image, valid), 0.0)

    def alteration_of(
        self, alteration: Tensor | None, count: int, task: Task, light: Tensor | None = None
    ) -> Tensor | None:
        """What is noted of their pairs [B, variate + 1, number], for `count` normalised images.

        `alteration` [B or 1, variate + 1, number] is that for raw numbers, as `note_size` and
        `learning.alteration` have it, NaN where unknown; None: all unknown. None for a task that
        sees no variates.
        """
        if not self.spec.sees_alteration(task):
            return None
        bands = len(self.spec.bands)
        if alteration is None:
            alteration = torch.full((1, *note_size(bands)), torch.nan)
        known = alteration.to(self.device, torch.float32).expand(count, -1, -1)
        return in_z_scores(known, *self._constants(task).light(light))

    def forward(self, batches: Mapping[Task, TaskInput]) -> dict[Task, Tensor]:
        """Logits [B, K, H, W] of a batch of each task.

        All tasks of a training step go through one call, so that gradients of the shared backbone
        are averaged over workers once.
        """
        return {
            name: self.network(name, self._seen(batch, name), batch.timesteps, batch.keep)
            for name, batch in batches.items()
        }

    def _seen(self, batch: TaskInput, task: Task) -> Tensor:
        """What the network gets of a batch: x_t, or sizes of its MAD variates, or their ranks."""
        x_t = self.corrupt(batch, task)
        if not self.spec.sees_alteration(task):
            return x_t
        assert batch.alteration is not None
        if self.spec.fusion == "ranks":
            seen = ranked(x_t, batch.alteration, batch.valid)
        else:
            seen = altered(x_t, batch.alteration)
        return torch.where(batch.valid, seen, 0.0)

    def corrupt(self, batch: TaskInput, task: Task) -> Tensor:
        """x_t of a batch, float32 [B, date·band, H, W]."""
        spec = self.spec.tasks[task]
        if isinstance(spec.corruption, NoCorruption):
            return batch.x_0
        noise = noise_of(spec.corruption, batch.x_0, spec.num_dates, batch.epsilon)
        # Noise that is made of the image is 0 where that is.
        valid = batch.valid if needs_epsilon(spec.corruption) else None
        return corrupt(batch.x_0, noise, self.alpha_bars(task)[batch.timesteps], valid)

    def _fixed_epsilon(self, x_0: Tensor, task: Task) -> Tensor | None:
        if not needs_epsilon(self.spec.tasks[task].corruption):
            return None
        return fixed_epsilon(*x_0.shape[1:]).to(x_0.device)

    def _constants(self, task: Task) -> _TaskConstants:
        constants = self.constants[task]
        assert isinstance(constants, _TaskConstants)
        return constants


def at_timestep(
    model: Noise2Map, timestep: int, dtype: torch.dtype, *, graphs: bool = False
) -> Noise2Map:
    """`model` for inference at `timestep` alone: faster, with its UNet computing in `dtype`.

    Equal to the model up to rounding. Tasks, spec and constants are shared with it. `graphs`
    compiles it at its first batch, for batches of that shape, and replays it as a CUDA graph.
    """
    # It imports diffusers: seconds, which those spare who build no network.
    from noise2map_core.models.fixed_time import accelerate

    fixed = copy.copy(model)
    fixed._modules = dict(model._modules)
    fixed.network = accelerate(model.network, timestep, dtype)
    if graphs:
        fixed.network = _Replayed(fixed.network)
    return fixed.eval()


class _Replayed(nn.Module):
    """A network as a CUDA graph for the shape of its first batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = torch.compile(network, mode="reduce-overhead", fullgraph=True, dynamic=False)

    def forward(self, *inputs: Any) -> Tensor:
        # The next replay writes into the same memory.
        logits: Tensor = self.network(*inputs).clone()
        return logits


def build_network(spec: CheckpointSpec) -> nn.Module:
    """The network of a spec, with random weights."""
    shapes = {
        name: TaskShape(task.num_dates, len(spec.bands), len(task.classes))
        for name, task in spec.tasks.items()
    }
    match spec.network:
        case PatchUNetSpec(fusion="difference"):
            return DifferenceUNet(spec.network, shapes)
        case PatchUNetSpec(fusion="alteration"):
            return PatchUNet(spec.network, {name: _altered(one) for name, one in shapes.items()})
        case PatchUNetSpec(fusion="ranks"):
            ranks = {name: _altered(one, NUM_TRACES) for name, one in shapes.items()}
            return PatchUNet(spec.network, ranks)
        case PatchUNetSpec():
            return PatchUNet(spec.network, shapes)
        case ReferenceSpec():
            return ReferenceNetwork(spec.network, shapes)
        case SegmentationModelSpec():
            return SegmentationModels(spec.network, shapes)
        case PixelwiseSpec():
            return Pixelwise(spec.network, shapes)
        case RivalSpec():
            return Rival(spec.network, shapes)


def _altered(shape: TaskShape, traces: int = 1) -> TaskShape:
    """Of a pair, traces of its variates and of all of them take the place of bands and dates."""
    if shape.num_dates == 1:
        return shape
    return TaskShape(1, traces * (shape.num_bands + 1), shape.num_classes)


def _observed(image: Tensor, valid: Tensor | None) -> Tensor:
    """bool [B, 1, H, W], True = observed at every date."""
    if valid is None:
        return torch.ones_like(image[:, :1], dtype=torch.bool)
    return valid.all(dim=1, keepdim=True)


def count_parameters(model: Any) -> int:
    """Numbers that training can change."""
    return sum(parameter.numel() for parameter in model.parameters())
