"""Checkpoints that ship with the package, known by their names: folders in `shipped/`."""

from pathlib import Path, PosixPath
from typing import Any

from noise2map_core.runtime.storage import absolute, is_local, is_web, location

RUN_FILE = "run.json"
"""Beside the checkpoint of a training: what the run was of."""
CHECKPOINT = "checkpoint"
"""Of a training's output, the folder that inference needs."""

SHIPPED = Path(__file__).resolve().parent / "shipped"


class ShippedPath(PosixPath):
    """A path in `SHIPPED`. It is pickled by name: each node's package lies somewhere else."""

    def __reduce__(self) -> tuple[Any, ...]:
        return shipped_path, (self.relative_to(SHIPPED).as_posix(),)


def shipped_path(name: str) -> Path:
    """A checkpoint that ships, or a file of it, where this machine has it."""
    return ShippedPath(SHIPPED / name)


def shipped_names() -> list[str]:
    """Names of the checkpoints that ship."""
    return sorted(spec.parent.name for spec in SHIPPED.glob("*/model.json"))


def checkpoint_folder(place: Path | str) -> Path:
    """The directory that a checkpoint's location means, absolute.

    A directory goes before a checkpoint of that name that ships. The output of a training, which
    says of itself what it is, stands for the checkpoint in it.
    """
    path = location(place)
    if is_local(path) and not path.is_dir() and str(path) in shipped_names():
        return shipped_path(str(path))
    path = absolute(path)
    return path / CHECKPOINT if not is_web(path) and (path / RUN_FILE).exists() else path
