"""Images and masks of data sets: files without a place on the map, read as they are."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from noise2map_core.datasets.sample import IMAGE_DRIVERS, MaskRule
from noise2map_core.rasters.files import require_self_contained
from noise2map_core.runtime.errors import AssetReadError, ConfigError

RGB = (1, 2, 3)
RGBA_COUNT = 4

GDAL_SETTINGS = {
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",  # that path reads a truncated PNG as zeros, without error
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
}

_warnings = Lock()
"""Python's warning filters are one for all threads."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a file says of itself."""

    shape: tuple[int, int]
    """Height, width."""
    count: int
    dtype: str


def inspect_image(path: Path) -> ImageInfo:
    """Size, bands and dtype of a file. Raises AssetReadError naming it."""
    with _opened(path) as file:
        return ImageInfo(file.shape, file.count, file.dtypes[0])


def read_rgb(path: Path, resize_px: int | None, resampling: str) -> NDArray[Any]:
    """[3, H, W] in the file's numbers; an alpha band is left out. Raises AssetReadError."""
    size = resize_px and (len(RGB), resize_px, resize_px)
    with _opened(path) as file:
        return file.read(RGB, out_shape=size, resampling=Resampling[resampling])


def read_observed(path: Path, resize_px: int | None) -> NDArray[np.bool_]:
    """[H, W], False where the file is transparent or nodata. Raises AssetReadError."""
    size = resize_px and (resize_px, resize_px)
    with _opened(path) as file:
        if file.count == RGBA_COUNT:
            return file.read(RGBA_COUNT, out_shape=size) > 0
        return file.dataset_mask(out_shape=size) > 0


def read_mask(path: Path, rule: MaskRule, resize_px: int | None = None) -> NDArray[np.uint8]:
    """[H, W] 1 where a mask says yes, else 0; resized by nearest pixel.

    Raises AssetReadError, and ConfigError for values that the rule does not know.
    """
    size = resize_px and (resize_px, resize_px)
    with _opened(path) as file:
        values = file.read(1, out_shape=size, resampling=Resampling.nearest)
    if rule.values and (strange := np.setdiff1d(values, rule.values)).size:
        raise ConfigError(
            f"mask {path} holds {', '.join(map(str, strange[:5]))}; masks of this data set hold "
            f"{', '.join(map(str, rule.values))} and nothing else. Mend the file."
        )
    return (values > rule.threshold).astype(np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[DatasetReader]:
    if not path.is_file():
        raise AssetReadError(f"file {path} is missing. Fetch it anew, or set dataset.root.")
    try:
        with rasterio.Env(**GDAL_SETTINGS), open_image(str(path)) as file:
            yield file
    except RasterioError as error:
        reason = " ".join(str(error).split())
        raise AssetReadError(f"file {path} cannot be read ({reason}). Fetch it anew.") from error


def open_image(name: str) -> DatasetReader:
    """A file by the name that GDAL knows it by, without a warning that it lies nowhere."""
    with _warnings, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(name, driver=IMAGE_DRIVERS[Path(name).suffix.lower()])
        require_self_contained(file)
        return file
