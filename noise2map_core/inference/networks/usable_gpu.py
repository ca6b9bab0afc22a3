"""Whether torch can compute on the GPU that a process was given: known before the work begins."""

import torch

from noise2map_core.runtime.errors import ClusterError

WAYS_OUT = (
    "Install a torch that is built for it (https://pytorch.org/get-started/locally/), use nodes of "
    "other GPUs, or set resources.predictor_gpus or training.worker_gpus to 0 to compute on CPUs."
)


def require_usable_gpu() -> None:
    """Raises ClusterError if torch finds no GPU in this process, or has no code for it."""
    if not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        raise ClusterError(
            f"torch {torch.__version__}, built for {built}, cannot use the GPU of this node. "
            f"{WAYS_OUT}"
        )
    major, minor = torch.cuda.get_device_capability()
    codes = torch.cuda.get_arch_list()
    if not any(_runs(code, major, minor) for code in codes):
        raise ClusterError(
            f"torch {torch.__version__} has no code for {torch.cuda.get_device_name()}, of compute "
            f"capability {major}.{minor}, only {', '.join(codes)}. {WAYS_OUT}"
        )


def _runs(code: str, major: int, minor: int) -> bool:
    """True if a GPU of this capability runs `code`: "sm_90" is for its own major and later minors,
    "compute_90" is compiled by the driver for any later GPU."""
    kind, _, number = code.partition("_")
    built = int(number.rstrip("af"))  # sm_90a is for one GPU alone, which is of that number
    if kind == "compute":
        return built <= 10 * major + minor
    return built // 10 == major and built % 10 <= minor
