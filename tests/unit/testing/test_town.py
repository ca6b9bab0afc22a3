"""The invented town, against what its files and its own pictures say."""

import numpy as np
import pystac
import pytest
import rasterio
from pystac.validation import validate_dict
from rio_cogeo import cog_validate
from sklearn.metrics import roc_auc_score

from noise2map_core.geo.aoi import read_aoi
from noise2map_core.testing.town import PIXEL_M, draw_town
from noise2map_core.testing.town_catalog import TownCatalog, write_town


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> TownCatalog:
    return write_town(tmp_path_factory.mktemp("town"), size_px=256, seed=1)


def test_a_seed_is_a_town() -> None:
    one, again, other = (draw_town(np.random.default_rng(seed), 128) for seed in (1, 1, 2))
    for view, same, different in zip(one, again, other, strict=True):
        assert np.array_equal(view.picture, same.picture)
        assert np.array_equal(view.buildings, same.buildings)
        assert not np.array_equal(view.buildings, different.buildings)


def test_most_houses_stay_and_some_come_or_go() -> None:
    before, after = (view.buildings for view in draw_town(np.random.default_rng(0), 512))
    assert 0.15 < before.mean() < 0.7
    assert (before & ~after).any() and (after & ~before).any()
    assert 0.02 < (before ^ after).mean() < 0.4 * (before | after).mean()


def test_brightness_alone_does_not_tell_buildings() -> None:
    view = draw_town(np.random.default_rng(0), 512)[0]
    area = roc_auc_score(view.buildings.ravel(), view.picture.mean(axis=0).ravel())
    assert 0.5 < area < 0.8


def test_the_catalogue_is_stac_of_cogs_on_the_lattice(town: TownCatalog) -> None:
    catalog = pystac.Catalog.from_file(str(town.catalog))
    items = list(catalog.get_items(recursive=True))
    assert [f"{item.datetime:%Y-%m-%d}" for item in items] == [town.before, town.after]
    for item in items:
        for name, count in (("visual", 3), ("buildings", 1)):
            path = item.assets[name].get_absolute_href()
            assert path and cog_validate(path, strict=True)[0]
            with rasterio.open(path) as file:
                assert (file.count, file.shape) == (count, (256, 256))
                assert file.transform.a == -file.transform.e == PIXEL_M
                for edge in (file.transform.c, file.transform.f):
                    assert edge / PIXEL_M == pytest.approx(round(edge / PIXEL_M), abs=1e-6)


def test_the_area_is_the_town(town: TownCatalog) -> None:
    item = next(pystac.Catalog.from_file(str(town.catalog)).get_items(recursive=True))
    assert read_aoi(town.aoi).geometry.bounds == pytest.approx(tuple(item.bbox or ()))


def test_items_are_valid_stac(town: TownCatalog) -> None:
    for item in pystac.Catalog.from_file(str(town.catalog)).get_items(recursive=True):
        document = item.to_dict(include_self_link=False)
        document["stac_extensions"] = []  # whose schemas lie on the web
        validate_dict(document)
