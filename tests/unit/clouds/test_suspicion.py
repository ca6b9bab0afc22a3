from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from noise2map_core.clouds.suspicion import Suspicion, plan_suspicion, suspected_clouds
from noise2map_core.testing.exposure import BANDS, expose, is_cloud
from noise2map_core.testing.landscape import build_landscape

PIXEL_M, SIDE = 10.0, 200
MEAN, STD = (600.0, 900.0, 950.0, 2500.0, 1900.0), (350.0, 380.0, 500.0, 900.0, 700.0)
CLOUD, SAND, CONCRETE = (6200, 6100, 6000), (2500, 3300, 4000), (1750, 1900, 2050)

Pixels = np.ndarray[Any, Any]


def plan(bands: tuple[str, ...] = BANDS, pixel_m: float = PIXEL_M, **other: Any) -> Any:
    settings = {"mean": [MEAN] * 2, "std": [STD] * 2, "top": None} | other
    return plan_suspicion(bands, pixel_m=pixel_m, **settings)


def fields(colour: tuple[int, int, int], shape: Pixels, date: int = 1) -> Pixels:
    """Image [date, band, H, W] of fields with `colour` within `shape` at one date."""
    rng = np.random.default_rng(0)
    rough = ndimage.gaussian_filter(rng.normal(size=(2, 5, SIDE, SIDE)), (0, 0, 2, 2))
    image = np.asarray(MEAN)[:, None, None] * (1 + 0.3 * rough)
    painted = np.asarray(colour)[:, None, None] * (1 + 0.1 * rough[date, :3])
    image[date, :3] = np.where(shape, painted, image[date, :3])
    return image.round().astype(np.uint16)


def suspected(image: Pixels, suspicion: Suspicion | None = None) -> Pixels:
    valid = np.ones((2, *image.shape[2:]), np.bool_)
    return suspected_clouds(image, valid, suspicion or plan())


def disc(radius: int) -> Pixels:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    return np.hypot(y, x) <= radius


@pytest.mark.parametrize("date", [0, 1])
def test_a_cloud_is_suspected_at_its_date(date: int) -> None:
    found = suspected(fields(CLOUD, disc(30), date))
    assert found[date][disc(30)].mean() > 0.95
    assert not found[date][~disc(33)].any()
    assert not found[1 - date].any()


def test_what_is_bright_at_both_dates_is_no_cloud() -> None:
    image = fields(CLOUD, disc(30))
    assert not suspected(image[[1, 1]]).any()


@pytest.mark.parametrize(
    ("colour", "shape"),
    [(SAND, disc(60)), (CONCRETE, disc(60)), (CLOUD, disc(10)), (CLOUD, np.abs(disc(99)) > 2)],
    ids=["sand", "concrete", "a roof of 200 m", "nothing"],
)
def test_new_ground_and_new_roofs_are_no_clouds(
    colour: tuple[int, int, int], shape: Pixels
) -> None:
    assert not suspected(fields(colour, shape)).any()


def test_many_bright_roofs_are_no_cloud() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    roofs = disc(80) & (y % 6 < 4) & (x % 6 < 4)
    assert not suspected(fields(CLOUD, roofs)).any()


@pytest.mark.parametrize("start", [(0, 0), (17, 3), (40, 61)])
def test_what_is_suspected_does_not_depend_on_the_window(start: tuple[int, int]) -> None:
    image = fields(CLOUD, disc(45) ^ disc(4))
    margin = plan().reach_px
    wide = np.pad(image, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect")
    whole = suspected(wide)[:, margin:-margin, margin:-margin]
    row, col = start
    part = wide[:, :, row : row + 90 + 2 * margin, col : col + 110 + 2 * margin]
    found = suspected(part)[:, margin:-margin, margin:-margin]
    assert found.any()
    assert np.array_equal(found, whole[:, row : row + 90, col : col + 110])


def test_numbers_of_a_byte_may_end_before_four_deviations() -> None:
    suspicion = plan(mean=[(110.0,) * 5] * 2, std=[(40.0,) * 5] * 2, top=255.0)
    assert suspicion.bright[0] == pytest.approx(0.8 * 145 / 40)
    assert plan(mean=[(255.0,) * 5] * 2, std=[(40.0,) * 5] * 2, top=255.0) is None


@pytest.mark.parametrize(
    ("bands", "pixel_m"),
    [(("green", "red", "nir", "swir16", "swir22"), 10.0), (BANDS, 0.3), (BANDS, 250.0)],
    ids=["no blue", "too fine", "too coarse"],
)
def test_imagery_that_allows_no_suspicion_has_none(bands: tuple[str, ...], pixel_m: float) -> None:
    assert plan(bands, pixel_m) is None


def test_most_of_opaque_cloud_of_invented_scenes_is_found_and_no_clear_ground() -> None:
    rng = np.random.default_rng(5)
    land = build_landscape(rng, 512)
    image, classes = expose(rng, land)
    clear = ~is_cloud(classes)
    grounds = [picture[:, seen] for picture, seen in zip(image, clear, strict=True)]
    mean, std = ([of(part, axis=1).tolist() for part in grounds] for of in (np.mean, np.std))
    found = suspected(image, plan(mean=mean, std=std))
    assert found[classes == 9].mean() > 0.7
    ground = ~ndimage.binary_dilation(~clear, np.ones((1, 3, 3)), iterations=8)
    assert found[ground].mean() < 1e-3


def test_no_labelled_change_of_real_cities_is_hidden(real_data: Path) -> None:
    hidden = labelled = 0
    for label in sorted((real_data / "stac" / "oscd").glob("oscd-*-change")):
        city = label.name.removesuffix("-change")
        dates = sorted(path for path in label.parent.glob(f"{city}-2*"))
        image = np.stack([[_read(date, band) for band in BANDS[:3]] for date in dates])
        changed = _read(label, "change") == 1
        mean, std = image.mean((2, 3)).tolist(), image.std((2, 3)).tolist()
        found = suspected(image, plan(BANDS[:3], mean=mean, std=std)).any(axis=0)
        hidden, labelled = hidden + int((found & changed).sum()), labelled + int(changed.sum())
    assert labelled > 100_000
    assert hidden < 0.005 * labelled


def _read(folder: Path, band: str) -> Pixels:
    (path,) = folder.glob(f"{band}.tif")
    with rasterio.open(path) as file:
        return file.read(1)
