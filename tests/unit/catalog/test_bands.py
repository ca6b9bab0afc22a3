import json
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.catalog.bands import band_names, find_bands, pictured_bands
from noise2map_core.catalog.item import Item
from noise2map_core.runtime.errors import CatalogError


def item(assets: dict[str, Any]) -> Item:
    return Item({"id": "one", "assets": assets}, "/data/one/one.json")


def test_sentinel_2_bands_are_found_by_asset_key_at_their_finest_resolution(
    real_data: Path,
) -> None:
    path = real_data / "items" / "s2-l2a-baseline-0212.json"
    found = find_bands(Item(json.loads(path.read_text()), str(path)), ["red", "nir"])
    assert found is not None
    assert [Path(source.href).name[-11:] for source in found.sources] == [
        "B04_10m.tif",
        "B08_10m.tif",
    ]
    assert found.gsd == 10 and {source.nodata for source in found.sources} == {0.0}


def test_a_band_of_a_multi_band_asset_is_found_by_its_name() -> None:
    bands = [{"name": "red", "nodata": 0}, {"name": "nir"}]
    found = find_bands(item({"image": {"href": "image.tif", "bands": bands}}), ["nir", "red"])
    assert found is not None
    assert [(s.name, s.band, s.nodata) for s in found.sources] == [
        ("nir", 2, None),
        ("red", 1, 0.0),
    ]
    assert found.sources[0].href == "/data/one/image.tif"


@pytest.mark.parametrize(
    "tables",
    [
        {"bands": [{"name": "B04", "eo:common_name": "red"}]},
        {"eo:bands": [{"name": "B04", "common_name": "red"}], "raster:bands": [{"nodata": 0}]},
    ],
)
def test_a_common_name_serves_if_it_fits_one_band(tables: dict[str, Any]) -> None:
    found = find_bands(item({"B04_asset": {"href": "b.tif", **tables}}), ["red"])
    assert found is not None and found.sources[0].band == 1


def test_a_name_that_fits_several_bands_is_refused_with_what_there_is() -> None:
    bands = [{"name": "B04"}]
    ambiguous = item(
        {"a": {"href": "a.tif", "bands": bands}, "b": {"href": "b.tif", "bands": bands}}
    )
    with pytest.raises(CatalogError, match=r"ambiguous.*asset a.*asset b.*names of: a, b"):
        find_bands(ambiguous, ["B04"])


def test_pictures_for_looking_at_do_not_count_as_bands() -> None:
    bands = [{"name": "red"}]
    found = find_bands(
        item(
            {
                "visual": {"href": "v.tif", "bands": bands, "roles": ["visual"]},
                "data": {"href": "d.tif", "bands": bands, "roles": ["data"]},
            }
        ),
        ["red"],
    )
    assert found is not None and found.sources[0].href.endswith("d.tif")


def test_an_item_without_any_of_the_bands_has_none_and_with_some_is_an_error() -> None:
    labels = item({"change": {"href": "c.tif"}})
    assert find_bands(labels, ["red"]) is None
    with pytest.raises(CatalogError, match=r"no band 'red'; it has: change"):
        find_bands(labels, ["red", "change"])


def test_the_near_infrared_of_landsat_goes_by_nir_and_that_of_sentinel_2_is_its_own(
    real_data: Path,
) -> None:
    for name, key in (("landsat-c2-l2-oli", "nir08"), ("s2-l2a-earth-search-style-2022", "nir")):
        document = json.loads((real_data / "items" / f"{name}.json").read_text())
        found = find_bands(Item(document, "x"), ["red", "nir"])
        assert found is not None and found.assets == ("red", key)


def test_names_to_ask_for_are_listed(real_data: Path) -> None:
    path = real_data / "items" / "landsat-c2-l2-etm.json"
    assert {"red", "nir08", "qa_pixel"} <= set(band_names(Item(json.loads(path.read_text()), "x")))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("s2-l2a-baseline-0212", ("red", "green", "blue")),
        ("s2-l2a-baseline-0509-antimeridian", ("red", "green", "blue")),
        ("s2-l2a-earth-search-style-2022", ("red", "green", "blue")),
        ("landsat-c2-l2-oli", ("red", "green", "blue")),
        ("landsat-c2-l2-tm", ("red", "green", "blue")),
    ],
)
def test_real_items_are_shown_in_natural_colour(
    name: str, shown: tuple[str, ...], real_data: Path
) -> None:
    path = real_data / "items" / f"{name}.json"
    assert pictured_bands(Item(json.loads(path.read_text()), str(path))) == shown


@pytest.mark.parametrize(
    ("assets", "shown"),
    [
        ({"vv": {"href": "vv.tif"}, "vh": {"href": "vh.tif"}}, ("vv",)),
        ({"a": {"href": "a.tif"}, "b": {"href": "b.tif"}, "c": {"href": "c.tif"},
          "d": {"href": "d.tif"}}, ("a", "b", "c")),
        ({"scl": {"href": "s.tif"}, "meta": {"href": "m.xml", "type": "application/xml"},
          "thumb": {"href": "t.png", "roles": ["thumbnail"]}, "nir": {"href": "n.tif"}}, ("nir",)),
        ({"change": {"href": "c.tif", "roles": ["labels", "labels-raster"]}}, ()),
        ({"image": {"href": "i.tif", "bands": [{"name": "x"}, {"name": "y"}]}}, ("x",)),
        ({"image": {"href": "i.tif", "bands": [{}, {}]}}, ()),
    ],
)  # fmt: skip
def test_what_has_no_colours_is_shown_in_its_first_bands(
    assets: dict[str, Any], shown: tuple[str, ...]
) -> None:
    assert pictured_bands(item(assets)) == shown
