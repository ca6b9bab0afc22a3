"""A run's plan: everything that is decided before the first pixel is read."""

from collections.abc import Sequence
from pathlib import Path

from noise2map_core.catalog.scene import Scene
from noise2map_core.errors import CheckpointError, ConfigError
from noise2map_core.geo.grid import ChipLattice, RegionGrid
from noise2map_core.imagery.identity import asset_identities
from noise2map_core.imagery.reader import pixel_type
from noise2map_core.inference.config import InferenceConfig
from noise2map_core.inference.numeric_path import resolve_numeric_path
from noise2map_core.inference.region import RegionJob
from noise2map_core.models.spec import CheckpointSpec


def plan_region(
    grid: RegionGrid,
    before: Sequence[Scene],
    after: Sequence[Scene],
    spec: CheckpointSpec,
    checkpoint: Path,
    config: InferenceConfig,
    output: Path,
    gpus: float,
) -> RegionJob:
    """The job of mapping `grid`; `gpus` is what each predictor holds.

    Raises ConfigError for settings that the checkpoint does not allow, CheckpointError for a grid
    that does not fit it, AssetReadError for files that are missing or of unlike types.
    """
    require_settings(config, spec)
    require_gsd(grid.resolution, spec, checkpoint)
    scenes = [*before, *after]
    return RegionJob(
        output=output.resolve(),  # workers run in folders of their own
        grid=grid,
        spec=spec,
        checkpoint=checkpoint.resolve(),
        lattice=ChipLattice(spec.chip_px, config.stride_px or spec.stride_px),
        timesteps=config.timesteps or spec.task("change").inference_timesteps,
        path=resolve_numeric_path(config, gpus),
        before=tuple(before),
        after=tuple(after),
        identities=asset_identities(scenes),
        dtype=str(pixel_type(scenes)),
        fence=0,
    )


def require_bands(wanted: tuple[str, ...], spec: CheckpointSpec, checkpoint: Path) -> None:
    """Raise ConfigError if bands are asked for that are not the checkpoint's."""
    if wanted and wanted != spec.bands:
        raise ConfigError(
            f"checkpoint {checkpoint} expects bands ({', '.join(spec.bands)}); search.bands is "
            f"({', '.join(wanted)}). Leave search.bands out."
        )


def require_settings(config: InferenceConfig, spec: CheckpointSpec) -> None:
    """Raise ConfigError for settings that the checkpoint does not allow."""
    stride, chip = config.stride_px, spec.chip_px
    if stride and stride > chip:
        raise ConfigError(
            f"inference.stride_px {stride} leaves gaps between chips of {chip} px. Lower it."
        )
    last = spec.task("change").schedule.num_timesteps - 1
    if any(not 0 <= timestep <= last for timestep in config.timesteps or ()):
        raise ConfigError(
            f"inference.timesteps must lie in 0 … {last}: the checkpoint has no other."
        )


def require_gsd(resolution: float, spec: CheckpointSpec, checkpoint: Path) -> None:
    """Raise CheckpointError if the checkpoint does not accept pixels of `resolution` metres."""
    low, high = spec.gsd_range
    if not low <= resolution <= high:
        raise CheckpointError(
            f"checkpoint {checkpoint} was trained at {spec.gsd:g} m and accepts {low:g} to "
            f"{high:g} m a pixel; this map would have {resolution:g} m. Set grid.resolution within "
            "that range, or use another checkpoint."
        )
