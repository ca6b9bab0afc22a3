"""Files of weights (safetensors), read whole and looked through without torch."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from noise2map_core.runtime.documents import read_file
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.runtime.storage import is_local

MAX_WEIGHTS = 16 << 30
"""Bytes; the largest preset has half a gigabyte."""
LENGTH_BYTES = 8
"""Before the header, and of its own length."""
METADATA = "__metadata__"
"""Key of a header that is no tensor."""
MEASURED = ("running_mean", "running_var", "num_batches_tracked")
"""What normalisation layers keep besides weights."""
COPY_AGAIN = "Copy the whole directory again"

_EXPONENTS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF0000000000000), "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80),
}  # fmt: skip
"""How a float is stored, and the bits that are all set in NaN and infinity."""


def read_weight_file(file: Path, whose: str, sha256: str | None, document: str = "") -> bytes:
    """The bytes of a safetensors file.

    Raises CheckpointError, which begins with `whose`, if it cannot be read, is not the file that
    `document` names by its `sha256` (None: none does), is no safetensors, or holds a number that is
    not finite.
    """
    try:
        _require_header(file)
        content = read_file(file, MAX_WEIGHTS)
    except OSError as error:
        raise CheckpointError(
            f"{whose}: {file.name} cannot be read as safetensors: {error.strerror or error}. "
            f"{COPY_AGAIN}."
        ) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(
            f"{whose}: {file.name} is not the file that {document} names: its SHA-256 differs. "
            f"{COPY_AGAIN}."
        )
    _require_finite(content, file, whose)
    return content


def count_parameters(file: Path) -> int:
    """The numbers of a safetensors file that were learnt: all but running statistics, which are
    measured. Reads its header alone."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
        header: dict[str, Any] = json.loads(opened.read(length))
    return sum(
        math.prod(entry["shape"])
        for name, entry in header.items()
        if name != METADATA and name.rpartition(".")[2] not in MEASURED
    )


def _require_header(file: Path) -> None:
    """Raises OSError for a file whose header is longer than itself: holes, or something else."""
    if not is_local(file) or not file.is_file():
        return  # `read_file` has its own word on that
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
    if not 0 < length <= file.stat().st_size - LENGTH_BYTES:
        raise OSError("it is not a safetensors file")


def _require_finite(content: bytes, file: Path, whose: str) -> None:
    try:
        tensors = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise CheckpointError(
            f"{whose}: {file.name} is not a safetensors file: {error}. {COPY_AGAIN}."
        ) from error
    for name, tensor in tensors:
        if not _is_finite(tensor["data"], tensor["dtype"]):
            raise CheckpointError(
                f"{whose}: {name} holds NaN or infinity. Training diverged; train again with a "
                "lower learning rate, or take other weights."
            )


def _is_finite(data: bytes, dtype: str) -> bool:
    if dtype not in _EXPONENTS:
        return True  # a whole number, or refused where types are compared
    unsigned, exponent = _EXPONENTS[dtype]
    bits: NDArray[Any] = np.frombuffer(data, unsigned)
    return not bool(((bits & unsigned(exponent)) == exponent).any())
