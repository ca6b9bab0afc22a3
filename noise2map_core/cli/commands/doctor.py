"""Check this machine: GDAL, Ray and its token, bytecode, shared memory, disk, GPU, a catalogue."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path
from typing import Literal

from noise2map_core.runtime.errors import CatalogError, ClusterError, Noise2MapError
from noise2map_core.workflows.tools.doctor import DoctorConfig

DRIVERS = ("GTiff", "COG")
SHARED_MEMORY = Path("/dev/shm")
GIB = 2**30
OLDEST_RAY, FIRST_UNTRIED_RAY = (2, 60), (2, 64)

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    name: str
    status: Status
    found: str
    way_out: str = ""
    """What to do about it; for warnings and failures."""

    def __str__(self) -> str:
        """The line, with the way out beneath."""
        line = f"{self.status:5} {self.name:14} {self.found}"
        return f"{line}\n{'':21}→ {self.way_out}" if self.way_out else line


def run(config: DoctorConfig) -> None:
    """Print the table. Raises Noise2MapError if a check fails; warnings pass."""
    checks = []
    for check in examine(config):
        print(check, flush=True)
        checks.append(check)
    failed = [check.name for check in checks if check.status == "fail"]
    if failed:
        raise Noise2MapError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}.")


def examine(config: DoctorConfig) -> Iterator[Check]:
    """All checks, in turn; a library that cannot be imported is a failed check."""
    machine: list[tuple[str, Callable[[], Check]]] = [
        ("GDAL", check_gdal),
        ("PROJ", check_proj),
        ("Ray", check_ray),
        ("Ray token", check_ray_token),
        ("bytecode", check_bytecode),
        ("shared memory", check_shared_memory),
        ("disk", check_disk),
        ("torch", check_torch),
        ("GPU", check_gpu),
    ]
    for name, check in machine:
        try:
            yield check()
        except ImportError as error:
            yield Check(name, "fail", f"cannot be imported: {error}", "install noise2map again")
    if config.catalog is not None:
        yield check_catalog(config.catalog)


# Each check imports its own library: that one cannot be imported is what it finds.
def check_gdal() -> Check:
    """rasterio's GDAL, and the drivers that read and write maps."""
    # What cannot be imported is what a check finds.
    import rasterio

    with rasterio.Env() as environment:
        missing = [name for name in DRIVERS if name not in environment.drivers()]
    if missing:
        return Check(
            "GDAL", "fail", f"{rasterio.__gdal_version__} lacks {', '.join(missing)}",
            "use rasterio's own wheel: pip install --force-reinstall rasterio",
        )  # fmt: skip
    return Check("GDAL", "ok", f"{rasterio.__gdal_version__}, drivers {', '.join(DRIVERS)}")


def check_proj() -> Check:
    """PROJ's database: one of another version, found through the environment, breaks every map."""
    # What cannot be imported is what a check finds.
    from pyproj import Transformer
    from rasterio.crs import CRS
    from rasterio.errors import CRSError
    from rasterio.warp import transform

    try:
        (x,), _ = transform(CRS.from_epsg(4326), CRS.from_epsg(32633), [15.0], [48.0])
    except CRSError as error:
        return Check("PROJ", "fail", str(error), "unset PROJ_LIB, PROJ_DATA and GDAL_DATA")
    other = Transformer.from_crs(4326, 32633, always_xy=True).transform(15.0, 48.0)[0]
    if abs(x - other) > 0.01:
        return Check("PROJ", "fail", "rasterio and pyproj disagree", "unset PROJ_LIB and PROJ_DATA")
    return Check("PROJ", "ok", "rasterio and pyproj agree")


def check_ray() -> Check:
    """Ray's version against the range that the project is tested with."""
    # What cannot be imported is what a check finds.
    import ray

    address = os.environ.get("RAY_ADDRESS")
    where = f"cluster {address}" if address else "a local cluster is started by each run"
    if OLDEST_RAY <= tuple(map(int, ray.__version__.split(".")[:2])) < FIRST_UNTRIED_RAY:
        return Check("Ray", "ok", f"{ray.__version__}; {where}")
    return Check("Ray", "warn", f"{ray.__version__}; {where}", "tested with Ray 2.60 to 2.63")


def check_ray_token() -> Check:
    """The token that `--submit` and `ray job submit` present to a cluster."""
    mode = os.environ.get("RAY_AUTH_MODE", "")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    source = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(path)
    present = bool(os.environ.get("RAY_AUTH_TOKEN")) or (path.is_file() and path.stat().st_size > 0)
    if mode == "token":
        if present:
            return Check("Ray token", "ok", f"RAY_AUTH_MODE=token, token from {source}")
        return Check(
            "Ray token", "fail", f"RAY_AUTH_MODE=token, but no token in {source}",
            "ray get-auth-token --generate, or copy the cluster's token there",
        )  # fmt: skip
    if mode == "disabled":
        way_out = "unset RAY_AUTH_MODE: anyone who reaches the cluster can run code there"
        return Check("Ray token", "warn", "authentication is off", way_out)
    found = f"token in {source}" if present else "no token yet; the first cluster here makes one"
    return Check("Ray token", "ok", f"{found}; set RAY_AUTH_MODE=token to submit jobs")


def check_bytecode() -> Check:
    """That compiled libraries are kept: else each of Ray's processes compiles them anew."""
    # What cannot be imported is what a check finds.
    import ray

    cached = Path(cache_from_source(ray.__file__))
    if cached.is_file():
        return Check("bytecode", "ok", "libraries are compiled")
    if sys.dont_write_bytecode or not os.access(cached.parent.parent, os.W_OK):
        return Check(
            "bytecode", "warn", "libraries are compiled anew in each of Ray's processes (10 s)",
            f"unset PYTHONDONTWRITEBYTECODE, or: python -m compileall -q {cached.parents[2]}",
        )  # fmt: skip
    return Check("bytecode", "ok", "libraries are compiled as they are used")


def check_shared_memory() -> Check:
    """Room for Ray's object store; containers often have 64 MiB."""
    if not SHARED_MEMORY.is_dir():
        return Check("shared memory", "warn", "no /dev/shm", "Ray will use the disk, and be slow")
    free = shutil.disk_usage(SHARED_MEMORY).free
    found = f"{free / GIB:.1f} GiB free in {SHARED_MEMORY}"
    if free < GIB:
        way_out = "start the container with --shm-size=4g; Ray will use the disk, and be slow"
        return Check("shared memory", "warn", found, way_out)
    return Check("shared memory", "ok", found)


def check_disk() -> Check:
    """Room in the current directory and for Ray's own files."""
    free = {path: shutil.disk_usage(path).free / GIB for path in (Path.cwd(), _temporary())}
    found = ", ".join(f"{size:.1f} GiB free in {path}" for path, size in free.items())
    least = min(free.values())
    if least < 1:
        return Check("disk", "fail", found, "free some, or set TMPDIR to another disk")
    if least < 5:
        return Check("disk", "warn", found, "maps of large regions need more")
    return Check("disk", "ok", found)


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def check_torch() -> Check:
    """torch, and how many threads it would take."""
    # What cannot be imported is what a check finds.
    import torch

    return Check("torch", "ok", f"{version('torch')}, {torch.get_num_threads()} threads")


def check_gpu() -> Check:
    """A GPU that torch can use; none is fine."""
    # What cannot be imported is what a check finds.
    import torch

    # It imports torch.
    from noise2map_core.inference.networks.usable_gpu import require_usable_gpu

    if torch.cuda.is_available():
        try:
            require_usable_gpu()
        except ClusterError as error:
            return Check("GPU", "warn", str(error))
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check("GPU", "ok", ", ".join(names))
    if shutil.which("nvidia-smi"):
        return Check(
            "GPU", "warn", "there is a driver, but torch cannot use it",
            "install a torch built for CUDA, and check nvidia-smi",
        )  # fmt: skip
    return Check("GPU", "ok", "none; everything runs on the CPU")


def check_catalog(catalog: str) -> Check:
    """A catalogue that answers as STAC."""
    # What cannot be imported is what a check finds.
    from noise2map_core.catalog.stac import open_catalog

    try:
        open_catalog(catalog, patience_s=0.0)
    except CatalogError as error:
        return Check("catalogue", "fail", str(error))
    return Check("catalogue", "ok", catalog)
