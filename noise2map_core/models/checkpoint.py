"""Checkpoint directories: weights, spec and model card, saved whole and verified when loaded."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import torch
from safetensors.torch import load, save
from torch import Tensor

from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.models.noise2map import Noise2Map, build_network
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import (
    CARD_NAME,
    SPEC_NAME,
    WEIGHTS_NAME,
    CheckpointSpec,
    read_spec,
    read_weights,
)
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.runtime.storage import PARTIAL, is_local, location, publish
from noise2map_core.settings.diffusion import Schedule


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
    partial = path.with_name(f".{path.name}.{uuid4().hex}{PARTIAL}")
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

    Raises CheckpointError if a file is missing or unreadable, a value of model.json cannot be, the
    weights are not those that model.json names, do not fit the network, or are not finite.
    """
    path = checkpoint_folder(path)
    spec = read_spec(path)
    weights = _fitting_weights(path, spec)
    model = Noise2Map(spec)
    model.load_state_dict(weights)
    return model.eval()


def require_loadable(path: Path | str, spec: CheckpointSpec) -> None:
    """Raise CheckpointError as `load_checkpoint` would, with no network made: before an output is
    begun, and workers that load it are started."""
    _looked_through(str(checkpoint_folder(path)), spec.digest)


@lru_cache(maxsize=8)
def _looked_through(path: str, digest: str) -> None:
    """`digest` is there for the cache: a checkpoint that was replaced is looked through again."""
    folder = checkpoint_folder(path)
    _fitting_weights(folder, read_spec(folder))


def _fitting_weights(path: Path, spec: CheckpointSpec) -> dict[str, Tensor]:
    for name, task in spec.tasks.items():
        require_schedule(f"checkpoint {path}: tasks.{name}", task.schedule)
    weights = load(read_weights(path, spec))
    with torch.device("meta"):
        network = build_network(spec)
    expected = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    require_same_tensors(f"checkpoint {path}: {WEIGHTS_NAME}", weights, expected)
    return weights


def require_schedule(whose: str, schedule: Schedule) -> None:
    """Raise CheckpointError unless what a schedule leaves of an image falls from 1 to 0."""
    alpha_bars = schedule_alpha_bars(schedule)
    falls = bool((alpha_bars.diff() <= 0).all() and alpha_bars[0] <= 1 and alpha_bars[-1] >= 0)
    if not falls:
        raise CheckpointError(
            f"{whose}.schedule is no noise schedule: it does not fall from 1 to 0. Restore "
            f"{SPEC_NAME}, or train again."
        )


def require_same_tensors(
    whose: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    """Raise CheckpointError unless the names, shapes and types are those of `expected`."""
    both = [name for name in found if name in expected]
    for what, names in (
        ("lacks", sorted(expected.keys() - found.keys())),
        ("has unknown", sorted(found.keys() - expected.keys())),
        ("has misshapen", [name for name in both if found[name].shape != expected[name].shape]),
        ("has in another type", [n for n in both if found[n].dtype != expected[n].dtype]),
    ):
        if names:
            raise CheckpointError(
                f"{whose} {what} {names[0]}"
                f"{f' and {len(names) - 1} more' if len(names) > 1 else ''}. The weights belong to "
                "another network; restore the directory that was saved together."
            )
