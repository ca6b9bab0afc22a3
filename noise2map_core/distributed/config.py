"""Settings of the cluster and of what each worker may take."""

from pydantic import BaseModel, ConfigDict

from noise2map_core.numeric import NonNegativeFloat, PositiveFloat, PositiveInt


class ResourcesConfig(BaseModel):
    """How many workers there are and what each takes.

    Fractions of a CPU keep small machines from deadlock: an actor pool that holds every CPU leaves
    none for the tasks that feed it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    address: str | None = None
    """Ray cluster to connect to ("auto", "ray://…"). None: RAY_ADDRESS, else one started here."""

    num_cpus: PositiveInt | None = None
    """CPUs of the cluster started here; None: all. Ignored when connecting to a cluster."""

    reader_cpus: PositiveFloat = 0.25
    """CPUs that one reading task takes."""

    predictors: PositiveInt = 1
    """Actors that hold the model."""

    predictor_cpus: PositiveFloat = 0.5
    """CPUs that one predictor takes."""

    predictor_gpus: NonNegativeFloat = 0.0
    """GPUs that one predictor takes."""

    tiles_per_task: PositiveInt = 1
    """Tiles of a super-tile: predicted and recorded together. Never changes a pixel."""
