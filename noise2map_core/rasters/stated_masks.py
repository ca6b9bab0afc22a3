"""What files say of their own validity besides nodata: masks inside, masks beside, transparency."""

import hashlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from noise2map_core.catalog.scene import BandSource
from noise2map_core.rasters.remote import is_remote, stated
from noise2map_core.runtime.errors import AssetReadError

SUFFIX = ".msk"
"""Of the file that GDAL writes a mask to, beside the image."""


def has_mask(file: DatasetReader, band: int) -> bool:
    """True if a file holds a mask for all of its bands (a nodata value for each of them, too)."""
    flags = file.mask_flag_enums[band - 1]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def alpha_band(file: DatasetReader, band: int) -> int | None:
    """Number of the band that holds the transparency of `band`, if there is one."""
    for number, meaning in enumerate(file.colorinterp, start=1):
        if meaning == ColorInterp.alpha and number != band:
            return number
    return None


def has_mask_beside(source: BandSource, file: DatasetReader, complete: bool) -> bool:
    """True if a mask lies beside a file.

    Over the web this costs one request a file. It is not made for a COG, which by its definition
    holds its mask itself, nor where the file is known to be `complete`. A server that refuses to
    say has none for us. Raises AssetReadError if it cannot be asked.
    """
    if not is_remote(source.href):
        return Path(source.href + SUFFIX).is_file()
    if complete or file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG":
        return False
    return _is_there(mask_beside(source))


def mask_beside(source: BandSource) -> BandSource:
    """The first band of the mask beside a file: most have one for all bands of the image."""
    signed = source.signed
    if signed:
        address = urlsplit(signed)
        signed = urlunsplit(address._replace(path=address.path + SUFFIX))
    href, patience_s = source.href + SUFFIX, source.patience_s
    return BandSource(source.name, href, 1, None, None, patience_s=patience_s, signed=signed)


def identity_beside(href: str) -> str:
    """What the identity of a file on disk ends with if a mask lies beside it; "" if none does."""
    path = Path(href + SUFFIX)
    if is_remote(href) or not path.is_file():
        return ""
    with path.open("rb") as file:
        return f"+{hashlib.file_digest(file, 'sha256').hexdigest()}"


@lru_cache(maxsize=4096)
def _is_there(mask: BandSource) -> bool:
    try:
        stated(mask)
    except AssetReadError as error:
        if isinstance(error.__cause__, FileNotFoundError | PermissionError):
            return False
        raise
    return True
