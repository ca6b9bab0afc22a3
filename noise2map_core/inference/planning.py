"""A run's plan: everything that is decided before the first pixel is read."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from noise2map_core.catalog.pairing import search_pair
from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.search import search_scenes
from noise2map_core.clouds.suspicion import plan_suspicion
from noise2map_core.detectors.compared import ComparedSpec, comparing
from noise2map_core.detectors.detector import Detector
from noise2map_core.detectors.fitting import fit_detector
from noise2map_core.detectors.spec import DetectorSpec, MapSpec, MapTask, is_cut, network_of
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import ChipLattice, RegionGrid
from noise2map_core.geo.turns import centre_of_grid
from noise2map_core.imagery.detection import plan_detection
from noise2map_core.imagery.pair_plan import PairPlan, plan_pair, require_used
from noise2map_core.imagery.reader import pixel_type
from noise2map_core.imagery.recipe import PixelRecipe
from noise2map_core.imagery.region import finest_on_ground, plan_grid
from noise2map_core.imagery.usable import usable_scenes
from noise2map_core.inference.engine import forms, kept
from noise2map_core.inference.numeric_path import NumericPath, fitting_batch, resolve_numeric_path
from noise2map_core.inference.region import NUM_TURNS, Pass, RegionJob
from noise2map_core.inference.scene_light import read_light
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import CheckpointSpec, Normalisation, TaskSpec
from noise2map_core.rasters.identity import asset_identities, pin_scenes
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.runtime.storage import absolute
from noise2map_core.settings.imagery import NO_DETECTOR, MapMaskConfig
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.network import Task
from noise2map_core.settings.resources import ResourcesConfig, gpus_held
from noise2map_core.workflows.infer_region import InferRegionConfig

MIN_GAIN = 0.2
"""Timesteps with less left of the difference between the dates say nothing about it."""

NUM_TIMESTEPS = 4
"""Of a disagreement over timesteps that were not named."""


def plan_job(config: InferRegionConfig, spec: MapSpec, aoi: AreaOfInterest) -> RegionJob:
    """Find the scenes and lay the grid: the job of mapping `aoi`, before anything is written.

    Raises ConfigError for settings that the checkpoint does not allow or that do not go together,
    NoImageryError, CheckpointError for a grid that does not fit the checkpoint, and AssetReadError
    for files that are missing or of unlike types.
    """
    if isinstance(spec, CheckpointSpec):
        spec = comparing(spec, config.task, config.inference.compare)
    task = config.task or ("change" if "change" in spec.tasks else spec.task_name())
    require_used(config.pair_quality, config.radiometry, 1 if task == "segment" else 2)
    require_threshold(config.products.threshold, spec.task(task))
    if network := network_of(spec):
        require_bands(config.search.bands, network, config.checkpoint)
    found = plan_detection(usable_scenes(_search(config, task, aoi, spec), aoi), config.mask)
    masks = config.mask.use != "off"
    before, after = (pin_scenes(scenes, masks=masks) for scenes in found)
    grid = plan_grid(aoi, config.grid, [*before, *after])
    return _job(config, spec, task, grid, plan_pixels(config, before, after, grid))


def plan_pixels(
    config: InferRegionConfig,
    before: Sequence[Scene],
    after: Sequence[Scene],
    grid: RegionGrid,
    report: bool = False,
) -> PairPlan:
    """How the pixels are read. What is only to be reported is measured if `report`: a run with
    nothing to do reads no imagery."""
    quality = config.pair_quality
    if quality.action == "report" and not report:
        quality = quality.model_copy(update={"action": "off"})
    return plan_pair(
        before, after, grid, config.composite, config.mask.of_scenes, quality, config.radiometry
    )


def suspecting(
    recipe: PixelRecipe, mask: MapMaskConfig, bands: tuple[str, ...],
    numbers: Normalisation | Detector, pixel_m: float, dtype: str,
) -> PixelRecipe:  # fmt: skip
    """The recipe with what clouds are suspected by, unless masks or a detector know, or the setting
    is off.

    `numbers` are those that a network learnt from, or that a detector was fitted to.
    """
    if recipe.masked or mask.detector != NO_DETECTOR or not mask.suspect:
        return recipe
    top = 255.0 if dtype == "uint8" else None
    suspicion = plan_suspicion(bands, numbers.mean, numbers.std, pixel_m, top)
    return recipe.model_copy(update={"suspicion": suspicion})


def _search(
    config: InferRegionConfig, task: Task, aoi: AreaOfInterest, spec: MapSpec
) -> tuple[list[Scene], list[Scene]]:
    """Scenes of both dates; of segmentation, none and those of its date."""
    if task == "segment":
        if config.before is not None:
            raise ConfigError("segmentation maps one date. Leave --before out; --after is the one.")
        return [], search_scenes(config.search, aoi, config.after, spec.bands)[::-1]
    if config.before is None:
        raise ConfigError("change needs two dates. Set --before to the earlier one.")
    return search_pair(config.search, aoi, config.before, config.after, spec.bands)


def _job(
    config: InferRegionConfig, spec: MapSpec, task: Task, grid: RegionGrid, pair: PairPlan
) -> RegionJob:
    scenes = [*pair.before, *pair.after]
    identities, dtype = (
        asset_identities(scenes, masks=pair.recipe.masked), str(pixel_type(scenes)),
    )  # fmt: skip
    made = partial(
        RegionJob,
        output=absolute(config.output),
        grid=grid,
        before=pair.before,
        after=pair.after,
        identities=identities,
        dtype=dtype,
        fence=0,
        task_name=task,
    )
    suspect = partial(
        suspecting, pair.recipe, config.mask, spec.bands, pixel_m=grid.ground_m, dtype=dtype
    )
    if isinstance(spec, DetectorSpec):
        fitted = fit_detector(spec, pair, grid, identities, absolute(config.output))
        assert fitted.fitted is not None
        return made(spec=fitted, recipe=suspect(fitted.fitted), **_by_detector(spec))
    network, its_task = _run_for(spec, task)
    require_settings(config.inference, network, its_task)
    place = centre_of_grid(grid.geobox(grid.region))
    require_gsd(grid.ground_m, network, config.checkpoint, finest_on_ground(scenes, *place))
    recipe = suspect(spec.task(task).normalisation)
    job: RegionJob = made(spec=spec, recipe=recipe, **_by_network(config, network, its_task))
    if network.task(its_task).normalisation.of != "scene":
        return job
    light = read_light(
        job.dates, grid, pair.recipe, identities, job.output,
        with_alteration=network.sees_alteration(its_task),
    )  # fmt: skip
    return replace(job, light=light)


def _run_for(spec: CheckpointSpec | ComparedSpec, task: Task) -> tuple[CheckpointSpec, Task]:
    """The network that a map takes, and the task that it does for it."""
    return (spec.network, "segment") if isinstance(spec, ComparedSpec) else (spec, task)


def _by_network(config: InferRegionConfig, spec: CheckpointSpec, task: Task) -> dict[str, Any]:
    """Of a job, how the network is run."""
    inference = config.inference
    assert config.checkpoint is not None
    path, checkpoint = _path(inference, config.resources), checkpoint_folder(config.checkpoint)
    path = replace(path, batch=fitting_batch(config.output, path.batch))
    timesteps = inference.timesteps or spec.task(task).inference_timesteps
    evidence = plan_evidence(inference, spec.task(task))
    asked = (*timesteps, *(one.timestep for one in evidence))
    return {
        "checkpoint": checkpoint,
        "lattice": ChipLattice(spec.chip_px, inference.stride_px or spec.stride_px),
        "timesteps": timesteps,
        "path": _settled(path, checkpoint, spec, task, asked),
        "evidence": evidence,
    }


def _settled(
    path: NumericPath,
    checkpoint: Path,
    spec: CheckpointSpec,
    task: Task,
    timesteps: tuple[int, ...],
) -> NumericPath:
    """Of an engine other than torch, whether it takes the network is tried once, before the keys
    are made: they say what computes."""
    if not path.engine or all(
        kept(form, checkpoint) is not None for form in forms(spec, task, timesteps, path)
    ):
        return path
    # Torch takes seconds, which a run by torch itself, or with nothing to do, spares.
    from noise2map_core.inference.networks.compiled import settled
    from noise2map_core.models.checkpoint import load_checkpoint

    return settled(path, spec, task, timesteps, lambda: load_checkpoint(checkpoint), checkpoint)


def _path(inference: InferenceConfig, resources: ResourcesConfig) -> NumericPath:
    """Where predictors compute, and in which numbers."""
    gpus = gpus_held(resources.predictor_gpus)
    return resolve_numeric_path(inference, gpus, resources.predictor_gpu_type or "")


def _by_detector(spec: DetectorSpec) -> dict[str, Any]:
    """Of a job, how a detector is run: pixel by pixel, in the same way on any machine."""
    return {
        "checkpoint": Path(spec.kind),
        "lattice": ChipLattice(spec.chip_px, spec.stride_px),
        "timesteps": (),
        "path": NumericPath("cpu", "any", "float64", batch=1, threads=1, torch="", form="detector"),
    }


def require_bands(wanted: tuple[str, ...], spec: CheckpointSpec, checkpoint: Path | None) -> None:
    """Raise ConfigError if bands are asked for that are not the checkpoint's."""
    if wanted and wanted != spec.bands:
        raise ConfigError(
            f"checkpoint {checkpoint} expects bands ({', '.join(spec.bands)}); search.bands is "
            f"({', '.join(wanted)}). Leave search.bands out."
        )


def plan_evidence(config: InferenceConfig, task: TaskSpec) -> tuple[Pass, ...]:
    """The forward passes whose disagreement is measured.

    Raises ConfigError for an order where there is one date, and for timesteps at which before and
    after can hardly be told apart: what differs there is noise.
    """
    if config.disagreement == "off":
        return ()
    if config.disagreement in ("order", "both") and task.num_dates < 2:
        raise ConfigError(
            f"inference.disagreement {config.disagreement!r} needs two dates; this task has one. "
            "Set it to timesteps."
        )
    steps = _evidence_timesteps(config, task)
    if config.disagreement == "flips":
        return tuple(Pass(t, turn=turn) for t in steps for turn in range(NUM_TURNS))
    orders = (False,) if config.disagreement == "timesteps" else (False, True)
    return tuple(Pass(t, order) for t in steps for order in orders)


def _evidence_timesteps(config: InferenceConfig, task: TaskSpec) -> tuple[int, ...]:
    # Here and not above: without evidence, a run with nothing to do needs no torch.
    from noise2map_core.diffusion.corruption import difference_gain
    from noise2map_core.diffusion.schedule import schedule_alpha_bars

    asked = config.disagreement_timesteps
    if asked is None and config.disagreement in ("order", "flips"):
        return config.timesteps or task.inference_timesteps
    gain = difference_gain(task.corruption, schedule_alpha_bars(task.schedule)).abs()
    apart = [t for t, one in enumerate(gain.tolist()) if one >= MIN_GAIN]
    if asked is None:
        last = len(apart) - 1
        return tuple(apart[round(i * last / (NUM_TIMESTEPS - 1))] for i in range(NUM_TIMESTEPS))
    if unfit := [t for t in asked if t not in apart]:
        raise ConfigError(
            f"inference.disagreement_timesteps {unfit}: the dates cannot be told apart there, or "
            f"there is no such timestep. Take some of {apart[0]} … {apart[-1]} with a gain of "
            f"{MIN_GAIN} or more."
        )
    return asked


def require_settings(config: InferenceConfig, spec: CheckpointSpec, task: Task = "change") -> None:
    """Raise ConfigError for settings that the checkpoint does not allow."""
    stride, chip = config.stride_px, spec.chip_px
    if stride and stride > chip:
        raise ConfigError(
            f"inference.stride_px {stride} leaves gaps between chips of {chip} px. Lower it."
        )
    last = spec.task(task).schedule.num_timesteps - 1
    if any(not 0 <= timestep <= last for timestep in config.timesteps or ()):
        raise ConfigError(
            f"inference.timesteps must lie in 0 … {last}: the checkpoint has no other."
        )


def require_threshold(threshold: float | None, task: MapTask) -> None:
    """Raise ConfigError for a threshold of a map that is not cut at one."""
    if threshold is not None and not is_cut(task):
        raise ConfigError(
            f"products.threshold cuts two classes; the checkpoint has {len(task.classes)}. Leave "
            "it out."
        )


def require_gsd(
    side: float, spec: CheckpointSpec, checkpoint: Path | str | None, finest: float | None = None
) -> None:
    """Raise CheckpointError if the checkpoint does not accept pixels of `side` metres.

    Metres are of the ground. `finest` is the side of the imagery's own pixels; None: these are.
    """
    low, high = spec.gsd_range
    if not spec.accepts_gsd(side):
        raise CheckpointError(
            f"checkpoint {checkpoint} was trained at {spec.gsd:g} m and accepts {low:g} to "
            f"{high:g} m a pixel; this map would have {side:.4g} m. "
            f"{way_out(spec, side if finest is None else finest)}"
        )


def way_out(spec: CheckpointSpec, finest: float) -> str:
    """What to do about pixels that a checkpoint does not accept; never to invent finer ones than
    the imagery's, `finest` metres."""
    low, high = spec.gsd_range
    if finest > high:
        return (
            f"The imagery's own pixels have {finest:.4g} m: choose finer imagery, or a checkpoint "
            f"for {finest:.4g} m."
        )
    return f"Set grid.resolution to {max(low, finest):.4g} … {high:g}, or use another checkpoint."
