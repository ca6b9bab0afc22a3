"""Bands that are arrays of Zarr, as of Sentinel-2 products of EOPF, beside those in GeoTIFFs.

An array says in its attributes where it lies: by the conventions proj and spatial, or, as products
of EOPF do, by STAC's `proj:` fields; else the coordinates x and y beside it do. What nobody wrote
of it has its fill value, which counts as not observed.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
import zarr
from numpy.typing import NDArray
from pyproj.exceptions import CRSError

from noise2map_core.catalog.assets.zarr import is_zarr
from noise2map_core.catalog.scene import BandSource, Stated, Version
from noise2map_core.geo.turns import has_place
from noise2map_core.geo.window import Window
from noise2map_core.rasters.remote import is_remote, stated
from noise2map_core.rasters.zarr_store import DOCUMENTS, AssetStore, is_refused, part_of, read_part
from noise2map_core.runtime.errors import AssetReadError

__all__ = ["ZarrBand", "describe", "is_zarr", "read_array", "zarr_version"]

UNREADABLE = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What zarr makes of documents and bytes that are not as they should be."""
PARALLEL = 16
MAX_OBJECTS = 100_000
"""Of one array; each is asked for its version once a run."""


@dataclass(frozen=True, slots=True)
class ZarrBand:
    """What an array says of itself."""

    crs: str
    """"EPSG:…" where the CRS has a code, else WKT."""
    transform: rasterio.Affine
    shape: tuple[int, int]
    dtype: str
    fills: tuple[float, ...]
    """Numbers that stand for no observation."""
    chunk_bytes: int
    """Decoded, the least that is read."""


def describe(source: BandSource) -> ZarrBand:
    """Grid, dtype and fill values of a band. Raises AssetReadError naming the array."""
    array = _opened(source)
    attributes = dict(array.attrs)
    if array.ndim not in (2, 3) or (array.ndim == 3 and source.band > array.shape[0]):
        raise AssetReadError(
            f"asset {source.href} has the shape {array.shape}, in which band {source.band} was "
            f"asked for ({source.name}): neither [y, x] nor [band, y, x] with so many bands."
        )
    height, width = array.shape[-2:]
    place = attributes if _code(attributes) else {**_beside(source), **attributes}
    dtype = array.dtype.newbyteorder("=")
    return ZarrBand(
        crs=_crs(source, place),
        transform=_transform(source, place, (height, width)),
        shape=(height, width),
        dtype=str(dtype),
        fills=_fills(array, attributes),
        chunk_bytes=int(np.prod(array.chunks)) * dtype.itemsize,
    )


def read_array(source: BandSource, window: Window) -> NDArray[Any]:
    """The numbers of a window [h, w], which must lie in the array. Raises AssetReadError."""
    array = _opened(source)
    place: tuple[Any, ...] = window.slices_in(Window(0, 0, 0, 0))
    if array.ndim == 3:
        place = (source.band - 1, *place)
    try:
        pixels = np.asarray(array[place])
    except AssetReadError:
        raise
    except UNREADABLE as error:
        raise _damaged(source, error) from error
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def zarr_version(source: BandSource) -> Version:
    """Which bytes an array holds: of local ones the SHA-256 of all, else what the server calls the
    versions of its objects. Raises AssetReadError if there is no array."""
    array = _opened(source)
    keys = [*DOCUMENTS, *_object_keys(array)]
    if len(keys) > MAX_OBJECTS:
        raise AssetReadError(
            f"asset {source.href} is of {len(keys):,} objects, each of which would be asked for "
            "its version. Use a copy with larger chunks or shards."
        )
    with ThreadPoolExecutor(PARALLEL) as pool:
        found = list(pool.map(lambda key: _object_version(source, key), keys))
    lines = [f"{key} {said}\n" for key, said in zip(keys, found, strict=True) if said]
    kind = "etag" if is_remote(source.href) else "sha256"
    return Version(f"{kind}:{hashlib.sha256(''.join(lines).encode()).hexdigest()}", Stated(0))


def _object_version(source: BandSource, key: str) -> str:
    """Of one object; empty if it is not there."""
    if is_remote(source.href):
        try:
            about = stated(part_of(source, key))
        except AssetReadError as error:
            if error.missing or (key in DOCUMENTS and is_refused(error)):
                return ""
            raise
        if about.etag:
            return about.etag.removeprefix("W/")
    body = read_part(source, key)  # where the server names no versions
    return "" if body is None else hashlib.sha256(body).hexdigest()


def _object_keys(array: "zarr.Array[Any]") -> list[str]:
    """Every object that may hold pixels."""
    sides = array.shards or array.chunks
    counts = [range(-(-size // side)) for size, side in zip(array.shape, sides, strict=True)]
    return [array.metadata.encode_chunk_key(place) for place in product(*counts)]


@lru_cache(maxsize=1024)
def _opened(source: BandSource) -> "zarr.Array[Any]":
    store: Any = AssetStore(source) if is_remote(source.href) else Path(source.href)
    try:
        return zarr.open_array(store, mode="r")
    except AssetReadError:
        raise
    except FileNotFoundError as error:
        raise AssetReadError(
            f"asset {source.href} does not exist, or is refused: no array of Zarr is there for us. "
            "Check its keys and the catalogue.",
            missing=True,
        ) from error
    except UNREADABLE as error:
        raise _damaged(source, error) from error


def _damaged(source: BandSource, error: Exception) -> AssetReadError:
    told = " ".join(str(error).split())
    return AssetReadError(
        f"asset {source.href} cannot be read, its Zarr may be damaged ({told}). Fetch it anew."
    )


def _fills(array: "zarr.Array[Any]", attributes: dict[str, Any]) -> tuple[float, ...]:
    """CF's and EOPF's, as far as they are numbers, and Zarr's own."""
    stated = (attributes.get("_FillValue"), attributes.get("fill_value"), array.fill_value)
    numbers = [float(one) for one in stated if isinstance(one, int | float | np.number)]
    return tuple(dict.fromkeys(numbers))


def _code(attributes: dict[str, Any]) -> Any:
    """The CRS of an array or group as something that pyproj knows; None if it states none."""
    for name in ("proj:code", "proj:wkt2", "proj:projjson"):
        if attributes.get(name):
            return attributes[name]
    epsg = attributes.get("proj:epsg")
    return f"EPSG:{int(epsg)}" if epsg else attributes.get("crs_wkt")


def _crs(source: BandSource, attributes: dict[str, Any]) -> str:
    stated = _code(attributes)
    if stated is None:
        raise AssetReadError(f"asset {source.href} has no CRS: it cannot be placed on a map.")
    try:
        crs = pyproj.CRS.from_user_input(stated)
        code = crs.to_epsg()
        found = f"EPSG:{code}" if code else crs.to_wkt()
    except CRSError as error:
        raise AssetReadError(f"asset {source.href} cannot be placed: {error}.") from error
    if not has_place(found):
        raise AssetReadError(f"asset {source.href} has a CRS that has no place on the globe.")
    return found


def _transform(
    source: BandSource, attributes: dict[str, Any], shape: tuple[int, int]
) -> rasterio.Affine:
    """Where pixels lie: as stated, else by the coordinates beside the array."""
    numbers = attributes.get("spatial:transform") or attributes.get("proj:transform")
    if numbers and len(numbers) in (6, 9):
        return rasterio.Affine(*map(float, numbers[:6]))
    x, y = (_coordinates(source, name) for name in ("x", "y"))
    if len(x) != shape[1] or len(y) != shape[0] or min(shape) < 2:
        raise AssetReadError(
            f"asset {source.href} does not say where its pixels lie: it has no proj:transform, and "
            "coordinates x and y beside it do not fit. Mend the product."
        )
    across, down = (float(at[-1] - at[0]) / (len(at) - 1) for at in (x, y))
    return rasterio.Affine(across, 0.0, x[0] - across / 2, 0.0, down, y[0] - down / 2)


def _coordinates(source: BandSource, name: str) -> NDArray[np.float64]:
    """Centres of pixels, of the array of this name beside a band."""
    try:
        return read_all(_neighbour(source, name)).astype(np.float64)
    except AssetReadError as error:
        if error.missing:
            return np.zeros(0)
        raise


def read_all(source: BandSource) -> NDArray[Any]:
    """A small array, whole. Raises AssetReadError."""
    try:
        return np.asarray(_opened(source)[:])
    except UNREADABLE as error:
        raise _damaged(source, error) from error


def _beside(source: BandSource) -> dict[str, Any]:
    """What CF's grid mapping beside a band says, or the group that holds it."""
    mapping = str(dict(_opened(source).attrs).get("grid_mapping", "spatial_ref"))
    try:
        return dict(_opened(_neighbour(source, mapping)).attrs)
    except AssetReadError as error:
        if not error.missing:
            raise
        return {}


def _neighbour(source: BandSource, name: str) -> BandSource:
    folder = BandSource(
        source.name, source.href.rstrip("/").rpartition("/")[0], 1, None, None,
        patience_s=source.patience_s, signed=_parent(source.signed),
    )  # fmt: skip
    return part_of(folder, name)


def _parent(signed: str) -> str:
    address, mark, query = signed.partition("?")
    return address.rstrip("/").rpartition("/")[0] + mark + query if signed else ""
