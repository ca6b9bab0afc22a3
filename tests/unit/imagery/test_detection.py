"""Clouds that are detected: which scenes can be judged, and the same answer in any window."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio import Affine

from noise2map_core.catalog.scene import BandSource, MaskSource, Optics, Scene
from noise2map_core.catalog.scene_json import scene_from_json, scene_to_json
from noise2map_core.clouds.detector import CLEAR, CLOUD, SHADOW, UNKNOWN, load_detector
from noise2map_core.clouds.hidden import Hidden
from noise2map_core.imagery.composite import read_date
from noise2map_core.imagery.detected import read_detected
from noise2map_core.imagery.detection import plan_detection
from noise2map_core.imagery.recipe import plan_recipe, scene_key
from noise2map_core.rasters.identity import asset_identities, pin_scenes
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.imagery import CompositeConfig, MaskConfig, SceneMaskConfig
from tests.raster_factories import frame, scene_of, write_tif

BRIGHT, DARK = 0.5, 0.05


class Sky:
    """Bright is cloud, dark is shadow; but each compared with the mean of the whole window, so that
    an answer tells which window it is from."""

    name, version = "sky", "7"
    sensors: tuple[str, ...] = ("sentinel-2",)
    levels: tuple[str, ...] = ("l2a",)
    bands = (("blue", "swir16"), ("blue",))
    pixel_m, pixel_range_m = 20.0, (5.0, 40.0)
    window_px, margin_px = 24, 4

    def classes(self, reflectance: Any, bands: tuple[str, ...], level: str) -> Any:
        assert reflectance.shape == (len(bands), 24, 24) and reflectance.dtype == np.float32
        seen = reflectance[0] - 0.2 * (reflectance.mean() - 0.2)
        return np.where(seen > 0.35, CLOUD, np.where(seen < 0.1, SHADOW, CLEAR)).astype(np.uint8)


class AnySky(Sky):
    sensors, levels = (), ()


class Wrong(Sky):
    def classes(self, reflectance: Any, bands: Any, level: str) -> Any:
        return np.full((24, 24), 3, np.uint8)


@pytest.fixture(autouse=True, scope="module")
def module() -> Iterator[None]:
    made = ModuleType("sky_of_these_tests")
    made.Sky, made.AnySky, made.Wrong = Sky, AnySky, Wrong  # type: ignore[attr-defined]
    sys.modules[made.__name__] = made
    yield
    del sys.modules[made.__name__]
    load_detector.cache_clear()


SKY = SceneMaskConfig(use="off", detector="sky_of_these_tests:Sky", dilate_px=0)
SIZE = 90


def pixels(size: int = SIZE, seed: int = 0) -> Any:
    """Ground of reflectance 0.2, with bright and dark discs."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.2, 0.02, (size, size))
    rows, cols = np.mgrid[:size, :size]
    for number in range(12):
        row, col, radius = rng.uniform((0, 0, 4), (size, size, 12))
        values[np.hypot(rows - row, cols - col) < radius] = BRIGHT if number % 2 else DARK
    return (values * 10_000).clip(1).astype(np.uint16)


def scene_with_optics(
    folder: Path, geobox: GeoBox | None = None, sensor: str = "sentinel-2", level: str = "l2a",
    scale: float | None = 1e-4, image: Any = None, names: tuple[str, ...] = ("blue",),
) -> tuple[Scene, GeoBox]:  # fmt: skip
    whole = frame(SIZE, SIZE) if geobox is None else geobox
    path = write_tif(folder / "x.tif", pixels() if image is None else image, whole, nodata=0)
    bands = tuple(
        BandSource(name, str(path), 1, None, None, scale, None if scale is None else 0.0)
        for name in names
    )
    scene = replace(scene_of(path, geobox=whole), optics=Optics(sensor, level, bands))
    return scene, whole


def detecting(scene: Scene, mask: SceneMaskConfig = SKY) -> Scene:
    [[planned]] = plan_detection([[scene]], mask)
    return pin_scenes([planned])[0]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, module: None) -> tuple[Scene, GeoBox, Any]:
    scene, whole = scene_with_optics(tmp_path_factory.mktemp("sky"))
    scene = detecting(scene)
    assert scene.detection is not None
    return scene, whole, read_detected(scene.detection, whole)


def test_bright_discs_are_cloud_and_dark_ones_shadow(planned: tuple[Scene, GeoBox, Any]) -> None:
    _, _, found = planned
    truth = pixels() / 10_000
    assert (found[truth > 0.45] == CLOUD).mean() > 0.85
    assert (found[truth < 0.07] == SHADOW).mean() > 0.85
    assert (found[(truth > 0.15) & (truth < 0.25)] == CLEAR).mean() > 0.9
    assert not (found == UNKNOWN).any()


@given(
    row=st.integers(-20, SIZE), col=st.integers(-20, SIZE), height=st.integers(1, 60),
    width=st.integers(1, 60),
)  # fmt: skip
def test_a_window_of_any_size_gets_the_answers_of_the_whole(
    planned: tuple[Scene, GeoBox, Any], row: int, col: int, height: int, width: int
) -> None:
    scene, whole, found = planned
    assert scene.detection is not None
    corner = whole.affine @ Affine.translation(col, row)
    window = read_detected(scene.detection, GeoBox((height, width), corner, whole.crs))
    expected = np.full((height, width), UNKNOWN, np.uint8)
    inside = [range(max(0, at), min(SIZE, at + n)) for at, n in ((row, height), (col, width))]
    if all(map(len, inside)):
        (top, left), (bottom, right) = ([part[end] for part in inside] for end in (0, -1))
        expected[top - row : bottom + 1 - row, left - col : right + 1 - col] = found[
            top : bottom + 1, left : right + 1
        ]
    np.testing.assert_array_equal(window, expected)


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32634", "EPSG:3857"])
def test_tiles_agree_on_any_grid(planned: tuple[Scene, GeoBox, Any], crs: str) -> None:
    scene, whole, _ = planned
    assert scene.detection is not None
    target = whole.to_crs(crs, resolution=7.0)
    found = read_detected(scene.detection, target)
    assert len(np.unique(found)) >= 3
    height, width = target.shape
    for size in (16, 50):
        for row in range(0, height, size):
            for col in range(0, width, size):
                place = (slice(row, min(row + size, height)), slice(col, min(col + size, width)))
                tile = read_detected(scene.detection, target[place])
                np.testing.assert_array_equal(tile, found[place])


@pytest.mark.parametrize("size", [7, 24, 64])
def test_dates_with_growing_clouds_are_the_same_in_any_tile(tmp_path: Path, size: int) -> None:
    scene, whole = scene_with_optics(tmp_path)
    scene = detecting(scene, SKY.model_copy(update={"dilate_px": 3}))
    recipe = plan_recipe(CompositeConfig(), SKY.of_scenes, [scene])
    found = read_date([scene], whole, recipe)
    assert (found.hidden == Hidden.CLOUD).any() and (found.hidden == Hidden.SHADOW).any()
    np.testing.assert_array_equal(found.valid, found.hidden == 0)
    for row in range(0, SIZE, size):
        place = (slice(row, min(row + size, SIZE)), slice(row // 2, min(row // 2 + size, SIZE)))
        tile = read_date([scene], whole[place], recipe)
        np.testing.assert_array_equal(tile.hidden, found.hidden[place])
        np.testing.assert_array_equal(tile.image, found.image[:, *place])


def test_in_degrees_a_detector_looks_at_metres(tmp_path: Path) -> None:
    degrees = GeoBox((SIZE, SIZE), Affine(1.4e-4, 0, 15.0, 0, -1e-4, 48.0), "EPSG:4326")
    scene, whole = scene_with_optics(tmp_path, degrees)
    detection = detecting(scene).detection
    assert detection is not None
    found, truth = read_detected(detection, whole), pixels() / 10_000
    assert (found[truth > 0.45] == CLOUD).mean() > 0.8
    np.testing.assert_array_equal(
        read_detected(detection, whole[30:50, 10:77]), found[30:50, 10:77]
    )


def test_where_nothing_was_observed_nothing_is_known(tmp_path: Path) -> None:
    image = pixels()
    image[:, 50:] = 0
    scene, whole = scene_with_optics(tmp_path, image=image)
    detection = detecting(scene).detection
    assert detection is not None
    found = read_detected(detection, whole)
    assert (found[:, 54:] == UNKNOWN).all() and (found[:, :50] != UNKNOWN).all()


def test_masks_and_detectors_hide_together(tmp_path: Path) -> None:
    scene, whole = scene_with_optics(tmp_path)
    classes = np.full((SIZE, SIZE), 4, np.uint8)
    classes[:10], classes[-10:] = 9, 3
    scl = write_tif(tmp_path / "scl.tif", classes, whole, nodata=0)
    source = MaskSource("scl", BandSource("scl", str(scl), 1, None, None))
    mask = SceneMaskConfig(detector=SKY.detector, dilate_px=0)
    both = detecting(replace(scene, mask=source), mask)
    recipe = plan_recipe(CompositeConfig(), mask.of_scenes, [both])
    found = read_date([both], whole, recipe).hidden
    assert both.detection is not None
    detected = read_detected(both.detection, whole)
    assert (found[:10] == Hidden.CLOUD).all()
    np.testing.assert_array_equal(found[10:-10], detected[10:-10])
    np.testing.assert_array_equal(
        found[-10:], np.where(detected[-10:] == CLOUD, Hidden.CLOUD, Hidden.SHADOW)
    )
    other = detecting(replace(scene, id="other"), mask)
    mixed = plan_recipe(CompositeConfig(), mask.of_scenes, [both, other])
    np.testing.assert_array_equal(read_date([other], whole, mixed).hidden, detected)
    with pytest.raises(ConfigError, match="has no mask"):
        plan_recipe(CompositeConfig(), MaskConfig(use="on"), [both, other])


def test_keys_and_stores_know_the_detector(tmp_path: Path) -> None:
    scene, _ = scene_with_optics(tmp_path)
    plain, found = detecting(scene, SceneMaskConfig()), detecting(scene)
    assert found.detection is not None
    again = replace(found, detection=replace(found.detection, version="8"))
    wider = replace(found, detection=replace(found.detection, grow_px=1))
    recipe = plan_recipe(CompositeConfig(), MaskConfig(use="off"), [found])
    identities = asset_identities([plain, found])
    keys = [str(scene_key(one, identities, recipe)) for one in (plain, found, again, wider)]
    assert len(set(keys)) == 4
    assert plain == detecting(replace(scene, optics=None), SceneMaskConfig())
    assert "detection" not in scene_to_json(plain) and "optics" not in scene_to_json(scene)
    assert scene_from_json(scene_to_json(found)) == found


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "aerial": ({"sensor": "", "level": ""}, {}, "does not say that it is of sentinel-2, whose"),
    "another sensor": (
        {"sensor": "landsat"}, {"detector_level": "l2a"}, "does not say that it is of sentinel-2"
    ),
    "no level": ({"level": ""}, {}, "does not say whether it is l1c or l2a.*detector_level"),
    "wrong level": ({"level": "l1c"}, {}, "is l1c, and mask.detector sky is for l2a"),
    "level denied": ({}, {"detector_level": "l1c"}, "says that it is l2a"),
    "no band": ({"names": ("red",)}, {}, "has no band blue: mask.detector sky needs blue"),
    "no scale": ({"scale": None, "sensor": ""}, {"detector_level": "l2a"}, "detector_scale"),
    "scale stated": ({}, {"detector_scale": 1e-4}, "detector_scale is not used"),
    "aerial pixels": (
        {"geobox": frame(SIZE, SIZE, resolution=0.6)}, {}, "pixels of 0.6 m.*for 5 to 40 m"
    ),
    "coarse pixels": ({"geobox": frame(SIZE, SIZE, resolution=90.0)}, {}, "pixels of 90 m"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_scenes_that_a_detector_does_not_know_are_refused_in_a_line(
    tmp_path: Path, case: str
) -> None:
    given, asked, reason = CASES[case]
    scene, _ = scene_with_optics(tmp_path, **given)
    mask = SceneMaskConfig(**{**SKY.model_dump(), **asked})
    with pytest.raises(ConfigError, match=reason) as error:
        plan_detection([[scene]], mask)
    assert "\n" not in str(error.value)


def test_a_detector_of_anything_asks_neither_for_sensor_nor_level(tmp_path: Path) -> None:
    scene, _ = scene_with_optics(tmp_path, sensor="", level="")
    mask = SKY.model_copy(update={"detector": "sky_of_these_tests:AnySky"})
    found = detecting(scene, mask).detection
    assert found is not None and found.level == ""


@pytest.mark.parametrize("year", [2020, 2023])
def test_numbers_of_sentinel_2_without_a_scale_are_known_before_its_offset(
    tmp_path: Path, year: int
) -> None:
    scene, _ = scene_with_optics(tmp_path, scale=None)
    scene = replace(scene, datetime=datetime(year, 1, 1, tzinfo=UTC))
    if year > 2022:
        with pytest.raises(ConfigError, match=r"Set mask\.detector_scale"):
            detecting(scene)
    else:
        found = detecting(scene).detection
        assert found is not None and found.bands[0].scale == 1e-4


def test_all_dates_are_judged_by_the_same_bands(tmp_path: Path) -> None:
    both, _ = scene_with_optics(tmp_path, names=("swir16", "blue"))
    one, _ = scene_with_optics(tmp_path)
    alone = plan_detection([[both]], SKY)[0][0].detection
    pair = [date[0].detection for date in plan_detection([[both], [one]], SKY)]
    assert alone is not None and [band.name for band in alone.bands] == ["blue", "swir16"]
    assert all(part is not None and len(part.bands) == 1 for part in pair)


def test_an_answer_that_is_none_is_an_error(tmp_path: Path) -> None:
    scene, whole = scene_with_optics(tmp_path)
    mask = SKY.model_copy(update={"detector": "sky_of_these_tests:Wrong"})
    found = detecting(scene, mask).detection
    assert found is not None
    with pytest.raises(ConfigError, match="does not answer by"):
        read_detected(found, whole)
