"""Regions of any size for benchmarks: invented scenes of two dates, a network that maps them."""

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pystac
import rasterio
import shapely
import torch
import yaml
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.windows import Window
from scipy import ndimage

from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import Normalisation
from noise2map_core.settings.diffusion import DiffusionConfig, SwappedPairCorruption
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from tests.factories import checkpoint_spec
from tests.raster_factories import CRS, ORIGIN

CHECKOUT = Path(__file__).parents[1]
BANDS = ("green", "red")
DATES = {
    "before": datetime(2020, 6, 1, 10, tzinfo=UTC),
    "after": datetime(2021, 6, 1, 10, tzinfo=UTC),
}
COLLECTION = "invented"
GROUND_PX, CHANGE_PX = 1237, 1531
"""Periods of the ground and of its changes: no divisors of tiles, so that edges cut both in ever
other places, and unlike, so that no place is as another."""
STRIP_PX = 2048


@dataclass(frozen=True)
class Change:
    """How much of the ground changes."""

    blob_px: float = 6.0
    """Of the blobs that changes are."""
    share: float = 0.02
    stretch: float = 1.0
    """How much longer than wide the blobs are: long ones cross more edges of tiles."""


@lru_cache
def ground() -> NDArray[np.uint8]:
    """[band, row, col] on a torus, 60 to 140."""
    rng = np.random.default_rng(0)
    rough = rng.normal(size=(len(BANDS), GROUND_PX, GROUND_PX))
    smooth = ndimage.gaussian_filter(rough, (0, 12, 12), mode="wrap")
    smooth += 0.5 * ndimage.gaussian_filter(rough, (0, 2, 2), mode="wrap") * smooth.std()
    return np.clip(100 + 14 * smooth / smooth.std(), 60, 140).astype(np.uint8)


@lru_cache
def changes(change: Change) -> NDArray[np.bool_]:
    """[row, col] on a torus: what changes between the dates."""
    rough = np.random.default_rng(1).normal(size=(CHANGE_PX, CHANGE_PX))
    width = change.blob_px, change.blob_px * change.stretch
    smooth = ndimage.gaussian_filter(rough, width, mode="wrap")
    return np.asarray(smooth > np.quantile(smooth, 1 - change.share))


def pixels(window: Window, date: str, change: Change) -> NDArray[np.uint8]:
    """[band, row, col] of one date in a window of the scene."""
    rows = np.arange(window.row_off, window.row_off + window.height)
    cols = np.arange(window.col_off, window.col_off + window.width)
    picture = ground()[:, (rows % GROUND_PX)[:, None], cols % GROUND_PX]
    if date == "after":
        there = changes(change)[(rows % CHANGE_PX)[:, None], cols % CHANGE_PX]
        picture = picture + np.where(there, 70, 4).astype(np.uint8)
    return picture


def write_scenes(
    folder: Path, size: int, change: Change, bands: Sequence[str] = BANDS, dtype: str = "uint8"
) -> Path:
    """Scenes of size x size pixels, a static catalogue and an area, `area.geojson`, that holds
    them all. Returns the catalogue's path.

    Numbers of uint16 are those of uint8 twelvefold, with noise of each band's own.
    """
    jobs = [
        (folder / f"{date}-{band}.tif", size, date, number, change, dtype)
        for date in DATES
        for number, band in enumerate(bands)
    ]
    folder.mkdir(parents=True)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write_band, *zip(*jobs, strict=True)))
    outline = _frame(size).geographic_extent.geom
    (folder / "area.geojson").write_text(shapely.to_geojson(outline))
    return _write_catalog(folder, size, outline, bands)


def _frame(size: int) -> GeoBox:
    affine = rasterio.Affine(10.0, 0, ORIGIN[0], 0, -10.0, ORIGIN[1])
    return GeoBox((size, size), affine, CRS)


def _write_band(path: Path, size: int, date: str, band: int, change: Change, dtype: str) -> None:
    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": dtype, "nodata": 0,
        "crs": CRS, "transform": _frame(size).affine, "tiled": True, "blockxsize": 512,
        "blockysize": 512, "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        for row in range(0, size, STRIP_PX):
            strip = Window(0, row, size, min(STRIP_PX, size - row))
            numbers = pixels(strip, date, change)[band % len(BANDS)]
            if dtype == "uint16":
                rng = np.random.default_rng((row, band, int(date == "after")))
                numbers = numbers * np.uint16(12) + rng.integers(0, 60, numbers.shape, np.uint16)
            file.write(numbers, 1, window=strip)
    levels = [2**n for n in range(1, 12) if size / 2**n > 256]
    with rasterio.open(path, "r+") as file:
        file.build_overviews(levels, Resampling.nearest)


def _write_catalog(
    folder: Path, size: int, outline: shapely.Geometry, bands: Sequence[str]
) -> Path:
    extent = pystac.Extent(
        pystac.SpatialExtent([list(outline.bounds)]), pystac.TemporalExtent([list(DATES.values())])
    )
    collection = pystac.Collection(COLLECTION, "Invented scenes", extent, license="CC0-1.0")
    for date, when in DATES.items():
        properties = {
            "proj:code": CRS, "proj:shape": [size, size],
            "proj:transform": list(_frame(size).affine)[:6],
        }  # fmt: skip
        geometry, bounds = shapely.geometry.mapping(outline), list(outline.bounds)
        item = pystac.Item(f"scene-{date}", geometry, bounds, when, properties)
        for band in bands:
            fields = {"file:checksum": f"1220{date}{band}{size}".encode().hex(), "nodata": 0}
            path = str(folder / f"{date}-{band}.tif")
            item.add_asset(band, pystac.Asset(path, roles=["data"], extra_fields=fields))
        collection.add_item(item)
    catalog = pystac.Catalog("bench", "Invented scenes")
    catalog.add_child(collection)
    catalog.normalize_and_save(str(folder / "stac"), pystac.CatalogType.SELF_CONTAINED)
    return folder / "stac" / "catalog.json"


def train_checkpoint(
    path: Path,
    change: Change,
    preset: str,
    chip_px: int = 128,
    stride_px: int = 64,
    steps: int = 80,
) -> None:
    """A network that has learnt these changes in a minute, or little in fewer `steps`; preset
    "cheap" costs almost nothing."""
    named = {} if preset == "cheap" else {"network": network_of(preset, chip_px), "preset": preset}
    spec = checkpoint_spec(
        bands=BANDS, chip_px=chip_px, stride_px=stride_px, value_range=(0.0, 255.0),
        normalisation=Normalisation(mean=((100.0,) * 2,) * 2, std=((30.0,) * 2,) * 2), **named,
    )  # fmt: skip
    noise = DiffusionConfig(corruption=SwappedPairCorruption())
    config = TrainingConfig(
        epochs=1, learning_rate=5e-3, ema_decay=0.9, jitter=0.0, flips=False, context_dropout=0.0
    )
    model = new_model(spec, 0, torch.device("cpu"))
    task = {"change": TaskTrainingConfig(diffusion=noise)}
    learner = Learner(model, config, task, {"change": (1.0, 1.0)}, seed=0)
    rng = np.random.default_rng(2)
    for step in range(steps):
        learner.step({"change": _batch(learner, rng, change)}, 0, step, steps, Ranks())
    save_checkpoint(learner.averaged, spec, path, "# invented\n")


def _batch(learner: Learner, rng: np.random.Generator, change: Change) -> TrainingBatch:
    windows = [Window(*rng.integers(0, 10**6, 2).tolist(), 64, 64) for _ in range(8)]
    image = np.stack([np.concatenate([pixels(w, d, change) for d in DATES]) for w in windows])
    label = np.stack([_truth(w, change) for w in windows]).astype(np.int64)
    x_0 = learner.model.normalise(torch.from_numpy(image), task="change")
    valid = torch.ones(label.shape, dtype=torch.bool)
    return TrainingBatch(x_0, torch.from_numpy(label), valid, rng.integers(0, 10**6, (8, 2)))


def _truth(window: Window, change: Change) -> NDArray[np.bool_]:
    rows = np.arange(window.row_off, window.row_off + window.height) % CHANGE_PX
    cols = np.arange(window.col_off, window.col_off + window.width) % CHANGE_PX
    return changes(change)[np.ix_(rows, cols)]


def infer_command(
    folder: Path,
    checkpoint: Path,
    output: Path,
    settings: dict[str, object] | None = None,
    bands: Sequence[str] = (),
) -> list[str]:
    """The command that maps the scenes in `folder`, with further `settings`, as YAML has them;
    `bands` are for detectors, which know none."""
    search = {"catalog": str(folder / "stac" / "catalog.json"), "collection": COLLECTION}
    config = {
        "aoi": str(folder / "area.geojson"),
        "search": {**search, "bands": list(bands)} if bands else search,
        "before": "2020", "after": "2021", "checkpoint": str(checkpoint), "output": str(output),
        "resources": {"num_cpus": 2, "predictors": 2}, **(settings or {}),
    }  # fmt: skip
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    return [sys.executable, str(CHECKOUT / "pipelines" / "infer_region.py"), str(path)]
