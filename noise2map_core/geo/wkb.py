"""Well-known binary of files that anybody may have made. OGC 06-103r4, 8.2; EWKB of PostGIS."""

import struct
from collections.abc import Iterable, Iterator

MAX_DEPTH = 100
"""Geometries within geometries; GEOS takes a level of the stack for each, and the process ends
where there is no more of it."""
POINT, LINE, POLYGON, ARC = 1, 2, 3, 8
GROUPS = (4, 5, 6, 7, 9, 10, 11, 12)
"""Kinds that are made of other geometries."""
_Z, _M, _SRID = 0x80000000, 0x40000000, 0x20000000
"""Flags of EWKB; the standard adds thousands instead."""


def require_shallow(blobs: Iterable[bytes | None]) -> None:
    """Raises ValueError for geometries within geometries without end. All else that may be wrong
    with a geometry is left for its reader to say."""
    for blob in blobs:
        try:
            if blob and any(depth > MAX_DEPTH for depth in _depths(blob)):
                raise ValueError(f"a geometry holds others, more than {MAX_DEPTH} levels deep")
        except (struct.error, IndexError):
            continue


def _depths(blob: bytes) -> Iterator[int]:
    """How deep each of the geometries in a blob lies, in the order of the bytes."""
    at, left = 0, [1]  # geometries that are still to come, of each level
    while left:
        if not left[-1]:
            left.pop()
            continue
        left[-1] -= 1
        yield len(left)
        order = "<" if blob[at] else ">"
        (kind,) = struct.unpack_from(f"{order}I", blob, at + 1)
        at += 9 if kind & _SRID else 5
        thousands, plain = divmod(kind & ~(_Z | _M | _SRID), 1000)
        place = 8 * (2 + bool(kind & _Z or thousands in (1, 3)) + bool(kind & _M or thousands > 1))
        if plain == POINT:
            at += place
            continue
        (count,) = struct.unpack_from(f"{order}I", blob, at)
        at += 4
        if plain in GROUPS:
            left.append(count)
        elif plain == POLYGON:
            for _ in range(count):
                (corners,) = struct.unpack_from(f"{order}I", blob, at)
                at += 4 + corners * place
        elif plain in (LINE, ARC):
            at += count * place
        else:
            return  # no reader knows it
