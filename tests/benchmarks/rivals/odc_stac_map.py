"""What a user would write instead of `infer-region`: odc-stac, whole arrays, a loop over chips.

    python odc_stac_map.py SCENES CHECKPOINT OUTPUT

Prints the seconds that it took, without imports.
"""

import json
import sys
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import odc.stac
import pystac
import rasterio.features
import rioxarray  # noqa: F401  (registers .rio)
import torch
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_zeros
from shapely.geometry import shape

from noise2map_core import load_checkpoint
from noise2map_core.models.noise2map import Noise2Map

BATCH = 16


def main() -> None:
    """Load both dates, predict chips with half their edge cut off, and write map and polygons."""
    scenes, checkpoint, output = map(Path, sys.argv[1:])
    started = time.perf_counter()
    catalog = pystac.Catalog.from_file(str(scenes / "stac" / "catalog.json"))
    items = sorted(catalog.get_items(recursive=True), key=lambda item: item.datetime)
    model = load_checkpoint(checkpoint).eval()
    spec = model.spec
    data = odc.stac.load(items, bands=list(spec.bands), resolution=10, crs="EPSG:32633")
    image = np.stack([data[band].values for band in spec.bands], axis=1)
    pair = image.reshape(-1, *image.shape[2:])
    probability = predict(model, pair, spec.chip_px, spec.stride_px)
    classes = (probability >= spec.tasks["change"].decided_from).astype(np.uint8)
    write(data.odc.geobox, classes, probability, output)
    print(json.dumps({"seconds": time.perf_counter() - started}))


@torch.inference_mode()
def predict(model: Noise2Map, pair: np.ndarray, chip: int, stride: int) -> np.ndarray:
    """Mean of the probabilities of overlapping chips."""
    height, width = pair.shape[1:]
    starts = [(r, c) for r in _starts(height, chip, stride) for c in _starts(width, chip, stride)]
    total, count = np.zeros((2, height, width), np.float32)
    timestep = model.spec.tasks["change"].inference_timesteps[0]
    for first in range(0, len(starts), BATCH):
        part = starts[first : first + BATCH]
        chips = np.stack([pair[:, r : r + chip, c : c + chip] for r, c in part])
        logits = model.logits(torch.from_numpy(chips), timestep)
        for (r, c), values in zip(part, logits.softmax(dim=1)[:, 1].numpy(), strict=True):
            total[r : r + chip, c : c + chip] += values
            count[r : r + chip, c : c + chip] += 1
    return total / count


def _starts(length: int, chip: int, stride: int) -> list[int]:
    return [*range(0, length - chip, stride), length - chip]


def write(geobox: GeoBox, classes: np.ndarray, probability: np.ndarray, output: Path) -> None:
    """Two COGs and the polygons."""
    output.mkdir()
    for name, values in (("change", classes), ("probability", (100 * probability).astype("uint8"))):
        raster = xr_zeros(geobox, dtype="uint8")
        raster.values[:] = values
        raster.rio.to_raster(output / f"{name}.tif", driver="COG", compress="deflate")
    shapes = rasterio.features.shapes(classes, classes == 1, transform=geobox.affine)
    polygons = [shape(geometry) for geometry, _ in shapes]
    frame = gpd.GeoDataFrame(geometry=polygons, crs=str(geobox.crs))
    frame["area_m2"] = frame.to_crs("ESRI:54034").area
    frame.to_parquet(output / "polygons.parquet")


if __name__ == "__main__":
    main()
