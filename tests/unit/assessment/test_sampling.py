from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Geod

from noise2map_core.assessment.sampling import (
    Stratum,
    allocate,
    draw_sample,
    expected_error,
    measure_strata,
    sample_size,
)
from noise2map_core.runtime.errors import AssetReadError, ConfigError
from tests.raster_factories import frame, write_tif

# Olofsson et al. (2014), sec. 5.1.1: mapped pixels of 30 m, and user's accuracies conjectured.
MAPPED = {1: 200_000, 2: 150_000, 3: 3_200_000, 4: 6_450_000}
EXAMPLE = [Stratum(value, pixels, 900.0 * pixels) for value, pixels in MAPPED.items()]
CONJECTURED = {1: 0.70, 2: 0.60, 3: 0.90, 4: 0.95}


def two_classes(height: int, width: int) -> np.ndarray:
    """Class 1 in a rare patch, 255 along the left edge, 0 elsewhere."""
    classes = np.zeros((height, width), np.uint8)
    classes[height // 3 : height // 2, width // 3 : width // 2] = 1
    classes[:, :5] = 255
    return classes


def test_the_published_sample_size_is_reproduced() -> None:
    assert sample_size(EXAMPLE, CONJECTURED, 0.01) == 641


def test_the_published_proportional_allocation_is_reproduced() -> None:
    assert allocate(EXAMPLE, 641, 0) == {1: 13, 2: 10, 3: 205, 4: 413}


def test_rare_strata_get_the_minimum_and_the_others_share_the_rest() -> None:
    assert allocate(EXAMPLE, 641, 75) == {1: 75, 2: 75, 3: 163, 4: 328}
    assert allocate(EXAMPLE, 100, 50) == {1: 50, 2: 50, 3: 50, 4: 50}


def test_no_stratum_gives_more_than_it_has() -> None:
    strata = [Stratum(0, 10_000, 1e6), Stratum(1, 7, 700.0)]
    assert allocate(strata, 100, 20) == {0: 80, 1: 7}


STRATA = st.lists(st.integers(1, 10**6), min_size=1, max_size=6).map(
    lambda pixels: [Stratum(value, n, 100.0 * n) for value, n in enumerate(pixels)]
)


@given(STRATA, st.integers(2, 2000), st.integers(0, 100))
def test_allocations_hold_their_size_and_minimum(
    strata: list[Stratum], size: int, minimum: int
) -> None:
    sizes = allocate(strata, size, minimum)
    assert all(min(minimum, s.pixels) <= sizes[s.value] <= s.pixels for s in strata)
    if all(sizes[s.value] < s.pixels for s in strata):
        assert sum(sizes.values()) == max(size, minimum * len(strata))


def test_a_sample_of_that_size_has_the_error_that_was_asked_for() -> None:
    # By simulation: maps right as often as conjectured, units where they lower the error most.
    spread = {v: n * np.sqrt(CONJECTURED[v] * (1 - CONJECTURED[v])) for v, n in MAPPED.items()}
    sizes = {v: round(641 * part / sum(spread.values())) for v, part in spread.items()}
    generator = np.random.default_rng(0)
    total = sum(MAPPED.values())
    overall = sum(
        n / total * generator.binomial(sizes[v], CONJECTURED[v], 20_000) / sizes[v]
        for v, n in MAPPED.items()
    )
    assert np.std(overall) == pytest.approx(0.01, rel=0.03)
    assert expected_error(EXAMPLE, CONJECTURED, sizes) == pytest.approx(np.std(overall), rel=0.03)
    assert expected_error(EXAMPLE, CONJECTURED, allocate(EXAMPLE, 641, 0)) > 0.01


@pytest.mark.parametrize("size", [100, 700])
def test_strata_are_the_decided_pixels_and_their_areas(tmp_path: Path, size: int) -> None:
    classes = two_classes(size, size + 30)
    path = write_tif(tmp_path / "change.tif", classes, frame(*classes.shape), nodata=255)
    strata = measure_strata(path)
    assert {s.value: s.pixels for s in strata} == {v: (classes == v).sum() for v in (0, 1)}
    for stratum in strata:  # UTM, near its central meridian: scale 0.9996
        assert stratum.area_m2 == pytest.approx(stratum.pixels * 100 / 0.9996**2, rel=1e-4)


def degrees(tmp_path: Path, classes: np.ndarray, pixel: float) -> Path:
    box = GeoBox(classes.shape, Affine(pixel, 0, 10, 0, -pixel, 60), "EPSG:4326")
    return write_tif(tmp_path / "map.tif", classes, box)


def test_areas_of_a_map_in_degrees_are_geodesic(tmp_path: Path) -> None:
    classes = np.zeros((200, 100), np.uint8)
    classes[100:] = 1
    strata = measure_strata(degrees(tmp_path, classes, 0.001))
    geod = Geod(ellps="WGS84")
    for stratum, (north, south) in zip(strata, ((60, 59.9), (59.9, 59.8)), strict=True):
        # The parallels in 1000 steps: a geodesic between their ends would bulge.
        x = np.linspace(10, 10.1, 1000)
        lon = np.concatenate([x, x[::-1]])
        lat = np.concatenate([np.full(1000, north), np.full(1000, south)])
        expected, _ = geod.polygon_area_perimeter(lon, lat)
        assert stratum.area_m2 == pytest.approx(abs(expected), rel=5e-5)
    assert strata[0].pixels == strata[1].pixels and strata[0].area_m2 < strata[1].area_m2


@pytest.fixture(scope="module")
def large_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of more than one block each way."""
    classes = two_classes(600, 700)
    path = tmp_path_factory.mktemp("map") / "change.tif"
    return write_tif(path, classes, frame(*classes.shape))


def test_a_sample_has_its_sizes_and_lies_in_its_strata_without_repeats(large_map: Path) -> None:
    classes = two_classes(600, 700)
    pixels = draw_sample(large_map, {0: 300, 1: 90}, seed=1)
    assert [sum(p.stratum == v for p in pixels) for v in (0, 1)] == [300, 90]
    assert all(classes[p.row, p.col] == p.stratum for p in pixels)
    assert len({(p.row, p.col) for p in pixels}) == 390


def test_a_seed_draws_the_same_sample_again_and_another_seed_another(large_map: Path) -> None:
    sizes = {0: 20, 1: 20}
    assert draw_sample(large_map, sizes, seed=5) == draw_sample(large_map, sizes, seed=5)
    assert draw_sample(large_map, sizes, seed=5) != draw_sample(large_map, sizes, seed=6)


def test_the_order_tells_nothing_about_the_stratum(large_map: Path) -> None:
    strata = [p.stratum for p in draw_sample(large_map, {0: 200, 1: 200}, seed=0)]
    first = sum(strata[:200])
    assert 70 < first < 130  # 100 ± 5 by chance


def test_every_pixel_is_as_likely_wherever_it_lies(large_map: Path) -> None:
    classes = two_classes(600, 700)
    rows = [p.row for seed in range(8) for p in draw_sample(large_map, {0: 500}, seed)]
    expected = np.histogram(np.nonzero(classes == 0)[0], bins=6, range=(0, 600))[0]
    found = np.histogram(rows, bins=6, range=(0, 600))[0]
    share = expected / expected.sum()
    chi2 = ((found - 4000 * share) ** 2 / (4000 * share)).sum()
    assert chi2 < 20.5  # 0.1 % of fair draws exceed it, 5 degrees of freedom


def test_pixels_of_a_map_in_degrees_are_as_likely_as_their_area(tmp_path: Path) -> None:
    # From 60° N to 12° S: the lower half has 0.60 of the area, not half.
    path = degrees(tmp_path, np.zeros((480, 240), np.uint8), 0.15)
    pixels = draw_sample(path, {0: 4000}, seed=0)
    share = np.mean([p.row >= 240 for p in pixels])
    south = np.sin(np.radians(24)) + np.sin(np.radians(12))
    expected = south / (np.sin(np.radians(60)) + np.sin(np.radians(12)))
    assert share == pytest.approx(expected, abs=0.03)


def test_a_map_that_is_not_there_or_broken_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(AssetReadError, match=r"map .*no\.tif cannot be read"):
        measure_strata(tmp_path / "no.tif")
    path = write_tif(tmp_path / "cut.tif", two_classes(300, 300), frame(300, 300))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(AssetReadError, match=r"map .*cut\.tif cannot be read"):
        measure_strata(path)


@pytest.mark.parametrize(
    ("pixels", "profile", "message"),
    [
        (np.zeros((8, 8), np.float32), {}, r"1 band\(s\) of float32"),
        (np.zeros((2, 8, 8), np.uint8), {}, r"2 band\(s\) of uint8"),
        (np.zeros((8, 8), np.uint8), {"crs": None}, "has no CRS"),
        (np.full((8, 8), 255, np.uint8), {}, "no pixel with a class"),
        (np.full((8, 8), 7, np.uint8), {"nodata": 7}, "no pixel with a class"),
    ],
)
def test_what_is_not_a_map_of_classes_is_refused(
    pixels: np.ndarray, profile: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = write_tif(tmp_path / "map.tif", pixels, frame(8, 8), **profile)
    with pytest.raises(ConfigError, match=message):
        measure_strata(path)
