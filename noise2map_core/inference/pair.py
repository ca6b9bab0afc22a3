"""A pair of images in memory, or one, mapped by the code of the pipeline: for notebooks."""

import copy
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import is_dask_collection
from dask.delayed import delayed
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.detectors.compared import ComparedSpec, comparing
from noise2map_core.detectors.spec import MapTask
from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.imagery.pair_quality import spread_windows
from noise2map_core.inference.decision import decide
from noise2map_core.inference.images import (
    Pixels,
    anchored,
    as_image,
    common_place,
    observed,
    require_fit,
)
from noise2map_core.inference.networks.compiled import settled
from noise2map_core.inference.networks.predictor import Predictor
from noise2map_core.inference.networks.two_maps import ComparingPredictor
from noise2map_core.inference.numeric_path import NumericPath, resolve_numeric_path
from noise2map_core.inference.planning import require_settings
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
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import CheckpointSpec, read_spec
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.network import Task

NAMES = ("class", "probability", "valid", "reason")
_ONE_AT_A_TIME = threading.Lock()
"""dask calls from several threads: one loads the model, and one computes with its torch threads."""


def predict_pair(
    before: Pixels,
    after: Pixels,
    checkpoint: Path | str | Noise2Map,
    *,
    inference: InferenceConfig | None = None,
    tile_px: int = 512,
) -> xr.Dataset:
    """The change map of two images: what infer-region writes for them, to the bit.

    `before` and `after` [band, y, x] hold raw numbers, bands in the checkpoint's order: xarray's on
    one north-up grid in metres, which rioxarray or odc-geo can tell, or plain arrays of one size,
    whose pixels are taken to have a side that the checkpoint accepts. Not observed: NaN, infinity,
    what is masked, and of xarray's the values of `_FillValue` and `nodata`. `checkpoint`: a
    directory, the name of one that ships, or a model as it is now, which may be in training and is
    copied. Gives variables class (uint8, 255 no decision), probability (0–1, NaN where none), valid
    and reason [y, x], as `open_mosaic` does; of xarray's with CRS and transform: each can be
    written by `.rio.to_raster("change.tif")`. Lazy if an image is backed by dask: each tile of
    `tile_px` x `tile_px` pixels, infer-region's `grid.tile_px`, is a task of its own. Where the
    checkpoint's maps of the dates are compared (`inference.compare`), classes are kinds of change,
    "CLASS to CLASS". What classes are called stands in the attributes of `class`. Sets torch in
    this process to `inference.threads` threads and to deterministic algorithms.

    Raises ConfigError for images that do not fit each other, CheckpointError for images that do not
    fit the checkpoint.
    """
    return _predict({"before": before, "after": after}, checkpoint, "change", inference, tile_px)


def predict_image(
    image: Pixels,
    checkpoint: Path | str | Noise2Map,
    *,
    inference: InferenceConfig | None = None,
    tile_px: int = 512,
) -> xr.Dataset:
    """The classes of one image [band, y, x]: what infer-region writes for it with `task` segment.

    All else is as in `predict_pair`; probability is that of the class that was decided. Raises
    CheckpointError for a checkpoint that does not segment.
    """
    return _predict({"image": image}, checkpoint, "segment", inference, tile_px)


def _predict(
    given: Mapping[str, Pixels],
    checkpoint: Path | str | Noise2Map,
    task_name: Task,
    inference: InferenceConfig | None,
    tile_px: int,
) -> xr.Dataset:
    place, network = common_place(given), _Network.of(checkpoint)
    images, config = [as_image(one) for one in given.values()], inference or InferenceConfig()
    spec = network.spec
    asked = comparing(spec, task_name, config.compare)
    task, compared = asked.task(task_name), isinstance(asked, ComparedSpec)
    by: Task = "segment" if compared else task_name
    require_settings(config, spec, by)
    require_fit(dict(zip(given, images, strict=True)), place, spec, network.name)
    timesteps = config.timesteps or spec.task(by).inference_timesteps
    path = resolve_numeric_path(config, gpus=1 if config.device == "cuda" else 0)
    if path.engine:
        path = settled(path, spec, by, timesteps, network.load, network.place)
    job = _Job(
        network, by, task, anchored(place, images[0]),
        ChipLattice(spec.chip_px, config.stride_px or spec.stride_px), timesteps, path,
        _light(spec, by, images), compared,
    )  # fmt: skip
    pixels = _layers(job, images, tile_px)
    if not any(is_dask_collection(one.data) for one in images):
        pixels = pixels.compute()
    made = _dataset(pixels, images[0], place)
    made["class"].attrs |= class_flags(class_table(task))
    return made


@dataclass(frozen=True)
class _Network:
    """What makes the map: a checkpoint, loaded when it is needed, or a copy of a model."""

    place: Path | None
    """Directory of the checkpoint."""
    digest: str
    """Of spec and weights: equal ones make the same map."""
    spec: CheckpointSpec = field(compare=False, repr=False)
    model: Noise2Map | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, checkpoint: Path | str | Noise2Map) -> "_Network":
        if not isinstance(checkpoint, Noise2Map):
            place = checkpoint_folder(checkpoint)
            spec = read_spec(place)
            require_loadable(place, spec)
            return cls(place, spec.digest, spec)
        spec = checkpoint.spec.model_copy(update={"weights_sha256": _weights_digest(checkpoint)})
        return cls(None, spec.digest, spec, copy.deepcopy(checkpoint))

    @property
    def name(self) -> str:
        """For people."""
        return "in memory" if self.place is None else str(self.place)

    def __dask_tokenize__(self) -> str:
        return self.digest

    def load(self) -> Noise2Map:
        """Raises CheckpointError for a checkpoint that was trained again since."""
        if self.place is None:
            assert self.model is not None
            return self.model
        model = load_checkpoint(self.place)
        if model.spec.digest != self.digest:
            raise CheckpointError(f"checkpoint {self.place} was replaced meanwhile. Predict again.")
        return model


def _weights_digest(model: Noise2Map) -> str:
    """SHA-256 of the weights as they are."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Job:
    """What is alike for all tiles."""

    network: _Network
    by: Task
    """The network's task; where its maps are compared, not that of the map."""
    task: MapTask
    frame: Window
    """The images' place on the lattice of their CRS."""
    lattice: ChipLattice
    timesteps: tuple[int, ...]
    path: NumericPath
    light: SceneLight | None
    compared: bool
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
                self.network, self.by, self.lattice, self.timesteps, self.path, self.light,
                self.compared,
            )  # fmt: skip
            said = predictor.predict(image, valid, core, inside & at_core.all(axis=0))
        decided = decide(said.verdict, at_core, inside, direction=said.direction).arrays()
        layers = np.stack([decided[name].astype(np.uint16) for name in NAMES])
        return np.asarray(layers[:, *core.intersect(self.frame).slices_in(core)])


@lru_cache(maxsize=2)
def _predictor(
    network: _Network,
    by: Task,
    lattice: ChipLattice,
    timesteps: tuple[int, ...],
    path: NumericPath,
    light: SceneLight | None,
    compared: bool,
) -> TilePredictor:
    model = network.load()
    predictor = Predictor(
        model, path, lattice, timesteps, by, light=light, checkpoint=network.place
    )
    if not compared:
        return predictor
    return ComparingPredictor(predictor, ComparedSpec(model.spec).tasks["change"])


def _light(spec: CheckpointSpec, task: Task, images: list[xr.DataArray]) -> SceneLight | None:
    """Of each image, where the network normalises by scene: as of a region of its extent."""
    if spec.tasks[task].normalisation.of == "training":
        return None
    frame = Window(0, 0, *images[0].shape[1:])
    windows = [
        [_seen(image[:, *window.slices_in(frame)]) for image in images]
        for window in spread_windows(frame, SAMPLE)
    ]
    return scene_light(windows, with_alteration=spec.sees_alteration(task))


def _seen(part: xr.DataArray) -> DateWindow:
    return np.asarray(part.data), np.asarray(observed(part).data)


def _layers(job: _Job, images: list[xr.DataArray], tile_px: int) -> da.Array:
    """The four layers [layer, y, x], uint16, a task for each tile."""
    image = da.stack([da.asarray(one.data) for one in images])
    valid = da.stack([da.asarray(observed(one).data) for one in images])
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


def _padded(values: NDArray[Any], window: Window, frame: Window) -> NDArray[Any]:
    """`values` [..., H, W] of `window` within `frame`; zero elsewhere."""
    padded = np.zeros((*values.shape[:-2], frame.height, frame.width), values.dtype)
    shared = window.intersect(frame)
    padded[..., *shared.slices_in(frame)] = values[..., *shared.slices_in(window)]
    return padded


def _dataset(pixels: Any, like: xr.DataArray, place: GeoBox | None) -> xr.Dataset:
    layers = dict(zip(NAMES, pixels, strict=True))
    probability = xr.DataArray(layers["probability"].astype(np.float64), dims=like.dims[1:])
    arrays = {
        "class": xr.DataArray(layers["class"].astype(np.uint8), dims=like.dims[1:]),
        "probability": probability.where(probability != NO_PROBABILITY) * (1 / PROBABILITY_SCALE),
        "valid": xr.DataArray(layers["valid"].astype(bool), dims=like.dims[1:]),
        "reason": xr.DataArray(layers["reason"].astype(np.uint8), dims=like.dims[1:]),
    }
    dataset = xr.Dataset(arrays, {d: like[d] for d in like.dims[1:] if d in like.coords})
    if place is None:
        return dataset
    assert place.crs is not None
    placed = dataset.rio.write_crs(place.crs.to_wkt()).rio.write_transform(place.transform)
    placed["class"] = placed["class"].rio.write_nodata(NO_DECISION)
    return placed
