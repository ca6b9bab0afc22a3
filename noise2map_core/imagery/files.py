"""Opening raster files: GDAL's settings, handles kept open, errors that name the file."""

import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import Interleaving
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from noise2map_core.catalog.access import WEB, Grant, grant_for, require_safe
from noise2map_core.catalog.buckets import bucket_settings
from noise2map_core.catalog.scene import BandSource
from noise2map_core.errors import AssetReadError
from noise2map_core.geo.turns import has_place, moved

P = ParamSpec("P")
T = TypeVar("T")

DRIVER = "GTiff"
"""Only GeoTIFF, COG or not: a JPEG or a VRT under the name of a .tif is refused, not guessed at."""

GDAL_SETTINGS: dict[str, str | int] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_NUM_THREADS": "1",
    "GDAL_CACHEMAX": 64 << 20,  # of every reader: a window of 1024 pixels, eight bands, two bytes
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": 2 << 20,  # of every open file; GDAL's own 25 MB would come to gigabytes
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_TIMEOUT": "60",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",  # else a failure is remembered, and a retry not sent
}
MAX_OPEN_FILES = 64
MAX_BLOCK_BYTES = 1 << 30
"""Decoded. Compressed, a block of any size may be a few bytes."""
ATTEMPTS = 4
FIRST_PAUSE_S = 0.5

_PASSING = re.compile(
    r"\b(429|50[0234])\b|reset|timed out|timeout|empty reply|connection (was )?(closed|aborted)"
    r"|could ?n.t connect|transfer closed|end of file|broken pipe",
    re.IGNORECASE,
)
"""Failures of the web that may be gone a second later."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a file says of one of its bands."""

    crs: str
    """"EPSG:…" where the CRS has a code, else WKT."""
    transform: rasterio.Affine
    shape: tuple[int, int]
    """Height, width."""
    dtype: str
    nodata: float | None
    """The item's nodata if it states one, else the file's; None too if the dtype cannot hold it."""

    @property
    def geobox(self) -> GeoBox:
        """The file's grid."""
        return GeoBox(self.shape, self.transform, self.crs)


def persistent(read: Callable[P, T]) -> Callable[P, T]:
    """`read`, tried again after failures that pass, with a growing pause."""

    @wraps(read)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, ATTEMPTS):
            try:
                return read(*args, **kwargs)
            except AssetReadError as error:
                if not _PASSING.search(_text(error.__cause__)):
                    raise
                time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
        return read(*args, **kwargs)

    return wrapped


@lru_cache(maxsize=4096)
@persistent
def inspect(source: BandSource) -> SourceInfo:
    """Grid, dtype and nodata of a band, from its file. Raises AssetReadError naming the file."""
    with opened(source) as file:
        info = _info(file, source)
    crs, transform = moved(info.crs, info.transform, source.half_turns)
    return replace(info, crs=crs, transform=transform)


def _info(file: DatasetReader, source: BandSource) -> SourceInfo:
    if file.crs is None:
        raise AssetReadError(f"asset {source.href} has no CRS: it cannot be placed on a map.")
    if source.band > file.count:
        raise AssetReadError(
            f"asset {source.href} has {file.count} band(s), but band {source.band} was asked for "
            f"({source.name}). The item describes another file."
        )
    dtype = file.dtypes[source.band - 1]
    joined = file.count if file.interleaving == Interleaving.pixel else 1
    block = math.prod(file.block_shapes[source.band - 1]) * np.dtype(dtype).itemsize * joined
    if block > MAX_BLOCK_BYTES:
        raise AssetReadError(
            f"asset {source.href} is stored in blocks of {block >> 20:,} MiB, each of which would "
            f"be read whole. Tile it anew, as a COG."
        )
    nodata = file.nodatavals[source.band - 1] if source.nodata is None else source.nodata
    return SourceInfo(
        crs=_crs_of(file, source.href),
        transform=file.transform,
        shape=file.shape,
        dtype=dtype,
        nodata=nodata if _holds(dtype, nodata) else None,
    )


def _crs_of(file: DatasetReader, href: str) -> str:
    """ "EPSG:…", or WKT. Raises AssetReadError for what cannot be placed on the globe."""
    code = file.crs.to_epsg()
    crs = f"EPSG:{code}" if code else str(file.crs.to_wkt())
    if not has_place(crs):
        raise AssetReadError(
            f"asset {href} has a CRS of its own ({crs[:60]}…), which has no place on the globe: it "
            "cannot be put on a map. Give it the CRS that it was made in."
        )
    if file.transform.is_degenerate:
        raise AssetReadError(f"asset {href} has pixels without an area. Mend its transform.")
    return crs


def _holds(dtype: str, nodata: float | None) -> bool:
    if nodata is None or np.dtype(dtype).kind == "f":
        return True
    info = np.iinfo(dtype)
    return float(nodata).is_integer() and info.min <= nodata <= info.max


@contextmanager
def opened(source: BandSource) -> Iterator[DatasetReader]:
    """The open file of a band, under GDAL's settings; it stays open for the next reader.

    Raises AssetReadError for whatever goes wrong inside.
    """
    grant = grant_for(source.href, source.signed)
    own = {**bucket_settings(), "GDAL_HTTP_HEADERS": grant.gdal_headers}
    with rasterio.Env(**GDAL_SETTINGS, **own):
        try:
            yield _open(source.href, grant)
        except RasterioError as error:
            _forget(source.href)
            raise _explained(source.href, error) from error


class _Handles(threading.local):
    """Open files by href, and how they were opened, the longest unused one closed first.

    GDAL's handles know one thread.
    """

    def __init__(self) -> None:
        self.files: OrderedDict[str, tuple[Grant, DatasetReader]] = OrderedDict()


_handles = _Handles()


def _open(href: str, grant: Grant) -> DatasetReader:
    files = _handles.files
    if href in files and files[href][0] != grant:
        _forget(href)  # its signature has ended
    if href not in files:
        if grant.url.startswith(WEB):
            require_safe(href, grant)
        files[href] = grant, rasterio.open(grant.url, driver=DRIVER)
        while len(files) > MAX_OPEN_FILES:
            files.popitem(last=False)[1][1].close()
    files.move_to_end(href)
    return files[href][1]


def _forget(href: str) -> None:
    """Close a file that failed, so that the next attempt opens it anew."""
    if known := _handles.files.pop(href, None):
        known[1].close()


def _explained(href: str, error: RasterioError) -> AssetReadError:
    text = _text(error)
    local = "://" not in href
    if local and not Path(href).is_file():
        text = f"asset {href} does not exist. Check the catalogue's files."
        return AssetReadError(text, missing=True)
    if re.search(r"\b404\b|does not exist", text):
        text = f"asset {href} does not exist ({text}). Check the catalogue."
        return AssetReadError(text, missing=True)
    if re.search(r"not recognized as being in a supported|not a TIFF", text):
        return AssetReadError(f"asset {href} is not a GeoTIFF. Only GeoTIFF and COG are read.")
    return AssetReadError(
        f"asset {href} cannot be read, it may be truncated ({text}). Fetch it anew."
    )


def _text(error: BaseException | None) -> str:
    """The messages of an error and its causes, on one line."""
    parts: list[str] = []
    while error is not None:
        parts.append(" ".join(str(error).split()))
        error = error.__cause__
    useful = [part for part in parts if part and "See previous exception" not in part]
    return "; ".join(useful or parts)
