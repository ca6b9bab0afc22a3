"""Overviews: what each level shows, the same bytes every time, declared as the conventions want."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (the accessor .rio)
import xarray as xr
import zarr
from affine import Affine
from rasterio.enums import Resampling
from zarr_cm import multiscales, proj, spatial

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping import overviews
from noise2map_core.mapping.levels import levels_of
from noise2map_core.mapping.mosaic import NO_DECISION, NO_PROBABILITY, Mosaic
from noise2map_core.mapping.overviews import (
    STATED,
    STATED_EARLIER,
    halved,
    overviews_digest,
    write_overviews,
)
from noise2map_core.mapping.template import ROOT
from noise2map_core.products.verification import iter_faults
from tests.map_factories import CLASSES, blobs, region_grid, write_mosaic


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> Mosaic:
    """640 × 896 pixels in tiles of 128, a corner without decision."""
    made = write_mosaic(
        tmp_path_factory.mktemp("map") / "mosaic.zarr", blobs(640, 896, sigma=9), tile_px=128
    )
    write_overviews(made)
    made.finish()
    return made


def level(mosaic: Mosaic, factor: int) -> xr.Dataset:
    group = f"overviews/{factor}" if factor > 1 else None
    return xr.open_zarr(mosaic.path, group=group, mask_and_scale=False, decode_coords="all")


def test_levels_end_where_a_side_is_short_or_odd() -> None:
    factors = [one.factor for one in levels_of(region_grid(640, 896, 128))]
    assert factors == [1, 2, 4]
    assert [one.factor for one in levels_of(region_grid(128, 128, 64))] == [1]
    odd = RegionGrid(
        "EPSG:32633", 10, 0, 0, 125, Window(0, 0, 500, 1000), region_grid(1, 1, 1).outline
    )
    assert [(one.height, one.width) for one in levels_of(odd)] == [
        (500, 1000),
        (250, 500),
        (125, 250),
    ]


@pytest.mark.parametrize("factor", [2, 4])
def test_codes_are_pixels_of_the_map_and_keep_their_shares(mosaic: Mosaic, factor: int) -> None:
    fine, coarse = level(mosaic, 1)["class"].values, level(mosaic, factor)["class"].values
    blocks = fine.reshape(coarse.shape[0], factor, coarse.shape[1], factor)
    assert (blocks == coarse[:, None, :, None]).any(axis=(1, 3)).all()
    undecided = (blocks == NO_DECISION).all(axis=(1, 3))
    assert (coarse[undecided] == NO_DECISION).all()
    for value in (0, 1, NO_DECISION):
        assert (coarse == value).mean() == pytest.approx((fine == value).mean(), abs=0.01)


def test_numbers_are_the_means_that_gdal_makes_of_what_has_one(
    mosaic: Mosaic, tmp_path: Path
) -> None:
    fine, coarse = (level(mosaic, factor)["probability"].values for factor in (1, 2))
    assert (fine == NO_PROBABILITY).any()
    profile = {"height": fine.shape[0], "width": fine.shape[1], "count": 1, "dtype": "uint16",
               "nodata": NO_PROBABILITY, "transform": Affine.scale(10, -10)}  # fmt: skip
    with rasterio.open(tmp_path / "p.tif", "w", driver="GTiff", **profile) as raster:
        raster.write(fine, 1)
    with rasterio.open(tmp_path / "p.tif") as raster:
        expected = raster.read(1, out_shape=coarse.shape, resampling=Resampling.average)
    assert ((coarse == NO_PROBABILITY) == (expected == NO_PROBABILITY)).all()
    assert np.abs(coarse.astype(int) - expected.astype(int)).max() <= 1  # GDAL rounds halves anew


def test_a_mean_of_nothing_is_no_number() -> None:
    pixels = np.array(
        [[NO_PROBABILITY, 1, 2, 4], [NO_PROBABILITY, NO_PROBABILITY, 2, 3]], np.uint16
    )
    assert halved(pixels, "probability", 1).tolist() == [[1, 3]]
    nothing = np.full((2, 2), NO_PROBABILITY, np.uint16)
    assert halved(nothing, "disagreement", 1).tolist() == [[NO_PROBABILITY]]


def test_every_level_lies_where_the_map_lies(mosaic: Mosaic) -> None:
    finest = level(mosaic, 1)
    for factor in (2, 4):
        dataset = level(mosaic, factor)
        assert dataset.rio.crs == finest.rio.crs
        assert dataset.rio.bounds() == finest.rio.bounds()
        assert dataset.rio.transform(recalc=True) == dataset.rio.transform()


def test_made_again_they_are_the_same_bytes_and_a_flipped_one_is_found(tmp_path: Path) -> None:
    classes = blobs(512, 512, sigma=9)
    one = write_mosaic(tmp_path / "one" / "mosaic.zarr", classes, tile_px=128)
    two = write_mosaic(tmp_path / "two" / "mosaic.zarr", classes, tile_px=128)
    assert overviews_digest(one) == overviews_digest(two)  # there are none yet
    write_overviews(one)
    write_overviews(two)
    write_overviews(two)
    made = overviews_digest(one)
    assert made == overviews_digest(two)
    shard = two.path / "overviews" / "2" / "class" / "c" / "0" / "1"
    body = bytearray(shard.read_bytes())
    body[len(body) // 2] ^= 1
    shard.write_bytes(body)
    assert overviews_digest(two) != made


def test_verify_finds_a_flipped_byte_of_an_overview(tmp_path: Path) -> None:
    mosaic = write_mosaic(tmp_path / "mosaic.zarr", blobs(300, 300), tile_px=128)
    write_overviews(mosaic)
    mosaic.finish()
    manifest = {
        "products": {}, "tiles": {"total": 0},
        STATED: overviews_digest(mosaic),
        "mosaic_metadata_sha256": mosaic.metadata_digest(),
    }  # fmt: skip
    earlier = {**manifest, STATED_EARLIER: in_a_row(mosaic.path)}
    del earlier[STATED]
    for stated in (manifest, earlier):
        assert list(iter_faults(tmp_path, mosaic, stated)) == []
    shard = next(file for file in mosaic.path.rglob("overviews/*/class/c/0/0"))
    shard.write_bytes(shard.read_bytes()[:-1])
    for stated in (manifest, earlier):
        (fault,) = iter_faults(tmp_path, mosaic, stated)
        assert "overviews are not those that were written" in fault


def in_a_row(mosaic: Path) -> str:
    """SHA-256 over all objects of the overviews, each behind a line with its name and length."""
    found, keys = hashlib.sha256(), [file.relative_to(mosaic) for file in mosaic.rglob("c/*/*")]
    of = [key.parts for key in keys if key.parts[0] == "overviews"]
    for key in sorted(of, key=lambda key: (int(key[1]), key[2], int(key[4]), int(key[5]))):
        body = mosaic.joinpath(*key).read_bytes()
        found.update(f"{'/'.join(key)} {len(body)}\n".encode() + body)
    return found.hexdigest()


def test_killed_at_any_shard_and_made_again_they_are_the_same_bytes(tmp_path: Path) -> None:
    classes = blobs(512, 512, sigma=9)
    whole = write_mosaic(tmp_path / "whole" / "mosaic.zarr", classes, tile_px=128)
    write_overviews(whole)
    other = write_mosaic(tmp_path / "other" / "mosaic.zarr", classes, tile_px=128)
    for writes in (1, 5, 14):
        stop = patch.object(overviews, "halved", side_effect=killed_after(writes))
        with stop, pytest.raises(KeyboardInterrupt):
            write_overviews(other)
    write_overviews(other)
    assert overviews_digest(other) == overviews_digest(whole)


def killed_after(writes: int) -> Callable[..., Any]:
    left = iter(range(writes))

    def halve(*given: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return halved(*given)

    return halve


def test_what_became_nothing_is_shown_no_more(tmp_path: Path) -> None:
    mosaic = write_mosaic(tmp_path / "mosaic.zarr", blobs(512, 512), tile_px=128)
    write_overviews(mosaic)
    for shard in (mosaic.path / "class" / "c").rglob("*"):
        if shard.is_file():
            shard.unlink()
    write_overviews(mosaic)
    mosaic.finish()
    assert (level(mosaic, 2)["class"].values == NO_DECISION).all()


def test_group_and_arrays_declare_the_conventions_as_their_validator_wants(mosaic: Mosaic) -> None:
    declared = 0
    for file in sorted(mosaic.path.rglob(ROOT)):
        document = json.loads(file.read_text())
        if len(document.get("shape", ())) == 2 or file.parent.name in ("mosaic.zarr", "2", "4"):
            proj.validate_node_metadata(document)
            spatial.validate_node_metadata(document)
            declared += 1
    assert declared == 3 * (1 + len(mosaic.arrays))
    multiscales.validate_node_metadata(json.loads((mosaic.path / ROOT).read_text()))


def test_the_layout_leads_to_levels_of_the_stated_shape_and_scale(mosaic: Mosaic) -> None:
    group = zarr.open_group(mosaic.path, mode="r")
    layout = group.attrs["multiscales"]["layout"]
    assert [one["asset"] for one in layout] == [".", "overviews/2", "overviews/4"]
    assert [one.get("derived_from") for one in layout] == [None, ".", "overviews/2"]
    shapes = [group[f"{one['asset']}/class".removeprefix("./")].shape for one in layout]
    assert [tuple(one["spatial:shape"]) for one in layout] == shapes
    for finer, coarser in itertools.pairwise(shapes):
        assert finer == tuple(2 * side for side in coarser)


def test_what_is_consolidated_is_what_zarr_would_consolidate(
    mosaic: Mosaic, tmp_path: Path
) -> None:

    copy = tmp_path / "mosaic.zarr"
    shutil.copytree(mosaic.path, copy)
    with pytest.warns(zarr.errors.ZarrUserWarning, match="not part in the Zarr format 3"):
        zarr.consolidate_metadata(copy)
    ours, theirs = (
        zarr.open_group(path, mode="r", use_consolidated=True) for path in (mosaic.path, copy)
    )
    found = [
        {name: node.metadata.to_dict() | {"consolidated_metadata": None}
         for name, node in group.members(max_depth=None)}
        for group in (ours, theirs)
    ]  # fmt: skip
    assert found[0] == found[1]


def test_a_mosaic_of_an_earlier_version_is_declared_anew_and_its_pixels_stay(
    tmp_path: Path,
) -> None:
    mosaic = write_mosaic(tmp_path / "mosaic.zarr", blobs(300, 300), tile_px=128)
    write_overviews(mosaic)
    mosaic.finish()
    whole, metadata = overviews_digest(mosaic), mosaic.metadata_digest()
    pixels = [mosaic.digest(tile) for tile in mosaic.grid.tiles()]
    _as_it_was(mosaic.path)
    again = Mosaic.create(mosaic.path, mosaic.grid, CLASSES)
    assert [again.digest(tile) for tile in again.grid.tiles()] == pixels
    write_overviews(again)
    again.finish()
    assert (overviews_digest(again), again.metadata_digest()) == (whole, metadata)


def _as_it_was(path: Path) -> None:
    """Documents of a version that declared nothing and had no overviews."""

    shutil.rmtree(path / "overviews")
    for file in path.rglob(ROOT):
        document = json.loads(file.read_text())
        document.pop("consolidated_metadata", None)
        for name in [*document["attributes"]]:
            if name.startswith(("spatial:", "proj:", "zarr_conv", "multiscales")):
                del document["attributes"][name]
        file.write_text(json.dumps(document, indent=2))
