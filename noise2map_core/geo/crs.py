"""CRSs as files state them, taken without opening anything that they name.

PROJ looks up `+init` files and grids of shifts by path, and GDAL fetches a CRS that is a link: what
a file or a catalogue states must not make them do so.
"""

import re
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

_NAME = re.compile(
    r"(?:urn:ogc:def:crs:|https?://www\.opengis\.net/def/crs/)?"
    r"(?P<authority>[A-Za-z_]+)[:/](?:[\d.]*[:/])?(?P<code>\w+)"
)
"""EPSG:4326, urn:ogc:def:crs:EPSG::4326, http://www.opengis.net/def/crs/EPSG/0/4326."""
_GRIDS = re.compile(r'(?:PARAMETERFILE\s*\[\s*"[^"]*"\s*,\s*"|grids\s*=)([^"\s]*)', re.IGNORECASE)
_INIT = re.compile(r"\binit\s*=", re.IGNORECASE)
_PLACE = re.compile(r"[/\\~:]")


def crs_by_name(name: str) -> CRS:
    """The CRS of an authority and a code. Raises CRSError for what is no such name."""
    found = _NAME.fullmatch(name.strip())
    if found is None:
        raise CRSError(f"{name[:80]!r} is not the name of a CRS")
    return CRS.from_authority(found["authority"].upper(), found["code"])


def crs_of(stated: str | dict[str, Any]) -> CRS:
    """The CRS of a name, of WKT or of PROJJSON. Raises CRSError, for one that names a file too."""
    if isinstance(stated, dict):
        crs = CRS.from_json_dict(stated)
    elif "[" in stated:
        require_no_file(stated)
        crs = CRS.from_wkt(stated)
    else:
        return crs_by_name(stated)
    require_no_file(crs.to_wkt())
    return crs


def require_no_file(wkt: str) -> None:
    """Raises CRSError if a CRS names a file by its place; grids of PROJ's own have names alone."""
    if _INIT.search(wkt) or any(_PLACE.search(grids) for grids in _GRIDS.findall(wkt)):
        raise CRSError("its CRS names a file, which is not opened")
