"""The numeric path: all that moves the last bits of a logit, resolved once by the driver."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import ConfigError, OutputError
from noise2map_core.runtime.storage import read_if_there
from noise2map_core.settings.inference import InferenceConfig

BATCH = "batch.json"
"""Which batch fits, of an output whose predictors had no memory for what was asked for."""
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
"""Processors with one of these multiply bfloat16 faster than float32."""


@dataclass(frozen=True, slots=True)
class NumericPath:
    """How logits are computed. Maps are identical to the bit for one path on one processor."""

    device: str
    """"cpu" or "cuda"."""
    processor: str
    """Model of the driver's processor; on GPUs, their type."""
    dtype: str
    """"float32" or "bfloat16": what the UNet computes in; logits are float32."""
    batch: int
    threads: int
    torch: str
    """Version of torch."""
    form: str = "fixed time"
    """How the network is written out: at one timestep, with its constants folded in."""
    graphs: bool = False
    """Whether it is compiled and replayed as a CUDA graph."""
    engine: str = ""
    """What computes it in torch's place, with its version; empty: torch does."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for keys and manifests; those of torch are what they were before there was
        another engine."""
        values = asdict(self)
        return values if self.engine else {k: v for k, v in values.items() if k != "engine"}

    def apply(self) -> None:
        """Set this process to compute on this path."""
        # Workers compute; the driver that resolves a path needs no torch.
        import torch

        # cuBLAS gives the same bits again only with a workspace of fixed size.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(True)
        # Else every new tensor is filled first; nothing here reads what it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False


def resolve_numeric_path(config: InferenceConfig, gpus: float, gpu_type: str = "") -> NumericPath:
    """The path of a run; `gpus` is what each predictor holds, of which type, if that is known."""
    device = config.device
    if device == "auto":
        device = "cuda" if gpus > 0 else "cpu"
    return NumericPath(
        device=device,
        processor=gpu_type if device == "cuda" and gpu_type else processor_name(),
        dtype=_dtype(config, device),
        batch=config.batch,
        threads=config.threads,
        torch=version("torch"),
        graphs=_graphs(config, device),
        engine=_engine(config, device),
    )


def keep_batch(output: Path, asked: int, fits: int) -> None:
    """Note beside an output's ledger the batch that fits where another one was asked for."""
    write_atomically(output / "ledger" / BATCH, json.dumps({"asked": asked, "fits": fits}))


def fitting_batch(output: Path, asked: int) -> int:
    """The batch that an earlier run on an output found to fit in place of `asked`; else `asked`.

    Raises OutputError if the note is damaged.
    """
    note = output / "ledger" / BATCH
    body = read_if_there(note)
    if body is None:
        return asked
    try:
        known = json.loads(body)
        return int(known["fits"]) if known["asked"] == asked else asked
    except (ValueError, LookupError, TypeError) as error:
        raise OutputError(
            f"{note} is damaged: {' '.join(str(error).split())}. Delete it and run the same "
            "command again; the batch that fits is found anew."
        ) from error


def _dtype(config: InferenceConfig, device: str) -> str:
    if config.precision == "auto":
        fast = device == "cuda" or bool(BF16_FLAGS & set(_cpuinfo("flags").split()))
        return "bfloat16" if fast else "float32"
    return "bfloat16" if config.precision == "bf16" else "float32"


def _graphs(config: InferenceConfig, device: str) -> bool:
    if config.graphs == "on" and device != "cuda":
        raise ConfigError(
            "inference.graphs is on, but predictors hold no GPU. Leave it at auto, or set "
            "resources.predictor_gpus."
        )
    return device == "cuda" and config.graphs != "off"


def _engine(config: InferenceConfig, device: str) -> str:
    if config.engine != "openvino":
        return ""
    if device != "cpu":
        raise ConfigError(
            "inference.engine openvino computes on CPUs, but predictors hold GPUs. Leave it at "
            "auto, or set resources.predictor_gpus 0."
        )
    try:
        return f"openvino {version('openvino')}"
    except PackageNotFoundError as error:
        raise ConfigError(
            "inference.engine openvino is not installed. Install it (pip install "
            "'noise2map[openvino]'), or leave inference.engine at auto."
        ) from error


def machine_name() -> str:
    """The processor's model and what instructions it has, of which some models differ."""
    return f"{processor_name()}: {_cpuinfo('flags') or _cpuinfo('Features')}"


def processor_name() -> str:
    """The processor's model name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    """What Linux says of the first processor; empty elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.partition(":")[0].strip() == key:
                return line.partition(":")[2].strip()
    return ""
