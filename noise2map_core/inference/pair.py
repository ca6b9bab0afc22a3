"""A pair of images in memory, mapped by the code of the pipeline: for notebooks."""

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (the accessor .odc)
import rioxarray  # noqa: F401  (the accessor .rio)
import xarray as xr
from dask.base import is_dask_collection
from dask.delayed import delayed
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.detectors.compared import ComparedSpec, comparing
from noise2map_core.detectors.spec import MapTask
from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.ground import metres_per_unit, true_side
from noise2map_core.geo.window import Window
from noise2map_core.imagery.pair_quality import spread_windows
from noise2map_core.inference.decision import decide
from noise2map_core.inference.networks.predictor import Predictor
from noise2map_core.inference.networks.two_maps import ComparingPredictor
from noise2map_core.inference.numeric_path import NumericPath, resolve_numeric_path
from noise2map_core.inference.planning import require_gsd, require_settings
from noise2map_core.inference.provenance import class_table
from noise2map_core.inference.scene_light import SAMPLE, DateWindow, SceneLight, scene_light
from noise2map_core.inference.tile import TilePredictor
from noise2map_core.mapping.mosaic import (
    NO_DECISION,
    NO_PROBABILITY,
    PROBABILITY_SCALE,
    class_flags,
)
from noise2map_core.models.checkpoint import load_checkpoint, require_loadable
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import CheckpointSpec, read_spec
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.network import Task

NAMES = ("class", "probability", "valid", "reason")
_ONE_AT_A_TIME = threading.Lock()
"""dask calls from several threads: one loads the model, and one computes with its torch threads."""


def predict_pair(
    before: xr.DataArray,
    after: xr.DataArray,
    checkpoint: Path | str,
    *,
    inference: InferenceConfig | None = None,
    tile_px: int = 512,
) -> xr.Dataset:
    """The change map of two images: what infer-region writes for them, to the bit.

    `before` and `after` [band, y, x] hold raw numbers, bands in the checkpoint's order, on one
    north-up grid in metres, which rioxarray or odc-geo can tell. Not observed: NaN, infinity, and
    the values of `_FillValue` and `nodata`. Gives variables class, probability (0–1, NaN where
    none), valid and reason [y, x], as `open_mosaic` does, with CRS and transform: each can be
    written by `.rio.to_raster("change.tif")`. Lazy if an image is backed by dask: each tile of
    `tile_px` x `tile_px` pixels, infer-region's `grid.tile_px`, is a task of its own. Where the
    checkpoint's maps of the dates are compared (`inference.compare`), classes are kinds of change,
    "CLASS to CLASS", named in the attributes of `class`. Sets torch in
    this process to `inference.threads` threads and to deterministic algorithms.

    Raises ConfigError for images that do not fit each other, CheckpointError for images that do not
    fit the checkpoint.
    """
    path, config = checkpoint_folder(checkpoint), inference or InferenceConfig()
    spec = read_spec(path)
    geobox = _common_frame(before, after)
    asked = comparing(spec, "change", config.compare)
    task = asked.task("change")
    compared = isinstance(asked, ComparedSpec)
    its_task = spec.task("segment" if compared else "change")
    require_settings(config, spec, "segment" if compared else "change")
    side = geobox.resolution.x
    require_gsd(true_side(side, side * metres_per_unit(geobox)), spec, path)
    _require_bands(before, spec, path)
    _require_bands(after, spec, path)
    require_loadable(path, spec)
    job = _PairJob(
        path, spec.digest, task, _anchored(geobox),
        ChipLattice(spec.chip_px, config.stride_px or spec.stride_px),
        config.timesteps or its_task.inference_timesteps,
        resolve_numeric_path(config, gpus=1 if config.device == "cuda" else 0),
        _light(spec, "segment" if compared else "change", before, after), compared,
    )  # fmt: skip
    pixels = _layers(job, before, after, tile_px)
    if not (is_dask_collection(before.data) or is_dask_collection(after.data)):
        pixels = pixels.compute()
    made = _dataset(pixels, before, geobox)
    if compared:
        made["class"].attrs |= class_flags(class_table(task))
    return made


@dataclass(frozen=True)
class _PairJob:
    """What is alike for all tiles."""

    checkpoint: Path
    digest: str
    task: MapTask
    frame: Window
    """The images' place on the lattice of their CRS."""
    lattice: ChipLattice
    timesteps: tuple[int, ...]
    path: NumericPath
    light: SceneLight | None
    compared: bool = False
    """Whether the maps of the dates are compared."""

    def predict(
        self, image: NDArray[Any], valid: NDArray[np.bool_], seen: Window, core: Window
    ) -> NDArray[np.uint16]:
        """The four layers [layer, H, W] of `core` within the frame; `image` covers `seen`."""
        cover = self.lattice.cover(core)
        image, valid = _padded(image, seen, cover), _padded(valid, seen, cover)
        at_core = valid[:, *core.slices_in(cover)]
        inside = _padded(np.ones((self.frame.height, self.frame.width), bool), self.frame, core)
        with _ONE_AT_A_TIME:
            predictor = _predictor(
                self.checkpoint,
                self.digest,
                self.lattice,
                self.timesteps,
                self.path,
                self.light,
                self.compared,
            )
            said = predictor.predict(image, valid, core, inside & at_core.all(axis=0))
        decided = decide(said.verdict, at_core, inside, direction=said.direction).arrays()
        layers = np.stack([decided[name].astype(np.uint16) for name in NAMES])
        return np.asarray(layers[:, *core.intersect(self.frame).slices_in(core)])


@lru_cache(maxsize=2)
def _predictor(
    checkpoint: Path,
    digest: str,
    lattice: ChipLattice,
    timesteps: tuple[int, ...],
    path: NumericPath,
    light: SceneLight | None,
    compared: bool,
) -> TilePredictor:
    """`digest` is there for the cache: a checkpoint that was trained again is loaded again."""
    model = load_checkpoint(checkpoint)
    if model.spec.digest != digest:
        raise CheckpointError(f"checkpoint {checkpoint} was replaced meanwhile. Predict again.")
    if compared:
        network = Predictor(model, path, lattice, timesteps, "segment", light=light)
        return ComparingPredictor(network, ComparedSpec(model.spec).tasks["change"])
    return Predictor(model, path, lattice, timesteps, light=light)


def _light(
    spec: CheckpointSpec, task: Task, before: xr.DataArray, after: xr.DataArray
) -> SceneLight | None:
    """Of each image, where the network normalises by scene: as of a region of its extent."""
    if spec.tasks[task].normalisation.of == "training":
        return None
    frame = Window(0, 0, *before.shape[1:])
    windows = [
        [_seen(image[:, *window.slices_in(frame)]) for image in (before, after)]
        for window in spread_windows(frame, SAMPLE)
    ]
    return scene_light(windows, with_alteration=spec.sees_alteration(task))


def _seen(part: xr.DataArray) -> DateWindow:
    return np.asarray(part.data), np.asarray(_observed(part).data)


def _layers(job: _PairJob, before: xr.DataArray, after: xr.DataArray, tile_px: int) -> da.Array:
    """The four layers [layer, y, x], uint16, a task for each tile."""
    image = da.stack([da.asarray(one.data) for one in (before, after)])
    valid = da.stack([da.asarray(_observed(one).data) for one in (before, after)])
    predict = delayed(job.predict, pure=True, traverse=False)
    rows = []
    for row in range(job.frame.row // tile_px, -(-job.frame.row_stop // tile_px)):
        blocks = []
        for col in range(job.frame.col // tile_px, -(-job.frame.col_stop // tile_px)):
            core = Window(row * tile_px, col * tile_px, tile_px, tile_px)
            seen = job.lattice.cover(core).intersect(job.frame)
            part = seen.slices_in(job.frame)
            made = predict(image[:, :, *part], valid[:, *part], seen, core)
            mine = core.intersect(job.frame)
            blocks.append(da.from_delayed(made, (len(NAMES), mine.height, mine.width), np.uint16))
        rows.append(blocks)
    return da.concatenate([da.concatenate(blocks, axis=2) for blocks in rows], axis=1)


def _observed(image: xr.DataArray) -> xr.DataArray:
    """bool [y, x]: every band is finite, and none is nodata."""
    observed = xr.apply_ufunc(np.isfinite, image, dask="allowed")
    for known in (image.attrs, image.encoding):
        for nodata in (known.get("_FillValue"), known.get("nodata")):
            if nodata is not None:
                observed &= image != nodata
    return observed.all(dim=str(image.dims[0]))


def _padded(values: NDArray[Any], window: Window, frame: Window) -> NDArray[Any]:
    """`values` [..., H, W] of `window` within `frame`; zero elsewhere."""
    padded = np.zeros((*values.shape[:-2], frame.height, frame.width), values.dtype)
    shared = window.intersect(frame)
    padded[..., *shared.slices_in(frame)] = values[..., *shared.slices_in(window)]
    return padded


def _common_frame(before: xr.DataArray, after: xr.DataArray) -> GeoBox:
    first, last = (image.odc.geobox for image in (before, after))
    for name, image, geobox in (("before", before, first), ("after", after, last)):
        if image.ndim != 3 or not isinstance(geobox, GeoBox) or geobox.crs is None:
            raise ConfigError(
                f"{name} must be [band, y, x] with a CRS and evenly spaced y and x, as "
                "rioxarray.open_rasterio gives it."
            )
    assert isinstance(first, GeoBox) and first.crs is not None
    if first != last:
        raise ConfigError(
            "before and after lie on different grids. Bring one to the other's, for example with "
            "after.rio.reproject_match(before)."
        )
    upright = first.transform.b == first.transform.d == 0 and first.resolution.y < 0
    if first.crs.geographic or not upright or first.resolution.x != -first.resolution.y:
        raise ConfigError(
            "before and after must lie north up on square pixels in metres. Reproject them, for "
            "example with rio.reproject(rio.estimate_utm_crs())."
        )
    return first


def _require_bands(image: xr.DataArray, spec: CheckpointSpec, path: Path) -> None:
    if image.shape[0] != len(spec.bands):
        raise CheckpointError(
            f"checkpoint {path} expects {len(spec.bands)} bands ({', '.join(spec.bands)}); the "
            f"image has {image.shape[0]}. Select them in this order."
        )


def _anchored(geobox: GeoBox) -> Window:
    """The image's rows and columns on the lattice that is anchored to its CRS."""
    resolution = geobox.resolution.x
    left, top = geobox.transform.c, geobox.transform.f
    return Window(
        -_whole(top / resolution), _whole(left / resolution), geobox.shape.y, geobox.shape.x
    )


def _whole(pixels: float) -> int:
    """The whole part, downwards; numbers that are whole but for rounding stay what they are."""
    return int(np.floor(round(pixels, 6)))


def _dataset(pixels: Any, like: xr.DataArray, geobox: GeoBox) -> xr.Dataset:
    layers = dict(zip(NAMES, pixels, strict=True))
    probability = xr.DataArray(layers["probability"].astype(np.float64), dims=like.dims[1:])
    arrays = {
        "class": xr.DataArray(layers["class"].astype(np.uint8), dims=like.dims[1:]),
        "probability": probability.where(probability != NO_PROBABILITY) * (1 / PROBABILITY_SCALE),
        "valid": xr.DataArray(layers["valid"].astype(bool), dims=like.dims[1:]),
        "reason": xr.DataArray(layers["reason"].astype(np.uint8), dims=like.dims[1:]),
    }
    dataset = xr.Dataset(arrays, {dim: like[dim] for dim in like.dims[1:]})
    assert geobox.crs is not None
    placed = dataset.rio.write_crs(geobox.crs.to_wkt()).rio.write_transform(geobox.transform)
    placed["class"] = placed["class"].rio.write_nodata(NO_DECISION)
    return placed
