"""The numeric path: all that moves the last bits of a logit, resolved once by the driver."""

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from noise2map_core.inference.config import InferenceConfig


@dataclass(frozen=True, slots=True)
class NumericPath:
    """How logits are computed. Maps are identical to the bit for one path on one processor."""

    device: str
    """"cpu" or "cuda"."""
    processor: str
    """Model of the driver's processor."""
    dtype: str
    batch: int
    threads: int
    torch: str
    """Version of torch."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for keys and manifests."""
        return asdict(self)

    def apply(self) -> None:
        """Set this process to compute on this path."""
        import torch

        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def resolve_numeric_path(config: InferenceConfig, gpus: float) -> NumericPath:
    """The path of a run; `gpus` is what each predictor holds."""
    device = config.device
    if device == "auto":
        device = "cuda" if gpus > 0 else "cpu"
    return NumericPath(
        device=device,
        processor=_processor(),
        dtype="float32",
        batch=config.batch,
        threads=config.threads,
        torch=version("torch"),
    )


def _processor() -> str:
    """The processor's model name; Linux tells it in /proc/cpuinfo only."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
