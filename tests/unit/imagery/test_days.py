"""Days over an area: cloud counted from the masks themselves, coverage measured by geopandas."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.features import geometry_mask

from noise2map_core.catalog.scene_json import scene_to_json
from noise2map_core.catalog.search import picture_bands
from noise2map_core.cli.commands import scenes
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.imagery.best_day import best_day, choose_dates, season_days
from noise2map_core.imagery.days import CoarseArea, Day, covered, find_days
from noise2map_core.imagery.preview import CLOUD, draw_day
from noise2map_core.runtime.errors import AssetReadError, ConfigError, NoImageryError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.imagery import MaskConfig
from noise2map_core.testing.catalog import serve_catalog
from noise2map_core.workflows.tools.scenes import ScenesConfig
from tests.catalog_factories import catalog_of, item
from tests.raster_factories import CRS, frame, noise, scene_of, write_tif

ALL = "2020-01-01/2020-12-31"
PX = 64


def area_of(*box: float, crs: str = CRS) -> AreaOfInterest:
    """A box in metres, its edges dense enough for degrees."""
    outline = gpd.GeoSeries([shapely.box(*box).segmentize(50)], crs=crs).to_crs("EPSG:4326")[0]
    return AreaOfInterest("box", outline)


AREA = area_of(500_100, 4_999_500, 500_520, 4_999_960)


def clouds(seed: int, share: float) -> Any:
    """Classes of scenes in which about a share is cloud, in coarse blobs."""
    rng = np.random.default_rng(seed)
    blobs = np.kron(rng.random((PX // 8, PX // 8)), np.ones((4, 4)))
    return np.where(blobs < share, 9, 4).astype(np.uint8)


def stated(cover: float) -> dict[str, Any]:
    """What an item says of its whole scene, percent."""
    return {"eo:cloud_cover": cover}


def day_item(
    folder: Path, when: str, classes: Any = None, name: str = "", cols: slice = slice(None),
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """An item of a 10 m band, with scene classes of 20 m if there are any; `cols` of its pixels."""
    name = name or f"s-{when[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    whole = frame(PX, PX)[:, cols]
    height, width = whole.shape
    pixels = write_tif(folder / f"{name}.tif", noise(height, width, "uint16"), whole, nodata=0)
    document = item(name, pixels, whole.geographic_extent.geom, datetime=when, **more)
    if classes is not None:
        grid = frame(PX // 2, PX // 2, resolution=20.0)
        document["assets"]["scl"] = {
            "href": str(write_tif(folder / f"{name}-scl.tif", classes, grid))
        }
    return document


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> SearchConfig:
    """Six days: of two of them no mask, one of two scenes, one that shows half of the area."""
    folder = tmp_path_factory.mktemp("days")
    items = [
        day_item(folder, "2020-03-01T10:00:00Z", clouds(1, 0.5), constellation="sentinel-2"),
        day_item(folder, "2020-05-01T10:00:00Z", clouds(2, 0.1), **stated(90.0)),
        day_item(folder, "2020-06-01T10:00:00Z", **stated(21.0), platform="landsat-8"),
        day_item(folder, "2020-07-01T10:00:00Z", gsd=12),
        day_item(folder, "2020-08-01T10:00:00Z", clouds(3, 0.6), "west", slice(0, 40)),
        day_item(folder, "2020-08-01T10:00:20Z", clouds(4, 0.4), "east", slice(20, PX)),
        day_item(folder, "2020-09-01T10:00:00Z", clouds(5, 0.0), cols=slice(0, 30)),
    ]
    return catalog_of(folder, *items)


@pytest.fixture(scope="module")
def days(search: SearchConfig) -> dict[str, Day]:
    found = find_days(search, AREA, ALL, ["red"], MaskConfig(), CoarseArea.of(AREA))
    return {str(day.day): day for day in found}


def counted(*paths: Path) -> float:
    """The cloudy share of the area's pixels in scene classes, cloudy in all of the files."""
    hidden, inside = [], None
    for path in paths:
        with rasterio.open(path) as file:
            outline = gpd.GeoSeries([AREA.geometry], crs="EPSG:4326").to_crs(file.crs)
            inside = geometry_mask(outline, file.shape, file.transform, invert=True)
            hidden.append(np.isin(file.read(1), (1, 3, 8, 9, 10)))
    return float(np.all(hidden, axis=0)[inside].mean())


def folder_of(search: SearchConfig) -> Path:
    return Path(search.catalog).parent


def test_days_come_in_order_with_their_scenes_together(days: dict[str, Day]) -> None:
    assert list(days) == [f"2020-{month:02}-01" for month in (3, 5, 6, 7, 8, 9)]
    assert {scene.id for scene in days["2020-08-01"].scenes} == {"west", "east"}
    assert days["2020-03-01"].sensor == "sentinel-2"
    assert days["2020-06-01"].sensor == "landsat-8"
    assert days["2020-07-01"].sensor == "?"
    assert days["2020-07-01"].gsd == 12
    assert days["2020-03-01"].gsd == pytest.approx(10, rel=0.01)  # as its file has it


@pytest.mark.parametrize("when", ["2020-03-01", "2020-05-01"])
def test_cloud_is_the_masked_share_of_the_area(
    when: str, days: dict[str, Day], search: SearchConfig
) -> None:
    day = days[when]
    assert day.cloud_of == "area"
    assert day.cloud == pytest.approx(counted(folder_of(search) / f"s-{when}-scl.tif"), abs=0.01)
    assert day.cloud_text == f"{100 * (day.cloud or 0):.0f} %"


def test_of_two_scenes_cloud_is_what_both_hide(days: dict[str, Day], search: SearchConfig) -> None:
    paths = [folder_of(search) / f"{name}-scl.tif" for name in ("west", "east")]
    assert days["2020-08-01"].cloud == pytest.approx(counted(*paths), abs=0.01)


def test_without_masks_cloud_is_that_of_the_scene_or_not_known(days: dict[str, Day]) -> None:
    assert days["2020-06-01"].cloud_text == "21 % of the scene"
    assert (days["2020-07-01"].cloud, days["2020-07-01"].cloud_text) == (None, "?")


def test_masks_that_are_off_are_not_read(search: SearchConfig) -> None:
    off = MaskConfig(use="off")
    found = find_days(search, AREA, "2020-05-01", ["red"], off, CoarseArea.of(AREA))
    assert found[0].cloud_text == "90 % of the scene"


def test_coverage_is_that_of_another_projection(days: dict[str, Day]) -> None:
    for day in days.values():
        footprints = shapely.from_wkb([scene.footprint_wkb for scene in day.scenes])
        metres = gpd.GeoSeries([AREA.geometry, *footprints], crs="EPSG:4326").to_crs(CRS)
        shown = metres.iloc[1:].union_all() & metres.iloc[0]
        assert day.coverage == pytest.approx(shown.area / metres.iloc[0].area, abs=1e-3)
    assert days["2020-08-01"].coverage == pytest.approx(1)
    assert 0.4 < days["2020-09-01"].coverage < 0.6


@pytest.mark.parametrize("box", [(0, 60, 20, 80), (-180, -80, -100, -40), (10, -5, 11, 5)])
def test_shares_of_large_areas_are_of_the_ground(box: tuple[float, ...]) -> None:
    west, south, east, north = box
    footprint = shapely.box(west - 1, south + (north - south) / 3, east, north).segmentize(0.2)
    scene = replace(scene_of(geobox=frame(2, 2)), footprint_wkb=shapely.to_wkb(footprint))
    area = shapely.box(*box)
    both = gpd.GeoSeries([area & footprint, area.segmentize(0.2)], crs="EPSG:4326")
    part, whole = both.to_crs("ESRI:54034").area  # Lambert's cylinder on the ellipsoid
    assert covered([scene], area) == pytest.approx(part / whole, abs=2e-3)


def test_real_items_cover_the_same_at_the_antimeridian(real_data: Path) -> None:
    path = real_data / "items" / "s2-l2a-baseline-0509-antimeridian.json"
    document = json.loads(path.read_text())
    footprint = shapely.geometry.shape(document["geometry"])
    scene = replace(scene_of(geobox=frame(2, 2)), footprint_wkb=shapely.to_wkb(footprint))
    area = footprint.convex_hull & shapely.box(-180, -90, -178, 90)
    both = gpd.GeoSeries([area, area & footprint], crs="EPSG:4326").to_crs("EPSG:32701").area
    assert covered([scene], area) == pytest.approx(both[1] / both[0], abs=2e-3)


def test_a_mask_that_is_gone_leaves_what_the_item_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    document = day_item(tmp_path, "2020-05-01T10:00:00Z", clouds(1, 0.5), **stated(40.0))
    search = catalog_of(tmp_path, document)
    (tmp_path / "s-2020-05-01-scl.tif").unlink()
    (day,) = find_days(search, AREA, ALL, ["red"], MaskConfig(), CoarseArea.of(AREA))
    assert day.cloud_text == "40 % of the scene"
    assert "the cloud mask of item s-2020-05-01 is not there" in caplog.text
    (tmp_path / "s-2020-05-01-scl.tif").write_bytes(b"no raster")
    with pytest.raises(AssetReadError):
        find_days(search, AREA, ALL, ["red"], MaskConfig(), CoarseArea.of(AREA))


def test_the_sensor_is_not_written_beside_outputs(days: dict[str, Day]) -> None:
    assert "sensor" not in scene_to_json(days["2020-03-01"].scenes[0])


def test_an_area_narrower_than_a_pixel_is_seen(search: SearchConfig) -> None:
    strip = area_of(500_100, 4_999_700, 500_500, 4_999_700.5)
    coarse = CoarseArea.of(strip)
    assert coarse.geobox.shape[1] == 256 and coarse.inside.any()


def test_a_picture_tints_what_is_masked(days: dict[str, Day], search: SearchConfig) -> None:
    coarse, day = CoarseArea.of(AREA), days["2020-03-01"]
    picture = draw_day(day, coarse)
    assert picture.shape == (*coarse.geobox.shape, 3)
    assert picture.min() >= 0 and picture.max() <= 1
    clear = picture[coarse.inside & ~day.hidden]
    assert np.ptp(clear, axis=1).max() < 1e-6  # grey: one band
    tinted = picture[day.hidden]
    assert np.allclose(tinted[:, 0] - tinted[:, 1], 0.45 * (CLOUD[0] - CLOUD[1]), atol=1e-3)
    assert draw_day(days["2020-09-01"], coarse)[:, -1].min() == 1  # nothing there


def facts_of(output: Path) -> list[dict[str, Any]]:
    document = json.loads((output / "scenes.json").read_text())
    assert document["format_version"] == 1
    return list(document["dates"])


def test_the_command_lists_and_draws(search: SearchConfig, tmp_path: Path) -> None:
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps(shapely.geometry.mapping(AREA.geometry)))
    output = tmp_path / "made" / "sheet"
    config = ScenesConfig(aoi=path, search=search, dates=ALL, sort="cloud", output=output)
    lines = scenes.run(config).summary()
    facts = facts_of(output)
    known = [one["cloud_percent"] for one in facts]
    assert known[-1] is None and known[:-1] == sorted(known[:-1])
    assert lines[0].split()[:3] == ["date", "scenes", "sensor"]
    assert [line[:10] for line in lines[1:7]] == [one["date"] for one in facts]
    august = next(one for one in facts if one["date"] == "2020-08-01")
    assert sorted(august["scenes"]) == ["east", "west"]
    assert (august["coverage_percent"], august["cloud_of"]) == (100, "area")
    with Image.open(output / "scenes.png") as sheet:
        assert 6 * 200 < sheet.width < 6 * 300
        assert 256 + 40 < sheet.height < 2 * 256
    first = (output / "scenes.png").read_bytes()
    scenes.run(config)
    assert (output / "scenes.png").read_bytes() == first


def test_the_command_asks_an_api(search: SearchConfig) -> None:
    with serve_catalog(folder_of(search)) as server:
        there = search.model_copy(update={"catalog": server.url})
        box = ",".join(map(str, AREA.geometry.bounds))
        config = ScenesConfig(aoi=Path(box), search=there, dates=ALL)
        found = scenes.run(config)
    assert [str(day.day)[5:7] for day in found.days] == ["03", "05", "06", "07", "08", "09"]
    assert found.summary()[1].split() == [
        "2020-03-01",
        "1",
        "sentinel-2",
        *found.summary()[1].split()[3:],
    ]


def test_dates_without_imagery_are_said_as_a_search_says_them(search: SearchConfig) -> None:
    with pytest.raises(NoImageryError, match="its dates there run from 2020-03-01 to 2020-09-01"):
        scenes.run(ScenesConfig(aoi=Path("14.99,45.13,15.01,45.16"), search=search, dates="1999"))


@pytest.mark.parametrize(
    ("collection", "box", "bands"),
    [
        ("landsat-taizhou", "119.85,32.45,119.95,32.52", ("red", "green", "blue")),
        ("naip-north-dakota", "-99.18,47.01,-99.15,47.03", ("red", "green", "blue")),
        ("oscd", "2.31,48.81,2.35,48.83", ("red", "green", "blue")),
        ("landsat-pucallpa", "-74.6,-8.5,-74.5,-8.4", ("swir16", "nir08", "red")),
    ],
)
def test_real_collections_are_shown_in_bands_that_they_have(
    collection: str, box: str, bands: tuple[str, ...], real_data: Path, tmp_path: Path
) -> None:
    search = SearchConfig(catalog=str(real_data / "stac" / "catalog.json"), collection=collection)
    config = ScenesConfig(aoi=Path(box), search=search, dates="1980/2030", output=tmp_path)
    found = scenes.run(config)
    assert json.loads((tmp_path / "scenes.json").read_text())["bands"] == list(bands)
    assert len(found.days) >= 2
    outline = shapely.box(*map(float, box.split(",")))
    for day in found.days:
        footprints = shapely.from_wkb([scene.footprint_wkb for scene in day.scenes])
        metres = gpd.GeoSeries([outline, *footprints], crs="EPSG:4326").to_crs("EPSG:6933")
        shown = metres.iloc[1:].union_all() & metres.iloc[0]
        assert day.coverage == pytest.approx(shown.area / metres.iloc[0].area, abs=2e-3)


def test_pictures_of_one_band_and_of_none(search: SearchConfig) -> None:
    assert picture_bands(search, AREA, ALL) == ("red",)


def made_day(when: str, cloud: float | None, coverage: float = 1.0) -> Day:
    nothing = np.zeros((1, 1), np.bool_)
    return Day(date.fromisoformat(when), (), cloud, "area", coverage, nothing, (0, 0))


@pytest.mark.parametrize(
    ("days", "season", "chosen"),
    [
        ([("2023-06-01", 0.3, 1), ("2023-06-11", 0.1, 1)], None, "2023-06-11"),
        ([("2023-06-01", 0.0, 0.5), ("2023-06-11", 0.9, 1)], None, "2023-06-11"),
        ([("2023-06-01", 0.0, 0.992), ("2023-06-11", 0.9, 1)], None, "2023-06-01"),
        ([("2023-06-01", 0.2, 1), ("2023-06-11", 0.2, 1)], None, "2023-06-11"),
        ([("2023-06-01", None, 1), ("2023-06-11", 0.9, 1)], None, "2023-06-11"),
        ([("2023-06-01", None, 1), ("2023-06-11", None, 1)], None, "2023-06-11"),
        ([("2025-03-01", 0.0, 1), ("2025-06-11", 0.04, 1)], "2023-06-01", "2025-06-11"),
        ([("2025-03-01", 0.0, 1), ("2025-06-11", 0.06, 1)], "2023-06-01", "2025-03-01"),
        ([("2025-01-02", 0.0, 1), ("2025-11-11", 0.0, 1)], "2022-12-30", "2025-01-02"),
        ([("2025-06-05", 0.0, 1), ("2024-06-05", 0.0, 1)], "2023-06-05", "2025-06-05"),
    ],
)
def test_the_best_day(days: list[Any], season: str | None, chosen: str) -> None:
    made = [made_day(*day) for day in days]
    near = date.fromisoformat(season) if season else None
    assert str(best_day(made, near).day) == chosen
    assert str(best_day(made[::-1], near).day) == chosen


def test_seasons_are_apart_by_days_of_the_year() -> None:
    assert season_days(date(2020, 1, 1), date(2020, 1, 31)) == 30
    assert season_days(date(2019, 12, 31), date(2023, 1, 1)) == pytest.approx(1, abs=1)
    assert season_days(date(2020, 1, 1), date(2020, 7, 1)) == 182


def test_dates_are_chosen_by_cloud_over_the_area_and_then_by_season(search: SearchConfig) -> None:
    asked = "best 2020-03-01/2020-06-15"
    chosen = choose_dates(search, AREA, asked, "best 2020-07/2020-12", ["red"], MaskConfig())
    assert [one.name for one in chosen] == ["before", "after"]
    assert str(chosen[0].day.day) == "2020-05-01"  # its item says 90 %, its mask about 10
    cloud = chosen[0].day.cloud or 0
    assert chosen[0].line == f"before: 2020-05-01, {100 * cloud:.0f} % cloud, of 3 dates"
    assert str(chosen[1].day.day) == "2020-08-01"  # September shows half
    assert chosen[1].line.endswith("of 3 dates")
    assert choose_dates(search, AREA, "2020-03-01", "2020-08", ["red"], MaskConfig()) == []


def test_the_season_may_be_that_of_a_range(search: SearchConfig) -> None:
    (chosen,) = choose_dates(search, AREA, "2018-05", "best 2020-06/2020-07", ["red"], MaskConfig())
    assert (chosen.name, str(chosen.day.day)) == ("after", "2020-06-01")
    assert chosen.line == "after: 2020-06-01, 21 % cloud in the whole scene, of 2 dates"


def test_a_range_that_cannot_be_read_is_named(search: SearchConfig) -> None:
    with pytest.raises(ConfigError, match="date range 'summer' cannot be read"):
        choose_dates(search, AREA, None, "best summer", ["red"], MaskConfig())
