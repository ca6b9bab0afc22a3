"""Scenes: STAC items reduced to what reading needs."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from noise2map_core.settings.catalog import PATIENCE_S

MaskKind = Literal["scl", "qa_pixel"]


@dataclass(frozen=True, slots=True)
class Stated:
    """What a server or a disk says of a file without its bytes being read; "" if nothing."""

    size: int
    """Bytes."""
    etag: str = ""
    modified: str = ""
    """Last-Modified of a server; inode and time of change of a disk."""

    def differs(self, other: "Stated") -> bool:
        """True if these are two versions of a file, by what is stated of both."""
        if self.size != other.size:
            return True
        if self.etag and other.etag:
            return self.etag.removeprefix("W/") != other.etag.removeprefix("W/")
        return bool(self.modified and other.modified) and self.modified != other.modified


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a file that a run is to read, and no other."""

    identity: str
    """Which bytes it holds, as keys say it: "checksum:…", "etag:…" or "sha256:…"."""
    stated: Stated


@dataclass(frozen=True, slots=True)
class BandSource:
    """One band of one scene: where its pixels lie."""

    name: str
    """The band's name as it was asked for."""
    href: str
    """Absolute path or URL of the file, unsigned."""
    band: int
    """1-based band number in the file."""
    nodata: float | None
    """Declared nodata value; None: taken from the file, if it declares one."""
    checksum: str | None
    """The item's `file:checksum` (multihash, hex), if it has one."""
    scale: float | None = None
    """Physical value = scale · number + offset; None: not known."""
    offset: float | None = None
    data_values: tuple[int, ...] = ()
    """Numbers that are data whatever the file's or the item's nodata says."""
    added_dn: int = 0
    """Added to the numbers on reading, so that all dates of the sensor come in one convention:
    -1000 for Sentinel-2 since baseline 04.00. 0: the numbers stay as they are."""
    half_turns: int = 0
    """By how many half turns round the globe the file's own x are moved for it to meet a window
    (`geo.turns`)."""
    signed: str = field(default="", repr=False, compare=False)
    """`href` with the signature that the catalogue gave it, if any. Never written down."""
    version: Version | None = field(default=None, repr=False, compare=False)
    """What `pin_scenes` found; None: whatever lies there when it is opened."""
    patience_s: float = field(default=PATIENCE_S, repr=False, compare=False)
    """How long a request for it that fails in passing is sent again, seconds."""


@dataclass(frozen=True, slots=True)
class MaskSource:
    """Where a scene says which of its pixels show cloud and the like."""

    kind: MaskKind
    """Scene classes of Sentinel-2 L2A, or bits of Landsat Collection 2."""
    source: BandSource


@dataclass(frozen=True, slots=True)
class Optics:
    """What a detector of clouds may read of a scene."""

    sensor: str
    """"sentinel-2", "landsat", or "" if the item names another one or none."""
    level: str
    """"l1c": reflectance at the top of the atmosphere, "l2a": at the surface, "": not known."""
    bands: tuple[BandSource, ...]
    """By STAC's common names; `nir08` of Landsat as `nir`, too."""


@dataclass(frozen=True, slots=True)
class Detection:
    """How the clouds of a scene are detected."""

    detector: str
    """As `mask.detector` spells it."""
    version: str
    """Of the detector."""
    level: str
    """As of `Optics`."""
    bands: tuple[BandSource, ...]
    """In the order of the detector; scale and offset are known."""
    grow_px: int
    """How far clouds grow, pixels of the grid."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One STAC item with the bands that were asked for, in order. Picklable, under 2 kB."""

    id: str
    collection: str
    datetime: datetime
    """Acquisition time, UTC, timezone-aware."""
    footprint_wkb: bytes
    """Item geometry in EPSG:4326."""
    bands: tuple[BandSource, ...]
    proj_code: str | None
    """The item's own claim ("EPSG:32651"); the file is trusted over it."""
    gsd: float | None
    """Ground sample distance in metres, if the item says so."""
    href: str
    """Where the item document lies, for `derived_from` links."""
    attribution: str
    """Who is to be named with products made from this scene: providers and licence."""
    mask: MaskSource | None = None
    """None: the item has none that is known."""
    cloud_cover: float | None = None
    """Share of the scene under cloud, percent, if the item says so."""
    proj_transform: tuple[float, ...] | None = None
    """The item's own claim of the first band's affine transform; the file is trusted over it."""
    sensor: str = field(default="", compare=False)
    """Constellation or platform, for people; "" if the item names none. Not kept with outputs."""
    optics: Optics | None = field(default=None, repr=False, compare=False)
    """What a search found; dropped once it is known which of it is read. Not kept with outputs."""
    detection: Detection | None = None
    """How clouds are detected in it; None: they are not."""
