"""A tile that does not fit into memory is tried once more, then named with what can be done."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from noise2map_core.distributed.out_of_memory import is_out_of_memory, within_memory
from noise2map_core.runtime.errors import BatchMemoryError, TileMemoryError

HUGE = 1 << 60

FAILURES: list[Callable[[], object]] = [
    lambda: np.ones(HUGE, np.uint8),
    lambda: torch.ones(HUGE, dtype=torch.uint8),
    lambda: raised(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")),
    lambda: raised(RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling …")),
]


def raised(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("fail", FAILURES, ids=["numpy", "torch", "cuda", "cublas"])
def test_what_does_not_fit_is_tried_once_more_and_then_told_with_a_way_out(
    fail: Callable[[], object], batch: int
) -> None:
    """On a GPU the way out is a smaller batch, if there is one."""
    tries = []

    def predict() -> object:
        tries.append(1)
        return fail()

    smaller = batch > 1 and FAILURES.index(fail) >= 2
    told = rf"batches of {batch} \(.*\)" + ("$" if smaller else r"\. Lower inference\.batch")
    with pytest.raises(TileMemoryError, match=told) as caught:
        within_memory(predict, batch)
    assert len(tries) == 2 and isinstance(caught.value, BatchMemoryError) is smaller


def test_what_fits_at_the_second_try_is_the_result() -> None:
    tries = iter([MemoryError("full"), None])

    def predict() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "made"

    assert within_memory(predict, 16) == "made"


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory")])
def test_other_failures_are_what_they_are(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error), match=str(error)):
        within_memory(lambda: raised(error), 16)
