"""The light of a region's scenes: of its own pixels, the same for whoever asks."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.moments import CENTRAL
from noise2map_core.imagery.recipe import UNCHANGED
from noise2map_core.inference import scene_light
from noise2map_core.inference.scene_light import FILE, SceneLight, keep_light, read_light
from noise2map_core.learning.alteration import pair_alteration
from tests.raster_factories import CRS, frame, noise, scene_of, write_tif

BOX = frame(90, 110)
GRID = RegionGrid.covering(AreaOfInterest("a", BOX.geographic_extent.geom), CRS, 10.0)


def date_of(folder: Path, name: str, values: NDArray[np.uint16]) -> tuple[Scene, ...]:
    path = write_tif(folder / f"{name}.tif", values, BOX, nodata=0)
    return (scene_of(path, geobox=BOX, name=name),)


def light(dates: tuple[tuple[Scene, ...], ...], output: Path) -> SceneLight:
    identities = {band.href: band.href for date in dates for one in date for band in one.bands}
    return read_light(dates, GRID, UNCHANGED, identities, output)


@pytest.fixture
def dates(tmp_path: Path) -> tuple[tuple[Scene, ...], ...]:
    one, other = (noise(90, 110, "uint16", seed) for seed in (1, 2))
    other[:20] = 0
    return date_of(tmp_path, "one", one), date_of(tmp_path, "other", other)


def test_a_small_region_says_what_all_of_its_observed_pixels_are(
    dates: tuple[tuple[Scene, ...], ...], tmp_path: Path
) -> None:
    found = light(dates, tmp_path).dates
    for number, seed in enumerate((1, 2)):
        values = noise(90, 110, "uint16", seed)[20 * number :]
        low, centre, high = np.quantile(values, CENTRAL)
        assert found[number] == ((pytest.approx(centre),), (pytest.approx((high - low) / 2),))
    assert light(dates, tmp_path).unknown == []


def test_what_was_kept_is_taken_and_what_is_damaged_or_of_others_is_not(
    dates: tuple[tuple[Scene, ...], ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = light(dates, tmp_path)
    keep_light(measured, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(scene_light, "read_date", lambda *_, **__: pytest.fail("pixels were read"))
        assert light(dates, tmp_path) == measured
    swapped = light(dates[::-1], tmp_path)
    assert swapped.dates == measured.dates[::-1] and swapped.key != measured.key
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text()[:-30])
    assert light(dates, tmp_path) == measured


def test_a_date_that_is_hardly_observed_is_named(tmp_path: Path) -> None:
    clear = noise(90, 110, "uint16", 1)
    cloudy = np.zeros_like(clear)
    cloudy[:10, :10] = 7
    found = light((date_of(tmp_path, "c", clear), date_of(tmp_path, "n", cloudy)), tmp_path)
    assert found.unknown == [1]
    keep_light(found, tmp_path)
    assert json.loads((tmp_path / FILE).read_text())["dates"][1] == [[None], [None]]
    assert light((date_of(tmp_path, "c", clear), date_of(tmp_path, "n", cloudy)), tmp_path).unknown


def test_scenes_outside_the_region_do_not_move_it(
    dates: tuple[tuple[Scene, ...], ...], tmp_path: Path
) -> None:
    far = frame(90, 110, x=600_000.0)
    path = write_tif(tmp_path / "far.tif", 40 * noise(90, 110, "uint16", 5), far, nodata=0)
    more = tuple((*date, scene_of(path, geobox=far, name="far")) for date in dates)
    assert light(more, tmp_path / "more").dates == light(dates, tmp_path).dates


def test_a_pair_says_how_it_differs_where_nothing_changed(
    dates: tuple[tuple[Scene, ...], ...], tmp_path: Path
) -> None:
    pair = np.stack([noise(90, 110, "uint16", seed)[None] for seed in (1, 2)])
    seen = np.arange(90)[:, None] + np.zeros(110) >= 20
    identities = {band.href: band.href for date in dates for one in date for band in one.bands}
    found = read_light(dates, GRID, UNCHANGED, identities, tmp_path, with_alteration=True)
    expected = pair_alteration(*pair[:, :, seen], windows=[(pair, seen)])
    np.testing.assert_allclose(found.alteration, expected, rtol=1e-6)
    alone = light(dates, tmp_path)
    assert found.dates == alone.dates and alone.alteration == ()
    assert found.key != alone.key and found.digest != alone.digest
    keep_light(found, tmp_path)
    again = read_light(dates, GRID, UNCHANGED, identities, tmp_path, with_alteration=True)
    assert again == found and not again.is_alteration_unknown
