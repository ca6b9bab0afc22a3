"""How deep geometries lie in each other, by shapely's own writing of them."""

import struct

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.geo.wkb import MAX_DEPTH, _depths, require_shallow

PARTS = (
    "POINT EMPTY", "POINT Z (1 2 3)", "LINESTRING (0 0, 1 1)", "LINESTRING EMPTY",
    "POLYGON ((0 0, 4 0, 4 4, 0 0), (1 1, 2 1, 2 2, 1 1))", "MULTIPOINT ((1 1), (2 2))",
    "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 0)), ((5 5, 6 5, 6 6, 5 5)))", "GEOMETRYCOLLECTION EMPTY",
)  # fmt: skip
geometries = st.recursive(
    st.sampled_from(PARTS).map(shapely.from_wkt),
    lambda inner: st.lists(inner, max_size=4).map(shapely.GeometryCollection),
    max_leaves=20,
)


def depth(geometry: shapely.Geometry) -> int:
    parts = getattr(geometry, "geoms", ())
    return 1 + max((depth(part) for part in parts), default=0)


def number(geometry: shapely.Geometry) -> int:
    return 1 + sum(number(part) for part in getattr(geometry, "geoms", ()))


@given(geometries, st.sampled_from([0, 1]), st.sampled_from(["iso", "extended"]), st.booleans())
def test_every_geometry_is_met_at_its_depth(
    geometry: shapely.Geometry, order: int, flavor: str, srid: bool
) -> None:
    srid = srid and flavor == "extended"
    blob = shapely.to_wkb(
        shapely.set_srid(geometry, 4326) if srid else geometry,
        byte_order=order, flavor=flavor, include_srid=srid,
    )  # fmt: skip
    found = list(_depths(blob))
    assert (max(found), len(found)) == (depth(geometry), number(geometry))


@pytest.mark.parametrize("first", [b"", shapely.Point(1, 2).wkb])
def test_what_lies_too_deep_is_refused_wherever_it_lies(first: bytes) -> None:
    level = struct.pack("<BII", 1, 7, 2 if first else 1) + first
    for levels in (MAX_DEPTH - 1, MAX_DEPTH):
        blob = level * levels + shapely.Point(1, 2).wkb
        if levels < MAX_DEPTH:
            require_shallow([None, blob, blob[:-3], b""])
            assert depth(shapely.from_wkb(blob)) == MAX_DEPTH
        else:
            with pytest.raises(ValueError, match="more than 100 levels deep"):
                require_shallow([blob])
