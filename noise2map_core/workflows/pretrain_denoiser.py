"""Settings of pretrain-denoiser."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import Location, Target
from noise2map_core.settings.diffusion import DenoisingConfig
from noise2map_core.settings.learning import ImagesConfig, MlflowConfig, PretrainingConfig
from noise2map_core.settings.network import ModelConfig
from noise2map_core.settings.numbers import Seed
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.workflows.launch import Workflow


class PretrainDenoiserConfig(BaseModel):
    """Pretrain a backbone: a denoiser of images without labels, which finetune-maps starts from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chips: Location | None = None
    """Chip store of any bands; labels are not read. Of several dates each image shows one. Trains
    on the part `train`; what is held out for tests is not looked at."""

    images: ImagesConfig = Field(default_factory=ImagesConfig)
    """Image files, in place of a chip store."""

    output: Target
    """Directory of the run: `checkpoint/`, to be handed to finetune-maps as --model.backbone,
    `examples.png`, and `state/` to continue from."""

    seed: Seed = 0
    """Seed of weights, order, timesteps and noise."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    """The network: the preset that is to be fine-tuned."""

    denoising: DenoisingConfig = Field(default_factory=DenoisingConfig)
    """What is asked of it."""

    training: PretrainingConfig = Field(default_factory=PretrainingConfig)
    """How it is trained."""

    resources: ClusterConfig = Field(default_factory=ClusterConfig)
    """The cluster."""

    mlflow: MlflowConfig | None = None
    """MLflow, to be told of metrics, settings, model card and examples. None: it is not."""


WORKFLOW = Workflow(PretrainDenoiserConfig)
