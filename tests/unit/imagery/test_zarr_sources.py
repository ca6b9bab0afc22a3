"""Scenes in Zarr, as EOPF has them: the pixels and chips are those of the same scene in COGs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.search import search_scenes
from noise2map_core.chips.store import PIXEL_ARRAYS
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.masks import read_hidden
from noise2map_core.imagery.reader import inspect, read_pixels
from noise2map_core.rasters.identity import asset_identities, pin_scenes
from noise2map_core.runtime.errors import AssetReadError, CatalogError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.imagery import MaskConfig
from noise2map_core.testing.catalog import serve_catalog
from tests.eopf_factories import REFLECTANCE, TwoForms, assets_of, rewrite_assets, two_forms
from tests.plain_web import served


@pytest.fixture(scope="module", params=[2, 3], ids=["zarr2", "zarr3"])
def forms(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> TwoForms:
    scene = real_data / "stac" / "oscd" / "oscd-abudhabi-20160120"
    return two_forms(scene, tmp_path_factory.mktemp("forms"), request.param)


def find(search: SearchConfig, forms: TwoForms, *bands: str) -> Scene:
    area = AreaOfInterest("area", forms.geobox.geographic_extent.geom)
    (scene,) = search_scenes(search, area, "2020", bands)
    return scene


def grids(geobox: GeoBox) -> dict[str, GeoBox]:
    inner = geobox[10:200, 20:230]
    return {
        "its own": geobox,
        "beyond it": geobox.pad(20),
        "shifted": GeoBox((150, 160), inner.affine * inner.affine.translation(0.3, 0.7), inner.crs),
        "another CRS": GeoBox.from_bbox(inner.boundingbox.to_crs("EPSG:3857"), resolution=11),
        "twice as coarse": inner.zoom_out(2.5),
    }


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_pixels_are_those_of_the_cogs_on_any_grid(forms: TwoForms, resampling: str) -> None:
    one, other = (
        find(search, forms, "B04", "blue", "nir") for search in (forms.cogs, forms.product)
    )
    assert [band.added_dn for band in other.bands] == [-1000] * 3
    for name, geobox in grids(forms.geobox).items():
        (pixels, valid), (same, seen) = (read_pixels([s], geobox, resampling) for s in (one, other))
        assert valid.any(), name
        assert np.array_equal(seen, valid), name
        assert pixels.tobytes() == same.tobytes(), name


def test_the_mask_hides_the_same(forms: TwoForms) -> None:
    one, other = (find(search, forms, "red") for search in (forms.cogs, forms.product))
    for geobox in grids(forms.geobox).values():
        hidden, again = (read_hidden(scene, geobox, MaskConfig()) for scene in (one, other))
        assert hidden[0].any()
        assert all(np.array_equal(a, b) for a, b in zip(hidden, again, strict=True))


def test_chips_are_the_same_bytes(forms: TwoForms, tmp_path: Path) -> None:
    stores = [
        chips_of(find(search, forms, "B02", "B03", "B04"), forms, tmp_path / name)
        for name, search in (("cogs", forms.cogs), ("eopf", forms.product))
    ]
    one, other = (
        {f.relative_to(path).as_posix(): f.read_bytes() for f in path.rglob("*")
         if f.is_file() and f.relative_to(path).parts[0] in PIXEL_ARRAYS}
        for path in stores
    )  # fmt: skip
    assert len(one) > 4
    assert one == other


def chips_of(scene: Scene, forms: TwoForms, path: Path) -> Path:
    from noise2map_core.chips.pixels import ChipJob  # as above
    from tests.chip_factories import (  # needs more than the other tests
        ChipLattice,
        ChipsConfig,
        Ingest,
        SplitConfig,
        make_store,
        plan_chips,
        plan_header,
        plan_splits,
    )

    area = AreaOfInterest("area", forms.geobox.geographic_extent.geom)
    grid = RegionGrid.covering(area, str(forms.geobox.crs), 10.0, tile_px=64)
    chips, places = ChipsConfig(chip_px=32, stride_px=32), plan_splits(SplitConfig(), grid)
    dates = [pin_scenes([scene])]
    header = plan_header(grid, chips, 0, places, None, dates, "here")
    table = plan_chips(grid, ChipLattice(32, 32), places, dates, None)
    ingest = Ingest(0, table.num_chips, grid, chips, (tuple(dates[0]),), None, header.identities)
    return make_store(ChipJob(path / "chips.zarr", header, (ingest,), table))


@pytest.mark.parametrize("name", ["B02", "blue", "B02_10m"])
def test_a_band_is_found_by_any_of_its_names(forms: TwoForms, name: str) -> None:
    (band,) = find(forms.product, forms, name).bands
    assert band.href.endswith(f"scene.zarr/{REFLECTANCE}/r10m/b02")


def test_where_there_are_groups_alone_the_finest_array_is_read(forms: TwoForms) -> None:
    rewrite_assets(forms.product, assets_of("./scene.zarr", arrays=False))
    scene = find(forms.product, forms, "B02", "red")
    rewrite_assets(forms.product, assets_of("./scene.zarr"))
    ends = [band.href.rpartition("reflectance/")[2] for band in scene.bands]
    assert ends == ["r10m/b02", "r10m/b04"]
    pixels, _ = read_pixels([scene], forms.geobox)
    expected, _ = read_pixels([find(forms.cogs, forms, "B02", "red")], forms.geobox)
    assert np.array_equal(pixels, expected)


def test_over_the_web_windows_are_read_and_nothing_is_listed(forms: TwoForms) -> None:
    local = find(forms.product, forms, "B03")
    window = forms.geobox[70:120, 70:120]
    with serve_catalog(forms.folder / "eopf") as server:
        search = forms.product.model_copy(update={"catalog": server.static})
        (scene,) = pin_scenes([find(search, forms, "B03")])
        asked = len(server.requests)
        pixels, valid = read_pixels([scene], window)
        found = (re.search(r"/b03/(?:c/)?(\d+[./]\d+) ", one) for one in server.requests[asked:])
        chunks = {match[1] for match in found if match}
    expected, seen = read_pixels([local], window)
    assert np.array_equal(pixels, expected)
    assert np.array_equal(valid, seen)
    assert len(chunks) == 1  # of 16


def test_another_pixel_is_another_version(forms: TwoForms, tmp_path: Path) -> None:
    scene = find(forms.product, forms, "B08")
    before = asset_identities([scene])
    array = zarr.open_array(scene.bands[0].href, mode="r+")
    was = array[200, 200]
    array[200, 200] = was + 1
    changed = asset_identities([scene])
    array[200, 200] = was
    assert changed != before
    assert asset_identities([scene]) == before


def damage(folder: Path, name: str) -> None:
    band = folder / "b02"
    document = band / (".zarray" if (band / ".zarray").exists() else "zarr.json")
    if name == "cut":
        document.write_text(document.read_text()[:40])
    elif name == "gone":
        document.unlink()
    else:
        attributes = band / ".zattrs" if (band / ".zattrs").exists() else document
        text = json.loads(attributes.read_text())
        (text if attributes.name == ".zattrs" else text["attributes"]).pop("proj:epsg")
        attributes.write_text(json.dumps(text))


@pytest.mark.parametrize(
    ("how", "said"),
    [("cut", "may be damaged"), ("gone", "does not exist"), ("no crs", "has no CRS")],
)
def test_a_product_that_cannot_be_read_is_named_in_a_line(
    real_data: Path, tmp_path: Path, how: str, said: str
) -> None:
    source = real_data / "stac" / "oscd" / "oscd-abudhabi-20160120"
    forms = two_forms(source, tmp_path)
    damage(tmp_path / "eopf" / "scene.zarr" / REFLECTANCE / "r10m", how)
    scene = find(forms.product, forms, "B02")
    with pytest.raises(AssetReadError, match=rf"b02 .*{said}") as caught:
        inspect(scene.bands[0])
    assert "\n" not in str(caught.value)


def test_a_refused_chunk_is_no_missing_one(forms: TwoForms) -> None:
    with served(forms.folder / "eopf", status={"b03/1": 403, "b03/c/1": 403}) as url:
        search = forms.product.model_copy(
            update={
                "catalog": f"{url}/catalog.json",
                "allow_hosts": ("127.0.0.1",),
                "patience_s": 0,
            }
        )
        scene = find(search, forms, "B03")
        with pytest.raises(AssetReadError, match="is refused"):
            read_pixels([scene], forms.geobox)


def test_a_bucket_that_refuses_what_is_not_there_is_read_all_the_same(forms: TwoForms) -> None:
    other = ("zarr.json", ".zgroup") if (forms.folder / "eopf/scene.zarr/.zgroup").exists() else ()
    with served(
        forms.folder / "eopf", status=dict.fromkeys(other or (".zarray", ".zattrs"), 403)
    ) as url:
        search = forms.product.model_copy(update={"catalog": f"{url}/catalog.json"})
        (scene,) = pin_scenes([find(search, forms, "B03")], masks=False)
        pixels, _ = read_pixels([scene], forms.geobox)
    expected, _ = read_pixels([find(forms.cogs, forms, "B03")], forms.geobox)
    assert np.array_equal(pixels, expected)


def with_alternates(forms: TwoForms, main: str) -> dict[str, Any]:
    assets = assets_of("./scene.zarr")
    return {
        key: {**asset, "href": asset["href"].replace(".", main, 1),
              "alternate": {"near": {"href": asset["href"]}, "xarray": {"kwargs": {}}}}
        for key, asset in assets.items()
    }  # fmt: skip


def test_an_alternate_address_is_taken_by_name_or_where_the_own_one_is_of_no_known_kind(
    forms: TwoForms,
) -> None:
    expected = find(forms.product, forms, "B02").bands[0].href
    for main, name in (
        ("https://example.org/x", "near"),
        ("eodata://bucket", ""),
        ("eodata://b", "near"),
    ):
        rewrite_assets(forms.product, with_alternates(forms, main))
        search = forms.product.model_copy(update={"alternate": name})
        assert find(search, forms, "B02").bands[0].href == expected
        assert find(search, forms, "B02").mask is not None
    rewrite_assets(forms.product, with_alternates(forms, "https://example.org/x"))
    assert find(forms.product, forms, "B02").bands[0].href.startswith("https://example.org/x/scene")
    with pytest.raises(CatalogError, match=r"no alternate address 's3'; it has: near\. Set search"):
        find(forms.product.model_copy(update={"alternate": "s3"}), forms, "B02")
    rewrite_assets(forms.product, assets_of("./scene.zarr"))
