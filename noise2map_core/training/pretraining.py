"""What a pretraining trains, what comes of it, and what is kept of that."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from noise2map_core import __version__
from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.learning.denoising import training_weights
from noise2map_core.models.denoiser import Denoiser, DenoiserSpec, denoiser_stride, save_denoiser
from noise2map_core.models.presets import network_of
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import (
    PatchUNetSpec,
    ReferenceSpec,
    UntimedSpec,
    refused_as_settings,
)
from noise2map_core.models.start import require_start
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.storage import absolute
from noise2map_core.settings.learning import PretrainingConfig
from noise2map_core.settings.network import Preset
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.training.denoising import denoise_examples
from noise2map_core.training.denoising_figure import write_denoising_figure
from noise2map_core.training.model_card import write_denoiser_card
from noise2map_core.training.pretraining_data import ImageSource, UnlabelledImages, require_enough
from noise2map_core.training.run import STATE_FOLDER, TrainingRun, learnt_settings
from noise2map_core.workflows.pretrain_denoiser import PretrainDenoiserConfig

EXAMPLES = "examples.png"
NUM_EXAMPLES = 4
EXAMPLE_SHARES = (0.05, 0.15, 0.3, 0.5)
"""Timesteps of the examples, as parts of T."""


@dataclass(frozen=True)
class PretrainingJob:
    """All that a worker needs; picklable."""

    source: ImageSource
    state: Path
    """Where Ray Train keeps checkpoints, absolute."""
    spec: DenoiserSpec
    backbone: Path | None
    """Weights that the backbone starts from, absolute."""
    training: PretrainingConfig
    seed: int
    resources: ClusterConfig = field(default_factory=ClusterConfig)
    """Of each reading task, where Ray Data streams the chips."""


@dataclass(frozen=True)
class PretrainedWeights:
    """The end of a run."""

    weights: dict[str, Tensor]
    """State dict of the moving average."""
    val_loss: float
    """Mean squared error on the validation part; predicting nothing gives about 1."""
    history: list[dict[str, Any]]
    """Of every validated epoch: epoch, loss, train_s, resources, val_loss."""


def pretraining_run(config: PretrainDenoiserConfig, source: ImageSource) -> TrainingRun:
    """The run of a config: its weights depend on the settings and on the images."""
    settings = learnt_settings(config, {"chips", "output", "resources", "images", "mlflow"})
    digest = digest_of({"settings": settings, "images": source.identity()})
    return TrainingRun(config.output, config, digest)


def plan_pretraining(config: PretrainDenoiserConfig, source: ImageSource) -> PretrainingJob:
    """What is to be trained. Raises ConfigError, ChipStoreError or CheckpointError if it cannot
    be."""
    if config.training.loader == "ray_data" and source.chips is None:
        raise ConfigError(
            "training.loader ray_data streams the chips of a store; workers read image files "
            "themselves. Set chips in place of images.root, or leave training.loader out."
        )
    images, backbone = source.open(), config.model.backbone
    require_enough(images, source.where, config.training.batch)
    spec = _plan_spec(config, images)
    if backbone is not None:
        require_start(spec.network, backbone)
    return PretrainingJob(
        source=source,
        state=absolute(config.output) / STATE_FOLDER,
        spec=spec,
        backbone=checkpoint_folder(backbone) if backbone else None,
        training=config.training,
        seed=config.seed,
        resources=config.resources,
    )


def _plan_spec(config: PretrainDenoiserConfig, images: UnlabelledImages) -> DenoiserSpec:
    """The spec of the denoiser. Raises ConfigError if preset, chips and timesteps do not fit."""
    network = _plan_network(config.model.preset, images.chip_px)
    with refused_as_settings("the denoiser"):
        spec = DenoiserSpec(
            preset=config.model.preset,
            network=network,
            bands=images.bands,
            normalisation=images.normalisation(),
            denoising=config.denoising,
            chip_px=images.chip_px,
            code_version=__version__,
        )
    try:
        training_weights(spec, schedule_alpha_bars(config.denoising.schedule))
    except ValueError as error:
        raise ConfigError(f"denoising: {error}.") from error
    return spec


def _plan_network(preset: Preset, chip_px: int) -> PatchUNetSpec | ReferenceSpec:
    network = network_of(preset, chip_px)
    if isinstance(network, UntimedSpec):
        raise ConfigError(
            f"preset {preset} has no diffusion backbone. Set model.preset to tiny, small, base or "
            "reference."
        )
    if chip_px % denoiser_stride(network):
        raise ConfigError(
            f"chips of {chip_px} pixels do not suit preset {preset}, which needs a multiple "
            f"of {denoiser_stride(network)}. Set images.chip_px, or ingest other chips."
        )
    return network


def save_pretrained(
    pretrained: PretrainedWeights, job: PretrainingJob, training_run: TrainingRun
) -> None:
    """Write checkpoint and examples, then the note that the run is finished."""
    images, model = job.source.open(), Denoiser(job.spec)
    model.load_state_dict(pretrained.weights)
    card = write_denoiser_card(job.spec, len(images.train), len(images.val), pretrained.history)
    save_denoiser(model, training_run.checkpoint, card)
    title = f"validation images, one pass each; mean squared error {pretrained.val_loss:.4f}"
    _draw_examples(training_run.output / EXAMPLES, model.eval(), images, title)
    training_run.finish(history=pretrained.history)


def _draw_examples(path: Path, model: Denoiser, images: UnlabelledImages, title: str) -> None:
    num_timesteps = model.spec.denoising.schedule.num_timesteps
    timesteps = [int(share * num_timesteps) for share in EXAMPLE_SHARES]
    chosen = images.val[:: max(1, len(images.val) // NUM_EXAMPLES)][:NUM_EXAMPLES]
    examples = denoise_examples(model, images, chosen, timesteps)
    write_denoising_figure(path, examples, model.spec.bands, title)
