"""Pictures of the imagery as files: small colour images on the map's ground, for people."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.shutil import copy as rasterio_copy

from noise2map_core.mapping.mosaic import Reason
from noise2map_core.products.subject import MapSubject
from noise2map_core.runtime.atomic import whole_file

PHOTO_FILES = {"before": "before.tif", "after": "after.tif", "image": "after.tif"}
"""By what the images of a map are called. A map of one date has one."""
QUALITY = 85
"""Of JPEG, which every program reads; what was not observed is masked, by whole pixels."""
BLOCK_PX = 512

BEFORE = (
    Reason.NODATA_BEFORE,
    Reason.MASKED_BEFORE,
    Reason.SHADOW_BEFORE,
    Reason.SUSPECTED_BEFORE,
)
AFTER = (Reason.NODATA_AFTER, Reason.MASKED_AFTER, Reason.SHADOW_AFTER, Reason.SUSPECTED_AFTER)


@dataclass(frozen=True)
class Photo:
    """The region in colours at one date."""

    rgb: NDArray[np.float32]
    """[H, W, 3] in 0–1; white where nothing was observed."""
    valid: NDArray[np.bool_]
    """[H, W] observed."""
    geobox: GeoBox


def photo_titles(subject: MapSubject) -> dict[str, str]:
    """What each picture shows, by file name."""
    words = {"before": "Image before", "after": "Image after", "image": "Image"}
    return {
        PHOTO_FILES[name]: f"{words[name]}, {date:%Y-%m-%d}"
        for name, (_, date) in subject.epochs.items()
    }


def clear_ground(name: str, reasons: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[H, W] where the image `name` shows ground, as far as reasons [H, W] tell: pixels that are
    hidden at both dates bear the reason of the first, so of the later image these count only if
    there are no others."""
    inside = reasons != Reason.OUTSIDE
    before, after = np.isin(reasons, BEFORE), np.isin(reasons, AFTER)
    if name == "before":
        return inside & ~before
    sure = inside & ~before & ~after
    return sure if sure.any() else inside & ~after


def write_photo(path: Path, photo: Photo, title: str) -> None:
    """Write a picture as a cloud-optimised GeoTIFF of three bytes a pixel, with a mask."""
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        TemporaryDirectory(prefix="noise2map-") as scratch,
        whole_file(path) as partial,
    ):
        plain = Path(scratch) / "plain.tif"
        _write_plain(plain, photo, title)
        rasterio_copy(
            plain, partial, driver="COG", compress="jpeg", quality=QUALITY, blocksize=BLOCK_PX,
            overview_resampling="average", num_threads="all_cpus",
        )  # fmt: skip


def _write_plain(path: Path, photo: Photo, title: str) -> None:
    height, width = photo.valid.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, height=height, width=width,
        crs=str(photo.geobox.crs), transform=photo.geobox.affine, photometric="rgb",
    ) as target:  # fmt: skip
        target.write(np.rint(photo.rgb * 255).astype(np.uint8).transpose(2, 0, 1))
        target.write_mask(photo.valid)
        target.update_tags(TIFFTAG_IMAGEDESCRIPTION=title)
