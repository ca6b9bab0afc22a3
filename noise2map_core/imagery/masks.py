"""Cloud masks, stated or detected, on any grid."""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import Detection, Scene
from noise2map_core.clouds.detector import CLOUD, SHADOW, UNKNOWN
from noise2map_core.clouds.hidden import Hidden, Kinds
from noise2map_core.imagery.detected import read_detected
from noise2map_core.imagery.reader import Hide, Mask, inspect, read_bands
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.settings.imagery import MaskConfig

SCL_NO_DATA = 0
SCL_SHADOWS = (2, 3)
"""Scene classes of dark ground and of shadows of clouds."""
QA_FILL = 1
"""Bit 0 of QA_PIXEL: nothing was recorded."""
QA_SHADOW = 4
"""Bit of QA_PIXEL: shadow of a cloud."""


def hidden_by(config: MaskConfig, scenes: Sequence[Scene]) -> Hide | None:
    """The function that `read_mosaic` asks for what is hidden; None: nothing is."""
    if config.use == "off" and all(scene.detection is None for scene in scenes):
        return None
    return partial(_read_hiding, config=config)


def _read_hiding(scene: Scene, geobox: GeoBox, config: MaskConfig) -> tuple[Kinds, Mask]:
    """By what a scene's mask or the detector hides its pixels, and where either knows."""
    detected = scene.detection
    if detected is None:
        return read_hidden(scene, geobox, config)
    kinds, known = _read_detected(detected, geobox)
    if config.use == "off" or scene.mask is None:
        return kinds, known
    stated, stated_known = read_hidden(scene, geobox, config)
    cloud = (kinds == Hidden.CLOUD) | (stated == Hidden.CLOUD)
    return np.where(cloud, np.uint8(Hidden.CLOUD), kinds | stated), known | stated_known


def _read_detected(detection: Detection, geobox: GeoBox) -> tuple[Kinds, Mask]:
    """As `read_hidden`, of what is detected."""
    margin = detection.grow_px
    classes = read_detected(detection, _padded(geobox, margin))
    return _hiding(classes == CLOUD, classes == SHADOW, classes != UNKNOWN, margin)


def read_hidden(scene: Scene, geobox: GeoBox, config: MaskConfig) -> tuple[Kinds, Mask]:
    """[H, W] by what a scene's mask hides its pixels, grown, and where the mask knows.

    The mask is read as far beyond `geobox` as it grows, so that tiles agree at their seams. Raises
    AssetReadError if the scene has none, or it cannot be read.
    """
    if scene.mask is None:
        raise AssetReadError(f"item {scene.id} has no mask. Set mask.use to off.")
    margin = config.dilate_px
    source = scene.mask.source
    if inspect(source).dtype.startswith("float"):
        raise AssetReadError(
            f"mask {source.href} of item {scene.id} holds fractions, not classes or bits. Set "
            "mask.use to off."
        )
    values, known = read_bands((source,), _padded(geobox, margin), "nearest")
    if scene.mask.kind == "scl":
        known &= values[0] != SCL_NO_DATA
        hidden = np.isin(values[0], config.scl_classes)
        shadow = np.isin(values[0], SCL_SHADOWS)
    else:
        known &= (values[0] & QA_FILL) == 0
        hidden = (values[0] & _bits(config.qa_bits)) > 0
        shadow = (values[0] & _bits(set(config.qa_bits) - {QA_SHADOW})) == 0
    hidden &= known
    return _hiding(hidden & ~shadow, hidden & shadow, known, margin)


def _hiding(cloud: Mask, shadow: Mask, known: Mask, margin: int) -> tuple[Kinds, Mask]:
    """What grown clouds and shadows hide, and where that is known, without the margin."""
    kinds = np.where(_grown(shadow, margin), Hidden.SHADOW, Hidden.NOTHING).astype(np.uint8)
    kinds[_grown(cloud, margin)] = Hidden.CLOUD
    height, width = known.shape
    inner = (slice(margin, height - margin), slice(margin, width - margin))
    return kinds[inner], known[inner]


def _bits(numbers: Iterable[int]) -> int:
    return sum(1 << bit for bit in numbers)


def _padded(geobox: GeoBox, margin: int) -> GeoBox:
    height, width = geobox.shape
    corner = geobox.affine @ geobox.affine.translation(-margin, -margin)
    return GeoBox((height + 2 * margin, width + 2 * margin), corner, geobox.crs)


def _grown(mask: Mask, radius: int) -> Mask:
    """Masked, and all that lies within `radius` pixels of it."""
    if not radius or not mask.any():
        return mask
    from scipy import ndimage  # slow to import; clear scenes do without

    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    grown: NDArray[np.bool_] = ndimage.binary_dilation(mask, x * x + y * y <= radius * radius)
    return grown
