"""Speed of the forward pass on this processor, against the bare products of the same network.

Four ways, interleaved round by round, so that other load on the machine meets all of them:
what the reference implementation does (float32, one chip at a time), the same network in the
fast path's dtype, the fast path, and its convolutions and matrix products alone, in the network's
own shapes, weights packed, back to back. Weights are random: they do not change the time.

    python tests/benchmarks/inference_speed.py [--networks reference small tiny] [--quick]

On a GPU (`--device cuda`) the fast path is timed as a CUDA graph, too; on a CPU, beside it in both
precisions, OpenVINO where it is installed (`inference.engine`). CPU time is that of the process.
"""

import copy
import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
import tyro
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from noise2map_core.inference.engine import Form
from noise2map_core.inference.networks.compiled import compiled_alone
from noise2map_core.models.fixed_time import accelerate, inference_dtype
from noise2map_core.models.packed_conv import PackedConv2d
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import PatchUNetSpec, ReferenceSpec
from noise2map_core.models.unet import PatchUNet, ReferenceNetwork, TaskShape
from noise2map_core.runtime.allocator import keep_freed_memory
from noise2map_core.settings.network import Preset, Task

TIMESTEP = 999
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "bf16", "asimd")
PLAIN, CAST, FAST, BARE = "float32, NCHW, one by one", "cast, channels-last", "fast path", "bare"
GRAPH = "fast path, CUDA graph"
FAST_FP32 = "fast path, float32"
OPENVINO = {"float32": "OpenVINO, float32", "bfloat16": "OpenVINO, bfloat16"}


@dataclass(frozen=True)
class Case:
    """A network and how it is fed."""

    preset: Preset
    chip_px: int
    batch: int
    rounds: int

    def build(self) -> nn.Module:
        """The network, for pairs of three bands."""
        spec = network_of(self.preset, self.chip_px)
        shapes: dict[Task, TaskShape] = {"change": TaskShape(2, 3, 2)}
        if isinstance(spec, PatchUNetSpec):
            return PatchUNet(spec, shapes).eval()
        assert isinstance(spec, ReferenceSpec)
        return ReferenceNetwork(spec, shapes).eval()

    def chips(self) -> Tensor:
        """A batch, float32 [B, 6, H, W]."""
        return torch.randn(self.batch, 6, self.chip_px, self.chip_px)


Network = Literal["reference", "small", "tiny"]
CASES: dict[Network, Case] = {
    "reference": Case("reference", chip_px=256, batch=1, rounds=12),
    "small": Case("small", chip_px=128, batch=8, rounds=30),
    "tiny": Case("tiny", chip_px=64, batch=16, rounds=60),
}


def main(
    networks: tuple[Network, ...] = tuple(CASES),
    threads: int = 2,
    device: Literal["cpu", "cuda"] = "cpu",
    quick: bool = False,
) -> None:
    """Print one table.

    Args:
        quick: Three rounds of each.
    """
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    gpu = device == "cuda"
    if gpu:
        torch.set_default_device("cuda")
    print(torch.cuda.get_device_name() if gpu else _processor(threads))
    for name in networks:
        _report(CASES[name], 3 if quick else CASES[name].rounds)


def _report(case: Case, rounds: int) -> None:
    network, chips = case.build(), case.chips()
    dtype = inference_dtype(chips.device)
    cast = copy.deepcopy(network).to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fast = accelerate(network, TIMESTEP, dtype)
    bare = list(_bare_products(network, chips, dtype))
    ways: dict[str, Callable[[], Any]] = {
        PLAIN: lambda: torch.cat([_forward(network, chip) for chip in chips.split(1)]),
        CAST: lambda: _forward(cast, chips.to(dtype, memory_format=torch.channels_last)),
        FAST: lambda: _forward(fast, chips),
        BARE: lambda: [product() for product in bare],
    }
    if chips.is_cuda:
        graph = torch.compile(fast, mode="reduce-overhead", fullgraph=True, dynamic=False)
        ways[GRAPH] = lambda: _forward(graph, chips)
    else:
        ways |= _engines(network, chips, dtype)
    exact = ways[PLAIN]()
    errors = {
        way: float((run().float() - exact).abs().max())
        for way, run in ways.items()
        if way not in (PLAIN, BARE)
    }
    seconds, cpu = _interleaved(ways, rounds)
    size = sum(weight.numel() for weight in network.parameters()) / 1e6
    print(
        f"\n{case.preset}: {size:.1f} M parameters, {case.batch} x {case.chip_px} px, "
        f"fast path in {dtype}, {rounds} rounds, logits within ±{float(exact.abs().max()):.2f}"
    )
    print(
        f"{'':28}{'ms a chip: least':>18}{'median':>9}{'CPU':>9}{'speedup':>9}{'logits off by':>15}"
    )
    for way, times in seconds.items():
        least, middle, busy = (
            1e3 * value / case.batch for value in (min(times), median(times), median(cpu[way]))
        )
        off = f"{errors[way]:15.4f}" if way in errors else ""
        speedup = _ratio(seconds[PLAIN], times)
        print(f"{way:28}{least:18.2f}{middle:9.2f}{busy:9.2f}{speedup:9.2f}{off}")
    for way in seconds.keys() & {FAST, GRAPH}:
        print(
            f"bare / {way}: {_ratio(seconds[BARE], seconds[way]):.3f} in the median round, "
            f"{min(seconds[BARE]) / min(seconds[way]):.3f} by least times (wanted: 0.85)"
        )


def _engines(
    network: nn.Module, chips: Tensor, dtype: torch.dtype
) -> dict[str, Callable[[], Tensor]]:
    """The fast path in float32, and OpenVINO in all that this processor multiplies."""
    ways: dict[str, Callable[[], Tensor]] = {}
    if dtype != torch.float32:
        plain = accelerate(network, TIMESTEP, torch.float32)
        ways[FAST_FP32] = lambda: _forward(plain, chips)
    if find_spec("openvino"):
        for name in dict.fromkeys(["float32", str(dtype).removeprefix("torch.")]):
            form = Form("", "change", TIMESTEP, chips.shape[-1], len(chips), name,
                        torch.get_num_threads())  # fmt: skip
            ways[OPENVINO[name]] = partial(_forward, compiled_alone(network, chips, form), chips)
    return ways


def _forward(network: nn.Module, chips: Tensor) -> Tensor:
    timesteps = torch.full((len(chips),), TIMESTEP)
    logits: Tensor = network("change", chips, timesteps, None)
    return logits


def _interleaved(
    ways: dict[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each way in each round, by the wall and of this process's CPUs, after one round
    that is not counted."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for counted in [False] + [True] * rounds:
        for way, run in ways.items():
            _default_memory() if way in (PLAIN, CAST) else keep_freed_memory()
            # Behind the switch: a first run fills the allocator, for short passes the caches too.
            begin, busy = time.perf_counter(), time.process_time()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if counted:
                seconds[way].append(time.perf_counter() - begin)
                cpu[way].append(time.process_time() - busy)
    return seconds, cpu


def _ratio(times: list[float], others: list[float]) -> float:
    """Median over the rounds of time to other time."""
    return median(time / other for time, other in zip(times, others, strict=True))


def _default_memory() -> None:
    """What glibc's allocator arrives at by itself, undoing `keep_freed_memory`."""
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None)
        for name, value in ((-3, 2**25), (-1, 2**26)):
            libc.mallopt(name, value)


class _Products(TorchDispatchMode):
    """Notes the operands of every convolution and matrix product that passes by."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in ("convolution", "mm", "addmm", "bmm", "baddbmm"):
            self.seen.append((name, args))
        elif "scaled_dot_product" in name:
            query, key, value = (operand.flatten(0, 1) for operand in args[:3])
            weights = query.new_empty(*query.shape[:2], key.shape[1])
            self.seen += [("bmm", (query, key.transpose(1, 2))), ("bmm", (weights, value))]
        return func(*args, **(kwargs or {}))


def _bare_products(
    network: nn.Module, chips: Tensor, dtype: torch.dtype
) -> Iterator[Callable[[], Tensor]]:
    """The products of one forward pass, in `dtype`; operands of one shape are one tensor."""
    with _Products() as products:
        _forward(network, chips)
    operand = cache(lambda shape: torch.randn(shape).to(dtype))
    image = cache(lambda shape: operand(shape).to(memory_format=torch.channels_last))
    for name, args in products.seen:
        if name == "convolution":
            yield partial(_convolution(args, dtype), image(args[0].shape))
        else:
            yield partial(torch.matmul, operand(args[-2].shape), operand(args[-1].shape))


def _convolution(args: tuple[Any, ...], dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    weight, bias, stride, padding = args[1:5]
    weight = weight.to(dtype, memory_format=torch.channels_last)
    return PackedConv2d(weight, bias.to(dtype), stride[0], padding[0])


def _processor(threads: int) -> str:
    """The processor's name and the flags that decide its speed."""
    lines = [
        line.partition(":")
        for line in (
            Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        ).splitlines()
    ]
    facts = {key.strip(): value.strip() for key, _, value in lines}
    flags = facts.get("flags", facts.get("Features", "")).split()
    known = " ".join(flag for flag in FLAGS if flag in flags)
    return f"{facts.get('model name', 'processor')}, {threads} threads: {known}"


if __name__ == "__main__":
    tyro.cli(main)
