"""Miniature folders in the layouts of the published data sets."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image

from noise2map_core.datasets.spacenet7 import SPLITS
from noise2map_core.datasets.xview2 import WITHOUT_MASK

Pixels = NDArray[Any]

MONTHS = ((2018, 11), (2018, 12), (2019, 1), (2019, 2))
"""Of every area; the second has clouds, the last one no footprints."""


def picture(height: int, width: int, seed: int, bands: int = 3) -> Pixels:
    """uint8 [H, W, band] without a pattern."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)


def mask(height: int, width: int, seed: int) -> Pixels:
    """uint8 [H, W] 0 or 255, in blocks of 4 pixels."""
    small = np.random.default_rng(seed).integers(0, 2, (-(-height // 4), -(-width // 4)))
    return (255 * np.kron(small, np.ones((4, 4)))[:height, :width]).astype(np.uint8)


def save(path: Path, pixels: Pixels) -> Path:
    """An image in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_tif(path: Path, pixels: Pixels) -> Path:
    """A georeferenced GeoTIFF of [H, W] or [H, W, band], as SpaceNet 7 has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = np.atleast_3d(pixels).transpose(2, 0, 1)
    profile = {
        "driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2],
        "dtype": "uint8", "crs": "EPSG:3857", "compress": "lzw",
        "transform": rasterio.Affine(4.777, 0, -1.3e7, 0, -4.777, 3.9e6),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(bands)
    return path


def write_spacenet7(root: Path, height: int = 24, width: int = 24) -> Path:
    """All areas of the splits, four months each; the last 5 rows of each image are transparent."""
    metadata: dict[str, Any] = {}
    for number, area in enumerate(area for areas in SPLITS.values() for area in areas):
        metadata[area] = []
        for date, (year, month) in enumerate(MONTHS):
            name = f"global_monthly_{year}_{month:02d}_mosaic_{area}"
            image = picture(height, width, 10 * number + date, bands=4)
            image[..., 3] = 255
            image[-5:] = 0
            folder = root / "train" / area
            save_tif(folder / "images_masked" / f"{name}.tif", image)
            labelled = date < len(MONTHS) - 1
            if labelled:
                label = mask(height, width, 10 * number + date)
                save_tif(folder / "labels_raster" / f"{name}_Buildings.tif", label)
            entry = {"aoi_id": area, "year": year, "month": month}
            metadata[area].append({**entry, "mask": date == 1, "label": labelled})
    (root / "metadata_train.json").write_text(json.dumps(metadata))
    return root


def write_pairs(
    root: Path,
    counts: dict[str, int],
    *,
    label: str = "label",
    px: int = 16,
    empty: Iterable[str] = (),
    suffix: str = "png",
) -> Path:
    """{split}/{A,B,label}/N.png; the masks of `empty` ("test/2") are without change."""
    for split, count in counts.items():
        for number in range(1, count + 1):
            seed = 1000 * len(split) + 10 * number
            for date, folder in enumerate(("A", "B")):
                save(root / split / folder / f"{number}.{suffix}", picture(px, px, seed + date))
            change = mask(px, px, seed)
            change[0, 0], change[-1, -1] = 0, 255
            if f"{split}/{number}" in set(empty):
                change[:] = 0
            save(root / split / label / f"{number}.{suffix}", change)
    return root


def write_whu_segment(root: Path, counts: dict[str, int], px: int = 512) -> Path:
    """{split}/{Image,Mask}/N.tif."""
    for split, count in counts.items():
        for number in range(1, count + 1):
            seed = 1000 * len(split) + number
            save(root / split / "Image" / f"{number}.tif", smooth(px, seed))
            save(root / split / "Mask" / f"{number}.tif", mask(px, px, seed))
    return root


def smooth(px: int, seed: int) -> Pixels:
    """An RGB image without sharp edges, on which ways of resampling agree."""
    small = Image.fromarray(picture(px // 32, px // 32, seed))
    return np.asarray(small.resize((px, px), Image.Resampling.BICUBIC))


def write_xview2(root: Path, prefix: str = "", px: int = 512) -> Path:
    """Each split: three numbers with mask, and those that have none, as pairs before and after."""
    for split, without in WITHOUT_MASK.items():
        event = root / split / "xBD" / "santa-rosa-wildfire"
        for number in ["00000001", "00000002", "00000010", *sorted(without)]:
            stem = f"{prefix}{number}"
            for date, when in enumerate(("pre", "post")):
                image = smooth(px, int(number) + 500 * date)
                save(event / "images" / f"{stem}_{when}_disaster.png", image)
                if number not in without:
                    masked = mask(px, px, int(number) + 7 * date)
                    save(event / "masks" / f"{stem}_{when}_disaster.png", masked)
    return root
