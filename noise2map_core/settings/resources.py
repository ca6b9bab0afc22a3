"""Settings of the cluster and of what each worker may take."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from noise2map_core.settings.numbers import NonNegativeFloat, PositiveFloat, PositiveInt

MemorySetting = PositiveFloat | Literal["auto", "off"]
"""Gigabytes, an estimate, or none."""


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
    """Actors that hold the network. Of a detector, whose tasks read and map alike, how many work at
    once; unless it is set, as many as there are CPUs for."""

    predictor_cpus: PositiveFloat = 0.5
    """CPUs that one predictor takes."""

    predictor_gpus: NonNegativeFloat = 0.0
    """GPUs that one predictor takes."""

    predictor_memory_gb: MemorySetting = "auto"
    """Main memory that one predictor asks Ray for; as `reader_memory_gb`."""

    tiles_per_task: PositiveInt = 1
    """Tiles of a super-tile: predicted and recorded together; of a detector up to 4, unless it is
    set. Never changes a pixel."""
