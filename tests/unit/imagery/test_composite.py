from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import BandSource, MaskKind, MaskSource, Scene
from noise2map_core.clouds.hidden import Hidden
from noise2map_core.imagery.composite import median_of, order_scenes, read_date
from noise2map_core.imagery.recipe import UNCHANGED, Correction, PixelRecipe, plan_recipe
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.imagery import CompositeConfig, MaskConfig
from tests.raster_factories import frame, noise, scene_of, write_tif

MASK = MaskConfig(use="on", dilate_px=3)
MASKED = PixelRecipe(mask=MASK)


def with_mask(scene: Scene, path: Path, kind: MaskKind = "scl") -> Scene:
    return replace(scene, mask=MaskSource(kind, BandSource(kind, str(path), 1, None, None)))


def scl(size: int, seed: int) -> Any:
    """Mostly vegetation, a cloud in one place, some of all classes."""
    rng = np.random.default_rng(seed)
    classes = np.full((size, size), 4, np.uint8)
    spots = rng.uniform(size=classes.shape) < 0.02
    classes[spots] = rng.integers(0, 12, int(spots.sum()))
    classes[10:14, 12:18] = 9
    return classes


def cloudy_scenes(folder: Path, count: int = 2, size: int = 60) -> tuple[list[Scene], GeoBox]:
    """Scenes of 10 m with masks of 20 m, as Sentinel-2 has them."""
    whole, coarse = frame(size, size), frame(size // 2, size // 2, resolution=20.0)
    scenes = []
    for number in range(count):
        pixels = noise(size, size, "uint16", number)
        pixels[number * 5 : number * 5 + 5, :7] = 0
        path = write_tif(folder / f"{number}.tif", pixels, whole, nodata=0)
        mask = write_tif(folder / f"scl{number}.tif", scl(size // 2, number), coarse, nodata=0)
        scenes.append(with_mask(scene_of(path, geobox=whole, name=str(number)), mask))
    return scenes, whole


@pytest.mark.parametrize("kind", ["first", "median"])
@pytest.mark.parametrize("shift_px", [(0.0, 0.0), (0.4, -1.3)])
def test_tiles_of_masked_composites_agree_with_the_whole(
    tmp_path: Path, kind: Any, shift_px: tuple[float, float]
) -> None:
    scenes, whole = cloudy_scenes(tmp_path, 3)
    recipe = PixelRecipe(
        composite=CompositeConfig(kind=kind), mask=MASK, correction=Correction(shift_px=shift_px)
    )
    full = read_date(scenes, whole, recipe, last=True)
    assert full.masked.sum() > 0 and 0 < full.valid.sum() < full.valid.size
    for row in range(0, 60, 20):
        for col in range(0, 60, 12):
            place = (slice(row, row + 20), slice(col, col + 12))
            tile = read_date(scenes, whole[place], recipe, last=True)
            assert np.array_equal(tile.valid, full.valid[place])
            assert np.array_equal(tile.masked, full.masked[place])
            away = tile.image.astype(int) - full.image[:, *place]
            assert np.abs(away).max() <= (1 if any(shift_px) else 0)


def test_pixels_and_cloud_masks_in_another_zone_are_those_of_odc_stac(tmp_path: Path) -> None:
    (scene,), whole = cloudy_scenes(tmp_path, 1)
    target = GeoBox.from_bbox(
        whole.extent.to_crs("EPSG:32632").boundingbox, crs="EPSG:32632", resolution=10
    )
    item = pystac.Item(
        "0", whole.geographic_extent.__geo_interface__, None, scene.datetime, {"proj:epsg": 32633}
    )
    for name in ("0", "scl0"):
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            placed = {"proj:shape": file.shape, "proj:transform": list(file.transform)[:6]}
        item.add_asset(name, pystac.Asset(str(tmp_path / f"{name}.tif"), extra_fields=placed))
    oracle = odc.stac.load([item], ["0", "scl0"], geobox=target, resampling="nearest", nodata=0)
    pixels, classes = oracle["0"].values[0], oracle["scl0"].values[0]
    hidden = np.isin(classes, (0, *MASK.scl_classes))
    recipe = PixelRecipe(mask=MASK.model_copy(update={"dilate_px": 0}))
    found = read_date([scene], target, recipe, "nearest")
    assert np.array_equal(found.valid, (pixels > 0) & ~hidden) and 0 < found.valid.mean() < 1
    assert np.array_equal(found.image[0], np.where(found.valid, pixels, 0))


def test_masked_pixels_come_from_the_next_scene_or_are_told_from_nodata(tmp_path: Path) -> None:
    scenes, whole = cloudy_scenes(tmp_path)
    found = read_date(scenes, whole, MASKED)
    alone = [read_date([scene], whole, MASKED) for scene in scenes]
    expected = np.where(alone[0].valid, alone[0].image, alone[1].image)
    assert np.array_equal(found.valid, alone[0].valid | alone[1].valid)
    assert np.array_equal(found.image[0][found.valid], expected[0][found.valid])
    assert np.array_equal(found.masked, ~found.valid & (alone[0].masked | alone[1].masked))
    plain = read_date(scenes[:1], whole, UNCHANGED)
    assert not (alone[0].masked & ~plain.valid).any()


def test_a_mask_grows_by_exactly_its_radius(tmp_path: Path) -> None:
    whole = frame(40, 40)
    path = write_tif(tmp_path / "a.tif", noise(40, 40), whole)
    classes = np.full((40, 40), 5, np.uint8)
    classes[20, 11] = 9
    scene = with_mask(scene_of(path, geobox=whole), write_tif(tmp_path / "scl.tif", classes, whole))
    found = read_date([scene], whole, MASKED)
    y, x = np.ogrid[:40, :40]
    assert np.array_equal(found.masked, np.hypot(y - 20, x - 11) <= 3)


def test_shadow_is_told_from_cloud_and_cloud_stands_before_it(tmp_path: Path) -> None:
    whole = frame(40, 40)
    path = write_tif(tmp_path / "a.tif", noise(40, 40), whole)
    classes = np.full((40, 40), 5, np.uint8)
    classes[20, 11], classes[20, 15] = 9, 3
    scene = with_mask(scene_of(path, geobox=whole), write_tif(tmp_path / "scl.tif", classes, whole))
    found = read_date([scene], whole, MASKED)
    y, x = np.ogrid[:40, :40]
    cloud, shadow = np.hypot(y - 20, x - 11) <= 3, np.hypot(y - 20, x - 15) <= 3
    assert np.array_equal(found.hidden == Hidden.CLOUD, cloud)
    assert np.array_equal(found.hidden == Hidden.SHADOW, shadow & ~cloud)


@pytest.mark.parametrize(
    ("bits", "state"), [(0b1, "nodata"), (0b1000, "masked"), (0b10000, "masked"), (0b1000000, "ok")]
)
def test_bits_of_landsat_mask_and_its_fill_is_nodata(tmp_path: Path, bits: int, state: str) -> None:
    whole = frame(4, 4)
    path = write_tif(tmp_path / "a.tif", noise(4, 4), whole)
    qa = np.full((4, 4), bits, np.uint16)
    mask = write_tif(tmp_path / "qa.tif", qa, whole, nodata=1)
    scene = with_mask(scene_of(path, geobox=whole), mask, "qa_pixel")
    found = read_date([scene], whole, MASKED)
    assert found.valid.all() == (state == "ok") and found.masked.all() == (state == "masked")
    assert (found.hidden == Hidden.SHADOW).all() == (bits == 0b10000)


def test_a_mask_that_cannot_be_had_is_an_error(tmp_path: Path) -> None:
    scenes, _ = cloudy_scenes(tmp_path, 1)
    bare = replace(scenes[0], mask=None)
    for use, asked in (("on", [bare]), ("on", [*scenes, bare]), ("auto", [*scenes, bare])):
        with pytest.raises(ConfigError, match="item 0 has no mask"):
            plan_recipe(CompositeConfig(), MaskConfig.model_validate({"use": use}), asked)
    assert not plan_recipe(CompositeConfig(), MaskConfig(), [bare]).masked
    assert plan_recipe(CompositeConfig(), MaskConfig(), scenes).masked


def test_the_median_is_that_of_masked_arrays() -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 60_000, (5, 2, 30, 30)).astype(np.uint16)
    seen = rng.uniform(size=(5, 30, 30)) < 0.6
    image, valid = median_of(images, seen)
    hidden = np.broadcast_to(~seen[:, None], images.shape)
    oracle = np.ma.median(np.ma.array(images.astype(float), mask=hidden), axis=0)
    assert np.array_equal(valid, seen.any(axis=0))
    assert np.array_equal(image[:, valid], np.floor(oracle.filled(0))[:, valid])


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint64", "float32"]
)
def test_the_median_of_two_is_their_mean_however_far_they_lie_apart(dtype: str) -> None:
    """Against Python's own integers, which do not overflow."""
    kind = np.dtype(dtype)
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    ends = [limits.min, limits.max, 0, 1, limits.max - 1, limits.min + 3]
    pairs = [(one, other) for one in ends for other in ends]
    images = np.array(pairs, kind).T.reshape(2, 1, 1, -1)
    image, valid = median_of(images, np.ones((2, 1, len(pairs)), np.bool_))
    assert valid.all()
    for (one, other), found in zip(pairs, image[0, 0].tolist(), strict=True):
        exact = (
            float(one) / 2 + float(other) / 2 if kind.kind == "f" else (int(one) + int(other)) // 2
        )
        assert found == pytest.approx(exact, rel=1e-6) if kind.kind == "f" else found == exact


def test_an_earlier_date_may_be_a_median_and_the_last_one_its_latest_scene(tmp_path: Path) -> None:
    """Against numpy's median of what each scene alone shows, whole and in tiles."""
    scenes, whole = cloudy_scenes(tmp_path, 3, 150)
    recipe = PixelRecipe(composite=CompositeConfig(before="median"), mask=MASK)
    alone = [read_date([scene], whole, MASKED) for scene in scenes]
    stack = np.ma.array([one.image[0] for one in alone], mask=[~one.valid for one in alone])
    before = read_date(scenes, whole, recipe)
    assert np.array_equal(before.valid, ~stack.mask.all(axis=0)) and before.valid.any()
    expected = np.floor(np.ma.median(stack.astype(float), axis=0).filled(0))
    assert np.array_equal(before.image[0][before.valid], expected[before.valid])
    after = read_date(scenes, whole, recipe, last=True)
    assert np.array_equal(after.image, read_date(scenes, whole, MASKED, last=True).image)
    for col in range(0, 150, 50):
        place = (slice(10, 100), slice(col, col + 50))
        assert np.array_equal(
            read_date(scenes, whole[place], recipe).image, before.image[:, *place]
        )


def test_a_kind_of_its_own_that_says_the_same_is_no_other_key() -> None:
    same = PixelRecipe(composite=CompositeConfig(before="first"))
    assert same.key() == UNCHANGED.key()


@pytest.mark.parametrize("stated", [True, False])
def test_least_cloud_comes_first_by_the_items_or_by_their_masks(
    tmp_path: Path, stated: bool
) -> None:
    whole = frame(20, 20)
    scenes = []
    for number, rows in enumerate((12, 3, 7)):
        path = write_tif(tmp_path / f"{number}.tif", noise(20, 20), whole)
        classes = np.full((20, 20), 4, np.uint8)
        classes[:rows] = 9
        mask = write_tif(tmp_path / f"scl{number}.tif", classes, whole)
        scene = with_mask(scene_of(path, geobox=whole, name=str(number)), mask)
        scenes.append(replace(scene, cloud_cover=5.0 * rows if stated else None))
    recipe = PixelRecipe(composite=CompositeConfig(kind="least_cloud"), mask=MASK)
    assert [scene.id for scene in order_scenes(scenes, recipe, whole)] == ["1", "2", "0"]
    if not stated:
        with pytest.raises(ConfigError, match="cloud cover"):
            order_scenes(scenes, recipe.model_copy(update={"mask": UNCHANGED.mask}), whole)


def test_of_one_day_the_scenes_of_the_grids_own_zone_come_first() -> None:
    whole = frame(20, 20)  # near 15° east: noon there is 11:00 UTC
    told = [
        ("tomorrow", "2020-06-02T23:30:00+00:00", "EPSG:32634"),
        ("neighbour", "2020-06-02T10:00:09+00:00", "EPSG:32634"),
        ("own", "2020-06-02T10:00:00+00:00", str(whole.crs)),
        ("not said", "2020-06-01T23:30:00+00:00", None),
        ("yesterday", "2020-06-01T10:00:00+00:00", str(whole.crs)),
    ]
    scenes = [
        replace(
            scene_of(geobox=whole, name=name, proj_code=code), datetime=datetime.fromisoformat(when)
        )
        for name, when, code in told
    ]
    ordered = [scene.id for scene in order_scenes(scenes, UNCHANGED, whole)]
    assert ordered == ["tomorrow", "own", "neighbour", "not said", "yesterday"]


def test_the_default_recipe_adds_nothing_to_keys_and_all_else_does() -> None:
    assert UNCHANGED.key() == {}
    others = [
        MASKED,
        PixelRecipe(composite=CompositeConfig(kind="median")),
        PixelRecipe(composite=CompositeConfig(before="median")),
        PixelRecipe(composite=CompositeConfig(kind="median", before="first")),
        PixelRecipe(correction=Correction(gain=(1.0,), offset=(2.0,))),
        PixelRecipe(correction=Correction(shift_px=(0.1, 0.0))),
    ]
    assert len({str(recipe.key()) for recipe in others}) == len(others)
