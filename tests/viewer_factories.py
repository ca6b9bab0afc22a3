"""Maps for the viewer, written as infer-region writes them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.products.bundle import write_products
from noise2map_core.settings.products import ProductsConfig
from tests.map_factories import blobs, subject_of, write_mosaic
from tests.raster_factories import frame, write_tif


def write_view(folder: Path, side: int, sigma: float, name: str = "somewhere") -> Path:
    """The folder of a map of `side`² pixels: blobs of the size `sigma`, a cloud at each date, and
    imagery that is as smooth as the ground is."""
    output = folder / "map"
    output.mkdir(parents=True)
    classes = blobs(side, side, sigma=sigma)
    mosaic = write_mosaic(
        output / "mosaic.zarr",
        classes,
        tile_px=64 if side < 1000 else 512,
        reasons=_clouds(classes),
    )
    subject = subject_of(folder / "scenes", side, side, name=name)
    for year in (2020, 2021):
        for band in range(2):
            pixels = _ground(side, seed=year + band)
            write_tif(folder / "scenes" / f"{year}-{band}.tif", pixels, frame(side, side))
    write_products(mosaic, subject, ProductsConfig())
    return output


def _clouds(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reasons: cloud before where nothing is decided, and cloud after at the left edge."""
    reasons = np.where(classes == 255, 4, 0).astype(np.uint8)
    side = len(classes)
    reasons[side // 2 : side // 2 + side // 10, : side // 10] = 5
    return reasons


def _ground(side: int, seed: int) -> NDArray[np.uint16]:
    rough = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    smooth = ndimage.gaussian_filter(rough, 6)
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) / (high - low) * 2000 + 200).astype(np.uint16)
