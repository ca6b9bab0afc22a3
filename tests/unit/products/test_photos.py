"""Pictures of the imagery as files."""

from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from rio_cogeo.cogeo import cog_validate

from noise2map_core.mapping.mosaic import Reason
from noise2map_core.products.bundle import product_files, write_products
from noise2map_core.products.photos import Photo, clear_ground, photo_titles, write_photo
from noise2map_core.settings.products import ProductsConfig
from tests.map_factories import blobs, subject_of, write_mosaic


def photo(height: int, width: int) -> Photo:
    """A slope from black to white, of which a corner was not observed."""
    rows, cols = np.indices((height, width), np.float32)
    rgb = np.stack([rows / height, cols / width, (rows + cols) / (height + width)], axis=2)
    valid = np.ones((height, width), np.bool_)
    valid[: height // 4, : width // 4] = False
    box = GeoBox((height, width), Affine(20, 0, 500_000, 0, -20, 5_000_000), "EPSG:32633")
    return Photo(np.where(valid[..., None], rgb, 1).astype(np.float32), valid, box)


def test_a_picture_is_a_cog_with_its_ground_mask_and_colours(tmp_path: Path) -> None:
    shown = photo(700, 900)
    write_photo(tmp_path / "before.tif", shown, "Image <before>")
    assert cog_validate(tmp_path / "before.tif", strict=True, quiet=True)[0]
    with rasterio.open(tmp_path / "before.tif") as file:
        assert (file.crs.to_epsg(), file.transform) == (32633, shown.geobox.affine)
        assert (file.dataset_mask() == 255 * shown.valid).all()
        there = shown.valid[8:-8, 8:-8]
        off = file.read()[:, 8:-8, 8:-8] - 255 * shown.rgb[8:-8, 8:-8].transpose(2, 0, 1)
        assert np.abs(off[:, there]).mean() < 2
        assert file.overviews(1) == [2]


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.tif", "two.tif"):
        write_photo(tmp_path / name, photo(300, 200), "Image")
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()


def test_each_date_is_stretched_on_what_is_clear_at_that_date() -> None:
    reasons = np.array(
        [Reason.DECIDED, Reason.MASKED_BEFORE, Reason.SUSPECTED_AFTER, Reason.OUTSIDE,
         Reason.PAIR_REJECTED, Reason.NODATA_BEFORE], np.uint8,
    )  # fmt: skip
    assert clear_ground("before", reasons).tolist() == [True, False, True, False, True, False]
    assert clear_ground("after", reasons).tolist() == [True, False, False, False, True, False]
    all_cloud_before = np.array([Reason.MASKED_BEFORE, Reason.SHADOW_AFTER], np.uint8)
    assert clear_ground("after", all_cloud_before).tolist() == [True, False]
    one_date = np.array([Reason.DECIDED, Reason.MASKED_AFTER], np.uint8)
    assert clear_ground("image", one_date).tolist() == [True, False]


def test_a_map_has_a_picture_of_each_of_its_dates(tmp_path: Path) -> None:
    (tmp_path / "map").mkdir()
    mosaic = write_mosaic(tmp_path / "map" / "mosaic.zarr", blobs(100, 130))
    subject = subject_of(tmp_path / "scenes", 100, 130)
    write_products(mosaic, subject, ProductsConfig())
    assert {"before.tif", "after.tif"} <= set(product_files(mosaic, subject, ProductsConfig()))
    with rasterio.open(tmp_path / "map" / "change.tif") as file:
        mosaic_bounds = file.bounds
    for name, title in photo_titles(subject).items():
        with rasterio.open(tmp_path / "map" / name) as file:
            assert (file.height, file.width, file.count) == (100, 130, 3)
            assert file.tags()["TIFFTAG_IMAGEDESCRIPTION"] == title
            assert file.bounds == mosaic_bounds
