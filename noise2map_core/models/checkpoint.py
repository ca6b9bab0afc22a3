"""Checkpoint directories: weights, spec and model card, saved whole and verified when loaded."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from noise2map_core.errors import CheckpointError
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import (
    CARD_NAME,
    SPEC_NAME,
    WEIGHTS_NAME,
    CheckpointSpec,
    read_spec,
    read_weights,
)
from noise2map_core.storage import is_local, location, publish


def save_checkpoint(
    model: Noise2Map, spec: CheckpointSpec, path: Path | str, card: str
) -> CheckpointSpec:
    """Write model.safetensors, model.json and README.md (`card`) as directory `path`.

    The directory appears whole or not at all; one that is there is replaced. On object storage
    model.json comes last, with the digest of the weights: who reads meanwhile is refused, or finds
    the old checkpoint or the new one, and never parts of both. Returns the spec as written.

    Raises CheckpointError for weights that are not finite, before anything is written.
    """
    path = location(path)
    require_finite(path, model.state_dict())
    weights = save({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()})
    spec = spec.model_copy(update={"weights_sha256": hashlib.sha256(weights).hexdigest()})
    with whole_directory(path, last=SPEC_NAME) as partial:
        (partial / WEIGHTS_NAME).write_bytes(weights)
        (partial / SPEC_NAME).write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (partial / CARD_NAME).write_text(card, encoding="utf-8")
    return spec


def require_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for weights, of the checkpoint at `path`, that are not finite."""
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"checkpoint {path}: {name} holds NaN or infinity. Training diverged; train again "
                "with a lower learning rate."
            )


@contextmanager
def whole_directory(path: Path, last: str) -> Iterator[Path]:
    """A temporary directory that takes the place of `path` if the body succeeds.

    On object storage its files come one by one, `last` at the end.
    """
    if not is_local(path):
        with TemporaryDirectory(prefix="noise2map-") as folder:
            partial = Path(folder) / path.name
            partial.mkdir()
            yield partial
            publish(partial, path, last)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            old = path.with_name(f".{path.name}.{uuid4().hex}.old")
            path.rename(old)
            partial.rename(path)
            shutil.rmtree(old)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_checkpoint(path: Path | str) -> Noise2Map:
    """The model in a checkpoint directory, local or at s3://, or of the name of one that ships.

    It is on the CPU, in evaluation mode.

    Raises CheckpointError if a file is missing or unreadable, the weights are not those that
    model.json names, do not fit the network, or are not finite.
    """
    path = checkpoint_folder(path)
    spec = read_spec(path)
    model = Noise2Map(spec)
    weights = _read_weights(path, spec)
    _require_keys(path, weights, model.state_dict())
    require_finite(path, weights)
    model.load_state_dict(weights)
    return model.eval()


def _read_weights(path: Path, spec: CheckpointSpec) -> dict[str, Tensor]:
    content = read_weights(path, spec)
    try:
        return load(content)
    except SafetensorError as error:
        raise CheckpointError(
            f"checkpoint {path}: {WEIGHTS_NAME} is not a safetensors file: {error}. Train again."
        ) from error


def _require_keys(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    misshapen = [n for n in found if n in expected and found[n].shape != expected[n].shape]
    for what, names in (("lacks", missing), ("has unknown", extra), ("has misshapen", misshapen)):
        if names:
            raise CheckpointError(
                f"checkpoint {path}: {WEIGHTS_NAME} {what} {names[0]}"
                f"{f' and {len(names) - 1} more' if len(names) > 1 else ''}. The weights belong to "
                "another network; restore the directory that was saved together."
            )
