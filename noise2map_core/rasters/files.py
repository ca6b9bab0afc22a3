"""Opening raster files: GDAL's settings, handles kept open, errors that name the file."""

import atexit
import hashlib
import math
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError
from rasterio.enums import Interleaving
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from noise2map_core.catalog.scene import BandSource, Stated, Version
from noise2map_core.geo.crs import require_no_file
from noise2map_core.geo.turns import has_place, moved
from noise2map_core.rasters.multihash import digest_in, require_checksum
from noise2map_core.rasters.remote import Opener, RemoteFile, changed, is_remote
from noise2map_core.rasters.stated_masks import alpha_band, has_mask, has_mask_beside
from noise2map_core.rasters.zarr_arrays import describe, is_zarr
from noise2map_core.runtime.errors import AssetReadError, Noise2MapError, explained

DRIVER = "GTiff"
"""Only GeoTIFF, COG or not: a JPEG or a VRT under the name of a .tif is refused, not guessed at."""

OTHER_FILE = "OVERVIEW_FILE"
"""What GDAL's metadata call a file of overviews elsewhere."""

OTHER_OVERVIEWS = "it names another file for its overviews, which is not opened"

GDAL_SETTINGS: dict[str, str | int] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_NUM_THREADS": "1",
    "GDAL_CACHEMAX": 64 << 20,  # of every reader: a window of 1024 pixels, eight bands, two bytes
}
MAX_OPEN_FILES = 64
MAX_BLOCK_BYTES = 1 << 30
"""Decoded. Compressed, a block of any size may be a few bytes."""


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
    """The item's nodata if it states one, else the file's. None too for one that the dtype cannot
    hold, and for NaN and infinity, which are no observation in any file."""
    hidden: tuple[float, ...] = ()
    """Every number that means no observation: the file's nodata and the item's, but for those that
    the settings name as data."""
    masked: bool = False
    """True if the file holds a mask of its own."""
    alpha: int | None = None
    """The file's band of transparency; None: it has none, or it is this very band."""
    beside: bool = False
    """True if a mask lies beside the file, under its name and .msk."""
    overviews: tuple[int, ...] = ()
    """How many times coarser each overview is; none where they may hold what is not observed: in
    files with masks or alpha, or with a nodata that only the item knows."""

    @property
    def geobox(self) -> GeoBox:
        """The file's grid."""
        return GeoBox(self.shape, self.transform, self.crs)


def inspect(source: BandSource) -> SourceInfo:
    """Grid, dtype and nodata of a band, from its file. Raises AssetReadError naming the file."""
    return _inspected(source, _version_of(source))


@lru_cache(maxsize=4096)
def _inspected(source: BandSource, version: Version | Stated | None) -> SourceInfo:
    if is_zarr(source.href):
        info = _array_info(source)
    else:
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
    if dtype.startswith("complex"):
        raise AssetReadError(
            f"asset {source.href} holds complex numbers ({dtype}), of which no map is made. Choose "
            "a product of intensity or amplitude."
        )
    joined = file.count if file.interleaving == Interleaving.pixel else 1
    block = math.prod(file.block_shapes[source.band - 1]) * np.dtype(dtype).itemsize * joined
    if block > MAX_BLOCK_BYTES:
        raise _large_blocks(source.href, block)
    own = file.nodatavals[source.band - 1]
    hidden = _hidden(source, dtype, [] if own is None else [own])
    masked, alpha = has_mask(file, source.band), alpha_band(file, source.band)
    beside = has_mask_beside(source, file, complete=masked or alpha is not None)
    apart = masked or alpha is not None or beside or any(value != own for value in hidden)
    _require_plain_crs(file, source.href)
    return SourceInfo(
        crs=_crs_of(file, source.href),
        transform=file.transform,
        shape=file.shape,
        dtype=dtype,
        nodata=hidden[0] if hidden else None,
        hidden=hidden,
        masked=masked,
        alpha=alpha,
        beside=beside,
        overviews=() if apart else tuple(file.overviews(source.band)),
    )


def _array_info(source: BandSource) -> SourceInfo:
    band = describe(source)
    if band.chunk_bytes > MAX_BLOCK_BYTES:
        raise _large_blocks(source.href, band.chunk_bytes)
    hidden = _hidden(source, band.dtype, band.fills)
    return SourceInfo(
        band.crs, band.transform, band.shape, band.dtype, hidden[0] if hidden else None, hidden
    )


def _hidden(source: BandSource, dtype: str, own: Iterable[float]) -> tuple[float, ...]:
    """The item's nodata and the file's own, but for those that the settings name as data."""
    stated = [value for value in (source.nodata, *own) if value is not None]
    stated = [value for value in stated if value not in source.data_values]
    return tuple(dict.fromkeys(value for value in stated if _holds(dtype, value)))


def _large_blocks(href: str, block: int) -> AssetReadError:
    return AssetReadError(
        f"asset {href} is stored in blocks of {block >> 20:,} MiB, each of which would be read "
        "whole. Tile it anew, as a COG."
    )


def _require_plain_crs(file: DatasetReader, href: str) -> None:
    try:
        require_no_file(file.crs.to_wkt())
    except CRSError as error:
        raise AssetReadError(f"asset {href} cannot be placed: {error}. Mend the file.") from error


def require_self_contained(file: DatasetReader) -> None:
    """Raises RasterioError if a file names another one as its overviews: GDAL would open it, by
    any driver and wherever it lies."""
    if OTHER_FILE in file.tags(ns="OVERVIEWS"):
        raise RasterioError(OTHER_OVERVIEWS)


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


def _holds(dtype: str, nodata: float) -> bool:
    if np.dtype(dtype).kind == "f":  # what is not finite is no observation anyway
        return math.isfinite(nodata)
    info = np.iinfo(dtype)
    return float(nodata).is_integer() and info.min <= nodata <= info.max


@contextmanager
def opened(source: BandSource, overview: int | None = None) -> Iterator[DatasetReader]:
    """The open file of a band, under GDAL's settings; it stays open for the next reader.

    `overview`: one of its overviews in place of the file, the finest has number 0.

    What is read in the body is of one version of the file, that of `source.version` where there is
    one. Raises AssetReadError for whatever goes wrong inside.
    """
    with rasterio.Env(**GDAL_SETTINGS):
        handle = _open(source, overview)
        try:
            yield handle.file
        except RasterioError as error:
            failure = handle.failure(source)
            _forget(source.href)
            raise failure or _explained(source.href, error) from error
        if failure := handle.failure(source):
            _forget(source.href)
            raise failure


FileKey = tuple[str, int | None]
"""Address, and number of an overview."""


@dataclass(frozen=True)
class _Handle:
    """An open file, and the version of it that is open."""

    file: DatasetReader
    version: Version | Stated | None
    opener: Opener | None = None
    """Of a remote file."""

    def failure(self, source: BandSource) -> Noise2MapError | None:
        """Why nothing that was read since it was opened can be used; None: all can."""
        if self.opener is not None:
            return self.opener.failure
        try:
            _require_version(source)
        except AssetReadError as error:
            return error
        return None if _version_of(source) == self.version else changed(source.href)


class _Handles(threading.local):
    """Open files and overviews, the longest unused one closed first.

    GDAL's handles know one thread.
    """

    def __init__(self) -> None:
        self.files: OrderedDict[FileKey, _Handle] = OrderedDict()


_handles = _Handles()


@atexit.register
def close_files() -> None:
    """Close the files of this thread; GDAL would close them when Python's part is gone already."""
    for href in {href for href, _ in _handles.files}:
        _forget(href)


def _open(source: BandSource, overview: int | None) -> _Handle:
    files, version = _handles.files, _version_of(source)
    key = (source.href, overview)
    if key in files and files[key].version != version:
        _forget(source.href)
    if key not in files:
        files[key] = _opened_anew(source, version, overview)
        while len(files) > MAX_OPEN_FILES:
            files.popitem(last=False)[1].file.close()
    files.move_to_end(key)
    return files[key]


def _opened_anew(
    source: BandSource, version: Version | Stated | None, overview: int | None
) -> _Handle:
    opener = Opener(RemoteFile(source), source) if is_remote(source.href) else None
    _require_version(source)
    level = {} if overview is None else {"overview_level": overview}
    try:
        file = rasterio.open(source.href, driver=DRIVER, opener=opener, **level)
        require_self_contained(file)
    except RasterioError as error:
        failure = opener.failure if opener else None
        raise failure or _explained(source.href, error) from error
    return _Handle(file, version, opener)


def _forget(href: str) -> None:
    """Close a file that failed, and its overviews, so that the next attempt opens it anew."""
    for key in [key for key in _handles.files if key[0] == href]:
        _handles.files.pop(key).file.close()


def _version_of(source: BandSource) -> Version | Stated | None:
    """Which version of a file is to be read: the run's, or what lies on the disk now."""
    if source.version is not None or is_remote(source.href):
        return source.version
    return local_stated(source.href)


def local_stated(href: str) -> Stated | None:
    """What the disk says of a file; None if it is not there."""
    try:
        found = os.stat(href)
    except OSError:
        return None
    return Stated(found.st_size, modified=f"{found.st_ino}:{found.st_mtime_ns}")


def _require_version(source: BandSource) -> None:
    """Raises AssetReadError if a local file is not the one that the run began with."""
    if source.version is None or is_remote(source.href):
        return
    now = local_stated(source.href)
    if now != source.version.stated and not _same_bytes(source.href, now, source.version.identity):
        raise changed(source.href)


@lru_cache(maxsize=4096)
def _same_bytes(href: str, now: Stated | None, identity: str) -> bool:
    """True if a file holds the bytes of an identity after all: touched, or a copy on another node;
    `now` keys the cache."""
    kind, _, value = identity.partition(":")
    try:
        if kind == "sha256":
            with open(href, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == value
        if kind != "checksum" or digest_in(value) is None:
            return False
        require_checksum(href, value, Path(href))
    except (OSError, AssetReadError):
        return False
    return True


def _explained(href: str, error: RasterioError) -> AssetReadError:
    text = _text(error)
    if not is_remote(href):
        try:
            with open(href, "rb"):
                pass
        except FileNotFoundError:
            text = f"asset {href} does not exist. Check the catalogue's files."
            return AssetReadError(text, missing=True)
        except OSError as found:
            return AssetReadError(f"asset {href} cannot be read: {explained(found)}")
    if OTHER_OVERVIEWS in text:
        return AssetReadError(f"asset {href} is refused: {text}. Make it anew, as a COG.")
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
