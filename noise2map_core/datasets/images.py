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

from noise2map_core.datasets.resizing import Sizing
from noise2map_core.datasets.sample import IMAGE_DRIVERS
from noise2map_core.geo.window import Window
from noise2map_core.rasters.files import require_self_contained
from noise2map_core.runtime.errors import AssetReadError

RGB = (1, 2, 3)
RGBA_COUNT = 4

AS_IT_IS = Sizing()

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


def read_rgb(path: Path, sizing: Sizing = AS_IT_IS, window: Window | None = None) -> NDArray[Any]:
    """[3, H, W] in the file's numbers; an alpha band is left out. Raises AssetReadError."""
    pixels = _read(path, RGB, sizing, sizing.resampling, window)
    return pixels if sizing.by == "gdal" else sizing.image(pixels)


def read_grey(path: Path, sizing: Sizing = AS_IT_IS, window: Window | None = None) -> NDArray[Any]:
    """[H, W] the first band, of the nearest pixels; as it is where another program resizes it.

    Raises AssetReadError.
    """
    return _read(path, (1,), sizing, "nearest", window)[0]


def _read(
    path: Path, bands: tuple[int, ...], sizing: Sizing, resampling: str, window: Window | None
) -> NDArray[Any]:
    size = (len(bands), sizing.px, sizing.px) if sizing.px and sizing.by == "gdal" else None
    with _opened(path) as file:
        return file.read(
            bands, out_shape=size, resampling=Resampling[resampling], window=_rows_cols(window)
        )


def read_observed(path: Path, px: int | None, window: Window | None = None) -> NDArray[np.bool_]:
    """[H, W], False where the file is transparent or nodata. Raises AssetReadError."""
    size = px and (px, px)
    with _opened(path) as file:
        if file.count == RGBA_COUNT:
            return file.read(RGBA_COUNT, out_shape=size, window=_rows_cols(window)) > 0
        return file.dataset_mask(out_shape=size, window=_rows_cols(window)) > 0


def _rows_cols(window: Window | None) -> tuple[tuple[int, int], tuple[int, int]] | None:
    if window is None:
        return None
    return (window.row, window.row_stop), (window.col, window.col_stop)


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
