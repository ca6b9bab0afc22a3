"""Pretrain a backbone on images without labels, by learning to take noise out of them."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("pretrain-denoiser")  # settings first: what is imported below takes seconds

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noise2map_core.models.spec import CARD_NAME
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.storage import absolute
from noise2map_core.workflows.pretrain_denoiser import PretrainDenoiserConfig

if TYPE_CHECKING:
    from noise2map_core.distributed.fitting.pretraining import PretrainedWeights
    from noise2map_core.models.denoiser import DenoiserSpec
    from noise2map_core.training.pretraining_data import ImageSource, UnlabelledImages
    from noise2map_core.training.run import TrainingRun
    from noise2map_core.training.tracking import Tracker

EXAMPLES = "examples.png"
NUM_EXAMPLES = 4
EXAMPLE_SHARES = (0.05, 0.15, 0.3, 0.5)
"""Timesteps of the examples, as parts of T."""


@dataclass(frozen=True)
class PretrainDenoiserResult:
    """What a run made."""

    checkpoint: Path
    """Checkpoint directory."""
    examples: Path
    """Picture of noised and denoised images."""
    val_loss: float
    """Mean squared error on the validation part."""
    history: list[dict[str, Any]]
    """Of every validated epoch: epoch, loss, train_s, val_loss."""
    trained: bool
    """False: the output was finished already."""
    made: tuple[str, ...] = ()
    """What was made besides, of which people are told if nothing was trained."""

    def summary(self) -> list[str]:
        """Lines for people."""
        from noise2map_core.training.run import rerun_line, skipped_line

        done = "" if self.trained else rerun_line(self.made)
        lines = [
            f"checkpoint  {self.checkpoint}",
            f"examples    {self.examples}",
            f"validation  mean squared error {self.val_loss:.4f} after {self._epochs} epochs",
            skipped_line(self.history[-1].get("skipped", 0)),
        ]
        return [line for line in (done, *lines) if line]

    @property
    def _epochs(self) -> int:
        return int(self.history[-1]["epoch"])


def run(config: PretrainDenoiserConfig) -> PretrainDenoiserResult:
    """Look at the images, train from where an earlier run ended, save weights and examples."""
    from noise2map_core.chips.store import open_store

    if config.chips is not None:
        open_store(config.chips).require(("train",), ())  # before libraries that take their time
    from noise2map_core.distributed.cluster.needs import require_feasible
    from noise2map_core.training.pretraining_data import find_source
    from noise2map_core.training.tracking import tracked

    require_feasible(config.training, config.resources)
    chips = None if config.chips is None else absolute(config.chips)
    source = find_source(chips, config.images)
    training_run = _training_run(config, source)
    spec = _plan_training(config, source) if training_run.earlier() is None else None
    with tracked(config.mlflow, training_run) as tracker:
        if spec is not None:
            _train(config, source, spec, training_run, tracker)
        made = ("the entry in MLflow",) if _tell(training_run, tracker) else ()
    return _result(training_run, trained=spec is not None, made=made)


def _tell(training_run: TrainingRun, tracker: Tracker | None) -> bool:
    """Tell MLflow of results that it does not have yet; False: there was nothing to tell."""
    if tracker is None or tracker.finished:
        return False
    val_loss = training_run.results()["history"][-1]["val_loss"]
    files = [training_run.checkpoint / CARD_NAME, training_run.output / EXAMPLES]
    tracker.finish({"val_loss": val_loss}, files)
    return True


def _plan_training(config: PretrainDenoiserConfig, source: ImageSource) -> DenoiserSpec:
    """What is to be trained. Raises ConfigError or ChipStoreError if it cannot be."""
    from noise2map_core.models.start import require_start
    from noise2map_core.training.pretraining_data import require_enough

    images = source.open()
    require_enough(images, source.where, config.training.batch_size)
    spec = _plan_spec(config, images)
    if config.model.backbone is not None:
        require_start(spec.network, config.model.backbone)
    return spec


def _plan_spec(config: PretrainDenoiserConfig, images: UnlabelledImages) -> DenoiserSpec:
    """The spec of the denoiser. Raises ConfigError if preset, chips and timesteps do not fit."""
    from noise2map_core import __version__
    from noise2map_core.diffusion.schedule import schedule_alpha_bars
    from noise2map_core.learning.denoising import training_weights
    from noise2map_core.models.denoiser import DenoiserSpec, denoiser_stride
    from noise2map_core.models.presets import network_of
    from noise2map_core.models.spec import SegmentationModelSpec, refused_as_settings

    preset = config.model.preset
    network = network_of(preset, images.chip_px)
    if isinstance(network, SegmentationModelSpec):
        raise ConfigError(
            f"preset {preset} has no diffusion backbone. Set model.preset to tiny, small, base or "
            "reference."
        )
    if images.chip_px % denoiser_stride(network):
        raise ConfigError(
            f"chips of {images.chip_px} pixels do not suit preset {preset}, which needs a multiple "
            f"of {denoiser_stride(network)}. Set images.chip_px, or ingest other chips."
        )
    with refused_as_settings("the denoiser"):
        spec = DenoiserSpec(
            preset=preset,
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


def _training_run(config: PretrainDenoiserConfig, source: ImageSource) -> TrainingRun:
    """The weights depend on the settings and on the images."""
    from noise2map_core.runtime.digest import digest_of
    from noise2map_core.training.run import TrainingRun, learnt_settings

    settings = learnt_settings(config, {"chips", "output", "resources", "images", "mlflow"})
    return TrainingRun(
        config.output, config, digest_of({"settings": settings, "images": source.identity()})
    )


def _train(
    config: PretrainDenoiserConfig,
    source: ImageSource,
    spec: DenoiserSpec,
    training_run: TrainingRun,
    tracker: Tracker | None,
) -> None:
    from noise2map_core.distributed.cluster.needs import training_needs
    from noise2map_core.distributed.cluster.session import ray_session
    from noise2map_core.distributed.fitting.pretraining import PretrainingJob, pretrain_model
    from noise2map_core.models.shipped import checkpoint_folder
    from noise2map_core.runtime.lease import hold_lease

    backbone = config.model.backbone
    job = PretrainingJob(
        source=source,
        state=absolute(config.output) / "state",
        spec=spec,
        backbone=checkpoint_folder(backbone) if backbone else None,
        training=config.training,
        seed=config.seed,
    )
    with hold_lease(config.output / "state"):
        if training_run.earlier() is not None:  # another run has ended meanwhile
            return
        training_run.claim()
        with ray_session(config.resources, training_needs(config.training, config.resources)):
            pretrained = pretrain_model(job, tracker.log if tracker else None)
        _save(source, spec, pretrained, training_run)


def _save(
    source: ImageSource,
    spec: DenoiserSpec,
    pretrained: PretrainedWeights,
    training_run: TrainingRun,
) -> None:
    """Write checkpoint and examples, then the note that the run is finished."""
    from noise2map_core.models.denoiser import Denoiser, save_denoiser
    from noise2map_core.training.denoising import denoise_examples
    from noise2map_core.training.denoising_figure import write_denoising_figure
    from noise2map_core.training.model_card import write_denoiser_card

    images, model = source.open(), Denoiser(spec)
    model.load_state_dict(pretrained.weights)
    card = write_denoiser_card(spec, len(images.train), len(images.val), pretrained.history)
    save_denoiser(model, training_run.checkpoint, card)
    timesteps = [int(share * spec.denoising.schedule.num_timesteps) for share in EXAMPLE_SHARES]
    chosen = images.val[:: max(1, len(images.val) // NUM_EXAMPLES)][:NUM_EXAMPLES]
    examples = denoise_examples(model.eval(), images, chosen, timesteps)
    title = f"validation images, one pass each; mean squared error {pretrained.val_loss:.4f}"
    write_denoising_figure(training_run.output / EXAMPLES, examples, spec.bands, title)
    training_run.finish(history=pretrained.history)


def _result(
    training_run: TrainingRun, trained: bool, made: tuple[str, ...]
) -> PretrainDenoiserResult:
    history = training_run.results()["history"]
    return PretrainDenoiserResult(
        checkpoint=training_run.checkpoint,
        examples=training_run.output / EXAMPLES,
        val_loss=history[-1]["val_loss"],
        history=history,
        trained=trained,
        made=made,
    )
