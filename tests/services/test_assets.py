"""Files of real servers: nginx with byte ranges, and S3."""

import shutil
from pathlib import Path

import numpy as np
import obstore
import pytest
from obstore.store import S3Store

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.catalog.search import search_scenes
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.rasters.files import inspect
from noise2map_core.rasters.identity import asset_identities
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.testing.scenes import EmbeddedCatalog
from tests.services.servers import nginx

pytestmark = pytest.mark.services


def scenes_at(embedded: EmbeddedCatalog, catalog: str) -> list[Scene]:
    where = SearchConfig(catalog=catalog, collection=embedded.collection)
    return search_scenes(where, read_aoi(embedded.map_aoi), "1900/2100", embedded.bands)


def test_pixels_of_nginx_are_those_on_disk_and_come_in_ranges(embedded: EmbeddedCatalog) -> None:
    local = scenes_at(embedded, embedded.catalog)
    geobox = inspect(local[0].bands[0]).geobox[30:94, 40:140]
    with nginx(embedded.root) as (url, log):
        remote = scenes_at(embedded, f"{url}/catalog.json")
        for ours, theirs in zip(
            read_pixels(local, geobox), read_pixels(remote, geobox), strict=True
        ):
            assert np.array_equal(ours, theirs)
        asked = log.read_text().splitlines()
        assert any(" 206 bytes=" in line for line in asked)
        assert not any(".tif 200" in line for line in asked if line.startswith("GET"))
        plain = [BandSource(b.name, b.href, 1, None, None) for b in remote[0].bands]
        found = asset_identities([_scene(remote[0], band) for band in plain])
        assert all(tag.startswith('etag:"') for tag in found.values())


@pytest.fixture
def bucket(embedded: EmbeddedCatalog, s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The embedded catalogue's files in a bucket whose readers pay."""
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    for path in embedded.root.rglob("*.tif"):
        obstore.put(store(s3), str(path.relative_to(embedded.root)), path.read_bytes())
    return s3


def store(bucket: str) -> S3Store:
    return S3Store(bucket.removeprefix("s3://"), client_options={"allow_http": True})


def test_pixels_of_a_bucket_are_those_on_disk(
    embedded: EmbeddedCatalog, bucket: str, tmp_path: Path
) -> None:
    shutil.copytree(embedded.root, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.tif"):
        path.unlink()
    for path in (tmp_path / "copy").rglob("*.json"):
        folder = (embedded.root / path.relative_to(tmp_path / "copy")).parent
        text = path.read_text()
        for raster in folder.glob("*.tif"):
            place = f"{bucket}/{raster.relative_to(embedded.root)}"
            text = text.replace(f'"./{raster.name}"', f'"{place}"')
            text = text.replace(f'"{raster.name}"', f'"{place}"')
        path.write_text(text)
    local = scenes_at(embedded, embedded.catalog)
    remote = scenes_at(embedded, str(tmp_path / "copy" / "catalog.json"))
    assert all(band.href.startswith(f"{bucket}/") for one in remote for band in one.bands)
    geobox = inspect(local[0].bands[0]).geobox[30:94, 40:140]
    image, valid = read_pixels(remote, geobox)
    expected, expected_valid = read_pixels(local, geobox)
    assert np.array_equal(image, expected) and np.array_equal(valid, expected_valid)


def test_a_changed_object_has_another_identity_and_a_missing_one_is_named(
    embedded: EmbeddedCatalog, bucket: str
) -> None:
    band = scenes_at(embedded, embedded.catalog)[0].bands[0]
    key = str(Path(band.href).relative_to(embedded.root))
    source = BandSource("red", f"{bucket}/{key}", 1, None, None)
    scene = _scene(scenes_at(embedded, embedded.catalog)[0], source)
    before = asset_identities([scene])
    assert asset_identities([scene]) == before and before[source.href].startswith("etag:")
    obstore.put(store(bucket), key, b"other")
    assert asset_identities([scene]) != before
    none = BandSource("red", f"{bucket}/none.tif", 1, None, None)
    for ask in (inspect, lambda one: asset_identities([_scene(scene, one)])):
        with pytest.raises(AssetReadError, match=rf"^asset {bucket}/none.tif") as error:
            ask(none)
        assert "\n" not in str(error.value)


def _scene(like: Scene, source: BandSource) -> Scene:
    return Scene(
        like.id, like.collection, like.datetime, like.footprint_wkb, (source,), None, None,
        like.href, like.attribution,
    )  # fmt: skip
