"""Images without labels, to pretrain on: files in a folder or in a tar."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from noise2map_core.datasets.images import GDAL_SETTINGS, ImageInfo, open_image
from noise2map_core.datasets.sample import IMAGE_DRIVERS
from noise2map_core.runtime.errors import AssetReadError, ConfigError


@dataclass(frozen=True)
class ImageFiles:
    """Image files of the same number of bands and the same dtype. Picklable."""

    names: tuple[str, ...]
    """What GDAL opens, sorted."""
    num_bands: int
    """Without transparency."""
    bytes: int
    """Size of all files, or of the tar."""

    def read(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers [band, H, W], and where they were observed [H, W]. Raises AssetReadError."""
        with _opened(self.names[number]) as file:
            image = file.read(list(range(1, self.num_bands + 1)))
            observed = file.dataset_mask() > 0
        if np.issubdtype(image.dtype, np.floating):
            observed &= np.isfinite(image).all(axis=0)
        return image, observed


def find_images(root: Path, least_px: int) -> ImageFiles:
    """All images under a folder, or in a tar, at least `least_px` wide and high.

    Raises ConfigError if there is none, or if one is smaller or of another kind than the first;
    AssetReadError if one cannot be opened.
    """
    names = _names(root)
    if not names:
        kinds = ", ".join(sorted(IMAGE_DRIVERS))
        raise ConfigError(f"{root} holds no image ({kinds}). Set images.root to where there are.")
    first = _inspect(names[0])
    for name in names:
        found = _inspect(name)
        if min(found.shape) < least_px:
            raise ConfigError(
                f"image {name} has {found.shape[1]} x {found.shape[0]} pixels, a chip has "
                f"{least_px} x {least_px}. Lower images.chip_px, or leave the image out."
            )
        if (found.count, found.dtype) != (first.count, first.dtype):
            raise ConfigError(
                f"image {name} has {found.count} bands of {found.dtype}, {names[0]} has "
                f"{first.count} of {first.dtype}. Pretrain on images of one kind."
            )
    files = [root] if root.is_file() else [Path(name) for name in names]
    return ImageFiles(names, first.count, sum(file.stat().st_size for file in files))


def _names(root: Path) -> tuple[str, ...]:
    """What GDAL calls the images under `root`, sorted."""
    if root.is_dir():
        return tuple(
            sorted(str(path.resolve()) for path in root.rglob("*") if _is_image(path.name))
        )
    try:
        with tarfile.open(root, "r:") as archive:  # of a compressed one no part can be read alone
            members = [member.name for member in archive if member.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise ConfigError(
            f"{root} is neither a folder nor a plain tar ({error}). Unpack it, and set images.root "
            "to the folder."
        ) from error
    return tuple(sorted(f"/vsitar/{root.resolve()}/{one}" for one in members if _is_image(one)))


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_DRIVERS


def _inspect(name: str) -> ImageInfo:
    with _opened(name) as file:
        transparent = file.colorinterp[-1] == ColorInterp.alpha
        return ImageInfo(file.shape, file.count - transparent, file.dtypes[0])


@contextmanager
def _opened(name: str) -> Iterator[DatasetReader]:
    try:
        with rasterio.Env(**GDAL_SETTINGS), open_image(name) as file:
            yield file
    except RasterioError as error:
        reason = " ".join(str(error).split())
        raise AssetReadError(f"image {name} cannot be read ({reason}). Fetch it anew.") from error
