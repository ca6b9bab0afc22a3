"""What compiled networks are for, and where they are kept; nothing here needs torch."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from noise2map_core.inference.numeric_path import NumericPath, machine_name
from noise2map_core.models.shipped import SHIPPED
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import is_local, is_web
from noise2map_core.settings.network import Task

FOLDER = ".compiled"
"""In a checkpoint, what was compiled of it. Can be deleted at any time."""
MAKERS = ("diffusers", "openvino", "torch")
"""Packages whose versions decide what is compiled."""
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Form:
    """A network of a checkpoint as it is compiled: at one timestep, for batches of one shape."""

    model: str
    """Digest of spec and weights."""
    task: Task
    timestep: int
    chip_px: int
    batch: int
    dtype: str
    threads: int

    @property
    def file_name(self) -> str:
        """Of what is compiled by these versions for this machine's processor."""
        made_by = {name: version(name) for name in MAKERS}
        return digest_of([asdict(self), made_by, machine_name()]) + ".blob"


def forms(
    spec: CheckpointSpec, task: Task, timesteps: Iterable[int], path: NumericPath
) -> list[Form]:
    """What a map needs, a form for each timestep."""
    return [
        Form(spec.digest, task, t, spec.chip_px, path.batch, path.dtype, path.threads)
        for t in dict.fromkeys(timesteps)
    ]


def places(checkpoint: Path) -> list[Path]:
    """Folders for what is compiled of a checkpoint, the first that can be written is taken.

    Not within the package, which is not ours to change where it is installed.
    """
    beside = is_local(checkpoint) and not is_web(checkpoint) and SHIPPED not in checkpoint.parents
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [*([checkpoint / FOLDER] if beside else []), Path(cache) / "noise2map" / "compiled"]


def kept(form: Form, checkpoint: Path) -> bytes | None:
    """What was compiled before; None if there is nothing, or not what was written."""
    for place in places(checkpoint):
        try:
            content = (place / form.file_name).read_bytes()
        except OSError:  # not there, or not for us to read: it is made anew
            continue
        digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(body).digest() == digest:
            return body
    return None


def keep(form: Form, checkpoint: Path, body: bytes) -> str | None:
    """Keep what was compiled, whole or not at all; if not beside the checkpoint, a sentence says
    where, or why nowhere."""
    refused: list[str] = []
    for place in places(checkpoint):
        try:
            place.mkdir(parents=True, exist_ok=True)
            with whole_file(place / form.file_name) as partial:
                partial.write_bytes(hashlib.sha256(body).digest() + body)
        except (OSError, OutputError) as error:
            refused.append(f"{place} cannot be written ({_said(error)})")
            continue
        return f"{refused[0]}; compiled networks are kept in {place}" if refused else None
    return (
        f"{'; '.join(refused)}. Compiled networks are not kept, and every predictor makes its "
        "own: set XDG_CACHE_HOME to a folder that can be written."
    )


def _said(error: OSError | OutputError) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return " ".join(str(error).split())
