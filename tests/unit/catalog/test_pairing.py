"""Scenes of two dates."""

from pathlib import Path

import pytest
import shapely

from noise2map_core.catalog.pairing import search_pair
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.runtime.errors import ConfigError, NoImageryError
from noise2map_core.settings.catalog import SearchConfig
from tests.catalog_factories import catalog_of, item

AREA = AreaOfInterest("here", shapely.box(15.0, 49.0, 15.1, 49.1))
SUMMERS = ",".join(f"{year}-06-01/{year}-08-31" for year in (2020, 2021, 2022))


def catalogue(folder: Path, *days: str) -> SearchConfig:
    """One item a day."""
    items = [
        item(day, folder / "red.tif", AREA.geometry, datetime=f"{day}T10:00:00Z") for day in days
    ]
    return catalog_of(folder, *items)


def test_several_ranges_are_one_date_and_a_year_without_imagery_is_passed_over(
    tmp_path: Path,
) -> None:
    search = catalogue(
        tmp_path, "2020-07-01", "2021-01-01", "2022-06-01", "2022-08-31", "2023-07-01"
    )
    before, after = search_pair(search, AREA, SUMMERS, "2023", ["red"])
    assert [scene.id for scene in before] == ["2022-08-31", "2022-06-01", "2020-07-01"]
    assert [scene.id for scene in after] == ["2023-07-01"]


def test_ranges_that_share_a_scene_find_it_once(tmp_path: Path) -> None:
    search = catalogue(tmp_path, "2020-07-01", "2023-07-01")
    before, _ = search_pair(search, AREA, "2020-06/2020-07,2020-07", "2023", ["red"])
    assert [scene.id for scene in before] == ["2020-07-01"]


def test_no_imagery_in_any_of_them_is_said(tmp_path: Path) -> None:
    search = catalogue(tmp_path, "2019-07-01", "2023-07-01")
    with pytest.raises(NoImageryError):
        search_pair(search, AREA, SUMMERS, "2023", ["red"])


def test_a_range_that_cannot_be_read_is_named_before_any_is_searched(tmp_path: Path) -> None:
    search = SearchConfig(catalog=str(tmp_path / "none.json"), collection="c")
    with pytest.raises(ConfigError, match="'summer' cannot be read"):
        search_pair(search, AREA, "2020,summer", "2023", ["red"])
