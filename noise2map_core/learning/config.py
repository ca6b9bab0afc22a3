"""Settings of training and evaluation."""

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt


class TrainingConfig(BaseModel):
    """How the network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: PositiveInt = 40
    """Passes over the training chips."""

    batch_size: PositiveInt = 16
    """Chips in one step, over all workers; a multiple of `num_workers`."""

    learning_rate: PositiveFloat = 3e-3
    """Highest learning rate of AdamW; it warms up linearly and falls to zero along a cosine."""

    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Part of all steps in which the learning rate rises."""

    weight_decay: NonNegativeFloat = 0.01
    """Weight decay of AdamW."""

    max_gradient_norm: PositiveFloat = 1.0
    """Gradients are clipped to this norm."""

    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay a step of the moving average of the weights, which is what is saved."""

    changed_weight: PositiveFloat = 1.0
    """Weight of changed pixels in the loss; unchanged pixels weigh 1. The decision threshold is
    chosen on the validation part in any case."""

    jitter: NonNegativeFloat = 0.1
    """Random gain and offset per date and band, in standard deviations of the band: how much light
    and season may differ between dates."""

    checkpoint_epochs: PositiveInt = 5
    """Epochs between validations; a run that was killed continues from the last one."""

    context_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Part of the chips in a batch that are judged pixel by pixel, without context: it keeps the
    pixel path strong where few labels would let the network learn places by heart."""

    num_workers: PositiveInt = 1
    """Workers that train together, each on its part of every batch."""

    worker_cpus: PositiveFloat = 1.0
    """CPUs that one worker takes; it computes with as many threads (at least one)."""

    worker_gpus: NonNegativeFloat = 0.0
    """GPUs that one worker takes."""


class EvaluationConfig(BaseModel):
    """How scores are computed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    block_px: PositiveInt = 64
    """Side of the spatial blocks that the bootstrap draws, pixels."""

    batch_size: PositiveInt = 16
    """Chips in one forward pass."""
