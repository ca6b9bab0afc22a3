"""Settings of the cluster and of what each worker may take."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from noise2map_core.settings.numbers import NonNegativeFloat, PositiveFloat, PositiveInt

MemorySetting = PositiveFloat | Literal["auto", "off"]
"""Gigabytes, an estimate, or none."""

Gpus = NonNegativeFloat | Literal["auto"]
"""GPUs of one worker; auto: one, if there are any."""


def gpus_held(setting: Gpus) -> float:
    """GPUs of one worker, once it is known which there are; until then, none."""
    return 0.0 if setting == "auto" else setting


class ClusterConfig(BaseModel):
    """The cluster, and what a reading task takes of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    address: str | None = None
    """Ray cluster to connect to ("auto", "ray://…"). None: RAY_ADDRESS, else one started here."""

    num_cpus: PositiveInt | None = None
    """CPUs of the cluster started here; None: all. Ignored when connecting to a cluster."""

    reader_cpus: PositiveFloat = 0.25
    """CPUs that one reading task takes; of a map, a writing one too."""

    reader_memory_gb: MemorySetting = "auto"
    """Main memory that one reading task asks Ray for: no more start than fit. auto: an estimate
    from tiles, bands and dates, cut to what the cluster has. off: Ray is told nothing."""


class ResourcesConfig(ClusterConfig):
    """How many workers there are and what each takes.

    Fractions of a CPU keep small machines from deadlock: an actor pool that holds every CPU leaves
    none for the tasks that feed it.
    """

    predictors: PositiveInt = 1
    """Actors that hold the network; unless it is set, one for each GPU that is found. Of a
    detector, whose tasks read and map alike, how many work at once; unless it is set, as many as
    there are CPUs for."""

    predictor_cpus: PositiveFloat = 0.5
    """CPUs that one predictor takes."""

    predictor_gpus: Gpus = "auto"
    """GPUs that one predictor takes. auto: one, where this machine or the cluster has GPUs or may
    get some, which is asked for before the work begins; else none. 0: CPUs alone compute."""

    predictor_gpu_type: str | None = None
    """Type of the GPUs, as Ray names it ("H100"): predictors run on no other, since another would
    compute other last digits. None: the one of which there are most."""

    predictor_memory_gb: MemorySetting = "auto"
    """Main memory that one predictor asks Ray for; as `reader_memory_gb`."""

    tiles_per_task: PositiveInt = 1
    """Tiles of a super-tile: predicted and recorded together; of a detector up to 4, unless it is
    set. Never changes a pixel."""
