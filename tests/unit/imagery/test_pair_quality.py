import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from scipy import ndimage
from shapely.geometry import shape

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.sun import sun_direction
from noise2map_core.imagery.composite import read_date
from noise2map_core.imagery.pair_plan import PairPlan, plan_pair
from noise2map_core.imagery.pair_quality import judged
from noise2map_core.imagery.reader import inspect
from noise2map_core.imagery.region import plan_grid
from noise2map_core.imagery.shift import median_shift
from noise2map_core.runtime.errors import AssetReadError, PairRejectedError
from noise2map_core.settings.grid import GridConfig
from noise2map_core.settings.imagery import (
    CompositeConfig,
    MaskConfig,
    PairQualityConfig,
    RadiometryConfig,
)
from tests.raster_factories import CRS, frame, scene_of, write_tif


def real_band(real_data: Path, date: str) -> np.ndarray[Any, Any]:
    (path,) = (real_data / "stac").glob(f"landsat-taizhou/*{date}*/*nir08*.tif")
    with rasterio.open(path) as file:
        return file.read(1)


def moved(pixels: np.ndarray[Any, Any], shift: tuple[float, float]) -> np.ndarray[Any, Any]:
    return ndimage.shift(pixels.astype(np.float64), shift, order=3, mode="nearest")


@pytest.mark.parametrize("shift", [(0.3, 0.0), (0.0, -0.3), (1.7, -0.3), (-1.7, 1.7)])
def test_a_shift_put_into_a_real_scene_is_measured_to_a_tenth_of_a_pixel(
    real_data: Path, shift: tuple[float, float]
) -> None:
    before = real_band(real_data, "2000")
    after = moved(before, shift)
    corners = [(10, 10), (10, 200), (200, 10), (200, 200)]
    places = [(slice(r, r + 180), slice(c, c + 180)) for r, c in corners]
    pairs = [(before[p], after[p], np.ones((180, 180), np.bool_)) for p in places]
    found = median_shift(pairs)
    assert found is not None and found.windows == 4
    assert abs(found.rows - shift[0]) < 0.1 and abs(found.cols - shift[1]) < 0.1


def test_pictures_that_have_nothing_in_common_have_no_shift() -> None:
    rng = np.random.default_rng(0)
    seen = np.ones((96, 96), np.bool_)
    pairs = [(rng.normal(size=(96, 96)), rng.normal(size=(96, 96)), seen) for _ in range(6)]
    assert median_shift(pairs) is None


@pytest.mark.parametrize("name", ["s2-l2a-baseline-0400", "landsat-c2-l2-oli", "landsat-c2-l2-tm"])
def test_the_sun_stands_where_real_items_say(real_data: Path, name: str) -> None:
    document = json.loads((real_data / "items" / f"{name}.json").read_text())
    properties, centre = document["properties"], shape(document["geometry"]).centroid
    when = datetime.fromisoformat(properties["datetime"])
    east, north, up = sun_direction(when, centre.x, centre.y)
    assert abs(np.degrees(np.arcsin(up)) - properties["view:sun_elevation"]) < 0.6
    away = np.degrees(np.arctan2(east, north)) - properties["view:sun_azimuth"]
    assert abs((away + 180) % 360 - 180) < 2.5


def pair(
    folder: Path, after: np.ndarray[Any, Any], before: np.ndarray[Any, Any]
) -> tuple[list[Scene], list[Scene]]:
    whole = frame(*before.shape)
    scenes = []
    for name, pixels in (("before", before), ("after", after)):
        paths = [
            write_tif(folder / f"{name}{n}.tif", band.astype(np.uint16), whole, nodata=0)
            for n, band in enumerate((pixels, pixels.max() - pixels // 2 + 7))
        ]
        scene = scene_of(*paths, geobox=whole, name=name)
        when = scene.datetime + timedelta(days=370 if name == "after" else 0, hours=11)
        scenes.append(replace(scene, datetime=when))
    return [scenes[0]], [scenes[1]]


def planned(
    before: list[Scene], after: list[Scene], action: Any = "report", **radiometry: Any
) -> PairPlan:
    aoi = AreaOfInterest("all", shapely.from_wkb(before[0].footprint_wkb))
    return plan_pair(
        before, after, plan_grid(aoi, GridConfig(), [*before, *after]), CompositeConfig(),
        MaskConfig(), PairQualityConfig(action=action), RadiometryConfig(**radiometry),
    )  # fmt: skip


@pytest.fixture(scope="module")
def ground(real_data: Path) -> np.ndarray[Any, Any]:
    return 1000 + 20 * real_band(real_data, "2000")[:390, :390].astype(np.int64)


def test_a_pair_of_the_same_ground_is_fine(tmp_path: Path, ground: Any) -> None:
    plan = planned(*pair(tmp_path, ground + 3, ground))
    assert plan.quality is not None and plan.quality.verdict == "ok" and plan.recipe.key() == {}
    assert plan.quality.valid_overlap == 1.0 and plan.quality.shift_px == (0.0, 0.0)
    assert plan.quality.season_days == pytest.approx(4.75) and plan.warnings == ()
    assert json.loads(json.dumps(plan.quality.as_dict()))["verdict"] == "ok"


def test_a_shifted_pair_is_warned_of_rejected_or_put_in_its_place(
    tmp_path: Path, ground: Any
) -> None:
    before, after = pair(tmp_path, moved(ground, (1.7, -0.3)).clip(1), ground)
    plan = planned(before, after)
    assert plan.quality is not None and plan.quality.verdict == "warn"
    assert "1.73 px apart" in plan.warnings[0] or "1.72 px apart" in plan.warnings[0]
    repaired = planned(before, after, correct_shift="auto")
    geobox = inspect(before[0].bands[0]).geobox[20:370, 20:370]
    truth = read_date(before, geobox, repaired.recipe).image.astype(float)
    as_is, put = (
        np.abs(read_date(after, geobox, p.recipe, last=True).image - truth).mean()
        for p in (plan, repaired)
    )
    assert put < as_is / 3


def test_a_pair_far_apart_is_rejected_with_its_numbers(tmp_path: Path, ground: Any) -> None:
    before, after = pair(tmp_path, moved(ground, (9, 0)).clip(1), ground)
    assert planned(before, after).quality is not None
    with pytest.raises(PairRejectedError, match=r"before, after is rejected: .*(8\.9|9\.0)\d px"):
        planned(before, after, action="reject")


def test_an_offset_that_nothing_states_is_suspected_and_repaired(
    tmp_path: Path, ground: Any
) -> None:
    before, after = pair(tmp_path, ground, ground)
    shifted = []
    for band in after[0].bands:
        with rasterio.open(band.href) as file:
            pixels = file.read(1) + 1000
        path = Path(band.href).with_name(f"more{Path(band.href).name}")
        shifted.append(replace(band, href=str(write_tif(path, pixels, frame(390, 390), nodata=0))))
    after = [replace(after[0], bands=tuple(shifted))]
    plan = planned(before, after, use="auto")
    assert plan.quality is not None and plan.quality.offset_suspected
    assert np.allclose(plan.recipe.correction.offset, -1000, atol=20)
    geobox = inspect(before[0].bands[0]).geobox
    one, other = (read_date(s, geobox, plan.recipe, last=s is after) for s in (before, after))
    assert np.abs(one.image.astype(int) - other.image).max() <= 5


@pytest.mark.parametrize(
    ("claim", "text"), [({"half": 5.0}, "0.50 px off its file"), ({"code": "EPSG:32634"}, "states")]
)
def test_an_item_that_places_its_file_elsewhere_is_named(
    tmp_path: Path, ground: Any, claim: dict[str, Any], text: str
) -> None:
    before, after = pair(tmp_path, ground, ground)
    transform = (10.0, 0.0, 500_000.0 + claim.get("half", 0.0), 0.0, -10.0, 5_000_000.0)
    code = claim.get("code", CRS)
    after = [replace(after[0], proj_transform=transform, proj_code=code)]
    assert text in planned(before, after).warnings[0]


def test_pixels_that_cannot_be_read_are_reported_or_end_the_plan(
    tmp_path: Path, ground: Any
) -> None:
    before, after = pair(tmp_path, ground, ground)
    for band in (*before[0].bands, *after[0].bands):
        inspect(band)
    with Path(after[0].bands[0].href).open("r+b") as file:
        file.truncate(3000)
    plan = planned(before, after)
    assert plan.quality is not None and plan.quality.verdict != "ok"
    assert "after0.tif" in " ".join(plan.warnings)
    with pytest.raises(AssetReadError, match=r"after0\.tif"):
        planned(before, after, use="on")


@pytest.mark.parametrize("limits", [(0.5, 0.9), (0.9, 0.5)])
def test_a_limit_of_rejection_counts_whatever_the_limit_of_warning_is(
    tmp_path: Path, ground: Any, limits: tuple[float, float]
) -> None:
    measured = planned(*pair(tmp_path, ground, ground)).quality
    assert measured is not None
    config = PairQualityConfig(warn_overlap=limits[0], reject_overlap=limits[1])
    verdicts = [
        judged(replace(measured, valid_overlap=share), config).verdict for share in (0.95, 0.7, 0.4)
    ]
    assert verdicts == ["ok", "reject" if limits[1] > 0.7 else "warn", "reject"]
    shifted = replace(measured, shift_px=(2.0, 0.0))
    assert (
        judged(shifted, PairQualityConfig(warn_shift_px=3, reject_shift_px=1)).verdict == "reject"
    )
