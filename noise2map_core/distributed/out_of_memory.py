"""Running out of memory within a tile: told apart from other failures, tried once more, named."""

import gc
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from noise2map_core.runtime.errors import BatchMemoryError, TileMemoryError

T = TypeVar("T")

_TOLD = re.compile(
    r"out of memory|not enough memory|can(no|')t allocate memory|ALLOC_FAILED", re.IGNORECASE
)
"""What torch, cuDNN and cuBLAS say in their RuntimeErrors."""


def is_out_of_memory(error: BaseException) -> bool:
    """True for an allocation that failed, on a GPU or off it."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_TOLD.search(str(error)))


def within_memory(predict: Callable[[], T], batch: int) -> T:
    """What `predict` returns; once more, with all memory given back first, if it runs out of it.

    The same batch again: a smaller one moves the last bits of a map, and is for the whole map to
    have. Raises BatchMemoryError where that may help, TileMemoryError with what else can be done.
    """
    for _ in range(2):
        try:
            return predict()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason, of_gpu = " ".join(str(error).split()) or "no memory", _is_of_gpu(error)
        _give_back()  # here, where the error and the tensors that it holds are gone
    told = f"out of {'GPU' if of_gpu else 'main'} memory with batches of {batch} ({reason[:200]})"
    if of_gpu and batch > 1:
        raise BatchMemoryError(told)
    raise TileMemoryError(
        f"{told}. Lower inference.batch (all tiles are predicted anew then: it is part of what a "
        "map is), resources.predictors, or let nothing else use that memory."
    )


def _is_of_gpu(error: BaseException) -> bool:
    """True of what torch says of a GPU's memory, by name: a detector has not even imported it."""
    return type(error).__name__ == "OutOfMemoryError" or "ALLOC_FAILED" in str(error)


def _give_back() -> None:
    gc.collect()
    if cuda := _cuda():
        cuda.empty_cache()


def _cuda() -> Any:
    """torch's CUDA, if it is in use: a detector has not even imported torch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
