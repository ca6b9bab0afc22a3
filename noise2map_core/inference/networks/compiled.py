"""Networks compiled by OpenVINO: exported at one timestep, for batches of one shape."""

import copy
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noise2map_core.inference.engine import Form, forms, keep, kept
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.models.noise2map import Noise2Map, at_timestep
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.runtime.progress import tell
from noise2map_core.settings.network import Task

ALIKE = {"float32": 1e-3, "bfloat16": 0.02}
"""How far logits may be from the network's own in float32, as a share of the largest. OpenVINO
computes all of a network in bfloat16, which some networks do not bear."""
EXAMPLES = 2
"""Chips of a batch that are traced and compared."""


class ExportError(Exception):
    """A network that cannot be exported, or computes something else when it is."""


def networks_at(
    model: Noise2Map,
    path: NumericPath,
    task: Task,
    timesteps: Iterable[int],
    checkpoint: Path | None = None,
) -> dict[int, Noise2Map]:
    """`model` for inference at each timestep, on `path`. Of one that is compiled, `checkpoint` is
    where it is from and what was compiled is looked for; None: nowhere, of a model in memory.

    Raises CheckpointError for a network that cannot be exported; `settled` finds out before.
    """
    if not path.engine:
        dtype = getattr(torch, path.dtype)
        return {t: at_timestep(model, t, dtype, graphs=path.graphs) for t in timesteps}
    try:
        return {
            form.timestep: _given(model, _CompiledNetwork(_blob(model, form, checkpoint), form))
            for form in forms(model.spec, task, timesteps, path)
        }
    except ExportError as error:
        raise CheckpointError(
            f"the network cannot be computed by {path.engine}: {error}. Set inference.engine torch."
        ) from error


def settled(
    path: NumericPath,
    spec: CheckpointSpec,
    task: Task,
    timesteps: Iterable[int],
    load: Callable[[], Noise2Map],
    checkpoint: Path | None = None,
) -> NumericPath:
    """`path`, or that of torch for a network that cannot be exported, with a warning. What workers
    will need is compiled afterwards, and kept for them."""
    wanted = [
        form
        for form in forms(spec, task, timesteps, path)
        if checkpoint is None or kept(form, checkpoint) is None
    ]
    try:
        model = load().eval() if wanted else None
        said = {_made(model, form, checkpoint)[1] for form in wanted if model is not None}
    except ExportError as error:
        tell(f"warning: the network cannot be computed by {path.engine}, but is by torch: {error}")
        return replace(path, engine="")
    for sentence in said - {None}:
        tell(f"warning: {sentence}")
    return path


def _blob(model: Noise2Map, form: Form, checkpoint: Path | None) -> bytes:
    known = None if checkpoint is None else kept(form, checkpoint)
    return known or _made(model, form, checkpoint)[0]


def _made(model: Noise2Map, form: Form, checkpoint: Path | None) -> tuple[bytes, str | None]:
    """A network compiled, and what is to be said of where it is kept."""
    body = export(model, form)
    return body, None if checkpoint is None else keep(form, checkpoint, body)


@torch.no_grad()
def export(model: Noise2Map, form: Form) -> bytes:
    """The network of `model` compiled for this processor.

    Raises ExportError if that is not possible, or gives other logits than the network, and
    ConfigError if the processor has no such numbers.
    """
    core = _core()
    if form.dtype == "bfloat16" and "BF16" not in _capabilities(core):
        raise ConfigError(
            "inference.precision bf16 is not what this processor computes in by OpenVINO. "
            "Set it to fp32, or inference.engine to torch."
        )
    return _exported(model.network, _chips(model, form), form)


def compiled_alone(network: nn.Module, chips: Tensor, form: Form) -> nn.Module:
    """A network by itself compiled for batches like `chips`, in its place; for measurements."""
    return _CompiledNetwork(_exported(network, chips, form), form)


@torch.no_grad()
def _exported(network: nn.Module, chips: Tensor, form: Form) -> bytes:
    alone = _Alone(network, form).eval()
    compiled = _core().compile_model(_converted(alone, chips), "CPU", _settings(form))
    _require_alike(compiled, alone, chips, form)
    body: bytes = compiled.export_model().getvalue()
    return body


class _Alone(nn.Module):
    """A network of which all but the image is settled."""

    def __init__(self, network: nn.Module, form: Form) -> None:
        super().__init__()
        self.network, self.task, self.timestep = network, form.task, form.timestep

    def forward(self, x: Tensor) -> Tensor:
        timesteps = torch.full((x.shape[0],), self.timestep)
        logits: Tensor = self.network(self.task, x, timesteps, None)
        return logits.float()


class _CompiledNetwork(nn.Module):
    """In place of a network, for the task, timestep and shape that it was compiled for."""

    def __init__(self, blob: bytes, form: Form) -> None:
        super().__init__()
        core = _core()
        compiled = core.import_model(io.BytesIO(blob), "CPU", _settings(form))
        self._request = compiled.create_infer_request()
        # A model asks its parameters where it is.
        self.here = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, task: Task, x: Tensor, timesteps: Tensor, keep: Tensor | None) -> Tensor:
        said = self._request.infer([x.contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(said[0])


def _given(model: Noise2Map, network: nn.Module) -> Noise2Map:
    given = copy.copy(model)
    given._modules = dict(model._modules)
    given.network = network
    return given.eval()


def _chips(model: Noise2Map, form: Form) -> Tensor:
    """A batch of noise, as large as what the network is shown, float32 [B, C, H, W]."""
    numbers = model.spec.tasks[form.task].num_dates * len(model.spec.bands)
    x_0 = torch.zeros(1, numbers, form.chip_px, form.chip_px)
    variates = model.alteration_of(None, 1, form.task)
    observed = torch.ones_like(x_0[:, :1], dtype=torch.bool)
    shown = model.shown(x_0, observed, form.timestep, form.task, variates)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(form.batch, *shown.shape[1:], generator=generator)


def _converted(alone: _Alone, chips: Tensor) -> Any:
    # An optional extra; `_core` has seen to it.
    import openvino
    from openvino.frontend import GeneralFailure, OpConversionFailure
    from openvino.tools.ovc.error import Error

    refusals = (Error, GeneralFailure, OpConversionFailure, RuntimeError, ValueError, TypeError)
    log, level = logging.getLogger("openvino"), logging.getLogger("openvino").level
    try:
        with warnings.catch_warnings():
            # The tracer warns of every assertion in a network; what it made is compared.
            warnings.simplefilter("ignore")
            log.setLevel(logging.ERROR)
            return openvino.convert_model(
                alone, example_input=chips[:EXAMPLES], input=[tuple(chips.shape)]
            )
    except refusals as error:
        raise ExportError(" ".join(str(error).split())[-200:]) from error
    finally:
        log.setLevel(level)


def _require_alike(compiled: Any, alone: _Alone, chips: Tensor, form: Form) -> None:
    """The compiled network says of first and last chip what the network itself says."""
    some = [0, len(chips) - 1]
    exact = alone(chips[some])
    said = torch.from_numpy(compiled.create_infer_request().infer([chips.numpy()])[0])
    off, size = float((said[some] - exact).abs().max()), float(exact.abs().max())
    if not off <= ALIKE[form.dtype] * size:  # NaN included
        raise ExportError(f"its logits are {off:.3g} off, of {size:.3g}")


def _settings(form: Form) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if form.dtype == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": form.threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # predictors would all take the first core
    }


def _capabilities(core: Any) -> list[str]:
    found: list[str] = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def _core() -> Any:
    # Importing OpenVINO tells its vendor so, where this package is found.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino  # an optional extra
    except ImportError as error:
        raise ConfigError(
            f"inference.engine openvino cannot be loaded on this machine: {error}. Install it "
            "there (pip install 'noise2map[openvino]'), or set inference.engine to torch."
        ) from error
    return openvino.Core()
