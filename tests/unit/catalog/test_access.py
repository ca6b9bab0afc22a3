"""Doors are opened where the reading happens, and no key goes where it does not belong."""

import json
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from urllib3.connection import HTTPConnection

from noise2map_core.catalog import access, links
from noise2map_core.catalog.access import Grant, PlanetaryComputer, WarySession, grant_for
from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.catalog.scene_json import scene_from_json, scene_to_json
from noise2map_core.catalog.search import require_told_apart, search_scenes
from noise2map_core.catalog.stac import open_catalog
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.rasters import files
from noise2map_core.rasters.files import inspect, opened
from noise2map_core.rasters.identity import asset_identities
from noise2map_core.runtime.errors import AssetReadError, CatalogError
from noise2map_core.runtime.redact import unsigned
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.testing.catalog import CatalogServer, serve_catalog
from noise2map_core.testing.guard import TOKENS, Guard
from noise2map_core.testing.scenes import EmbeddedCatalog

KEY = "CANARY"


@contextmanager
def guarded(
    embedded: EmbeddedCatalog, guard: Guard, monkeypatch: pytest.MonkeyPatch, key: str = KEY
) -> Iterator[CatalogServer]:
    """The embedded catalogue behind a door, and an environment that opens it."""
    with serve_catalog(embedded.root, guard=guard) as server:
        monkeypatch.setenv("NOISE2MAP_HEADER_HERE", f"{server.url}\nX-Api-Key: {key}")
        monkeypatch.setenv("PC_SDK_SAS_URL", server.url + TOKENS)
        signing = PlanetaryComputer("127.0.0.1")
        monkeypatch.setattr(access, "ACCESS", (signing, access.environment_headers))
        yield server


def scenes_at(embedded: EmbeddedCatalog, catalog: str) -> list[Scene]:
    where = SearchConfig(catalog=catalog, collection=embedded.collection)
    return search_scenes(where, read_aoi(embedded.map_aoi), "1900/2100", embedded.bands)


def first_band(embedded: EmbeddedCatalog, catalog: str) -> BandSource:
    return scenes_at(embedded, catalog)[0].bands[0]


def pixels(source: BandSource) -> np.ndarray:
    with opened(source) as file:
        return file.read(source.band)


def test_a_closed_catalogue_opens_to_a_key_and_its_files_to_a_signature(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded(embedded, Guard(KEY), monkeypatch) as server:
        for catalog in (server.url, server.static):
            scenes = scenes_at(embedded, catalog)
            assert KEY not in repr(scenes) + json.dumps([scene_to_json(one) for one in scenes])
            source = scenes[0].bands[0]
            local = first_band(embedded, embedded.catalog)
            assert np.array_equal(pixels(source), pixels(local))
            assert KEY not in repr(asset_identities(scenes))


def test_a_wrong_key_is_refused_without_being_told(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        guarded(embedded, Guard("other"), monkeypatch) as server,
        pytest.raises(CatalogError, match="HTTP 403") as refused,
    ):
        scenes_at(embedded, server.url)
    assert KEY not in str(refused.value)


def test_a_signature_that_ends_is_renewed_and_the_file_opened_anew(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(KEY, life_s=access.MARGIN_S - 100)  # over before it is used
    with guarded(embedded, guard, monkeypatch) as server:
        source = first_band(embedded, server.url)
        expected = pixels(source)
        guard.issued.clear()
        files.close_files()
        assert np.array_equal(pixels(source), expected)
        assert guard.issued


def test_a_signature_is_asked_for_once_in_its_life(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(KEY)
    with guarded(embedded, guard, monkeypatch) as server:
        for source in (band for one in scenes_at(embedded, server.url) for band in one.bands):
            pixels(source)
    assert len(guard.issued) == 1


def test_the_identity_of_a_file_does_not_change_with_its_signature(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(KEY, life_s=1.0 + access.MARGIN_S)
    with guarded(embedded, guard, monkeypatch) as server:
        source = replace(first_band(embedded, server.url), checksum=None)
        scenes = [_scene_of(embedded, source)]
        first = asset_identities(scenes)
        assert first[source.href].startswith("etag:")
        monkeypatch.setattr(access, "MARGIN_S", 10_000.0)
        assert asset_identities(scenes) == first
    assert len(guard.issued) > 1


def test_containers_that_the_service_does_not_know_are_read_unsigned(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_catalog(embedded.root) as server:
        monkeypatch.setenv("PC_SDK_SAS_URL", f"{server.url}/none")
        grant = Grant("https://mine.blob.core.windows.net/c/x.tif")
        assert PlanetaryComputer()(grant) == grant


def test_a_service_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PC_SDK_SAS_URL", "http://127.0.0.1:9")
    with pytest.raises(
        AssetReadError, match=r"no signature can be had from http://127.0.0.1:9/a/c"
    ):
        grant_for("https://a.blob.core.windows.net/c/x.tif")
    monkeypatch.setenv("PC_SDK_SAS_URL", "")
    assert grant_for("https://a.blob.core.windows.net/c/x.tif").url.endswith("x.tif")


def test_a_signature_of_the_catalogue_is_used_and_not_kept(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(KEY)
    with guarded(embedded, guard, monkeypatch) as server:
        plain = scenes_at(embedded, server.url)[0]
        signed = grant_for(plain.bands[0].href).url
        monkeypatch.setattr(access, "ACCESS", ())
        band = BandSource("red", plain.bands[0].href, 1, None, None, signed=signed)
        assert pixels(band).size and KEY not in repr(band)
        scene = replace(plain, bands=(band,))
        kept = scene_to_json(scene)
        assert KEY not in json.dumps(kept) and scene_from_json(kept) == scene
        assert pickle.loads(pickle.dumps(band)).signed == signed  # a worker can read it


def test_headers_that_cannot_be_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISE2MAP_HEADER_EXAMPLE_COM", "CANARY")
    with pytest.raises(
        AssetReadError, match="NOISE2MAP_HEADER_EXAMPLE_COM is not of the form"
    ) as e:
        grant_for("https://example.com/x.tif")
    assert "CANARY" not in str(e.value)


@pytest.fixture
def localhost_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `localhost` were a name of the open web; numbers stay what they are."""
    known = links.is_internal
    for module in (links, access):
        monkeypatch.setattr(module, "is_internal", lambda host: host != "localhost" and known(host))
    monkeypatch.setattr(access, "_require_expected", lambda *_: None)  # it leads to this machine


def named(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


@pytest.mark.usefixtures("localhost_is_public")
def test_a_public_address_that_redirects_inside_is_not_followed(embedded: EmbeddedCatalog) -> None:
    with serve_catalog(embedded.root) as server:
        inside = named(server.url) + "/elsewhere/127.0.0.1/files"
        with pytest.raises(CatalogError, match=r"redirect of .* points to 127.0.0.1, an internal"):
            scenes_at(embedded, f"{inside}/catalog.json")
        with pytest.raises(CatalogError, match="internal"):
            scenes_at(embedded, f"{inside}/items.parquet")
        path = Path(first_band(embedded, embedded.catalog).href).relative_to(embedded.root)
        source = BandSource("red", f"{inside}/{path}", 1, None, None)
        for read in (inspect, lambda band: asset_identities([_scene_of(embedded, band)])):
            seen = len(server.requests)
            with pytest.raises(AssetReadError, match=r"points to 127.0.0.1, an internal address"):
                read(source)
            assert all("/elsewhere/" in line for line in server.requests[seen:])


def test_an_internal_host_may_redirect_to_another(embedded: EmbeddedCatalog) -> None:
    with serve_catalog(embedded.root) as server:
        elsewhere = named(server.url) + "/elsewhere/127.0.0.1/files"
        path = Path(first_band(embedded, embedded.catalog).href).relative_to(embedded.root)
        assert inspect(BandSource("red", f"{elsewhere}/{path}", 1, None, None)).shape


def test_a_key_is_not_sent_to_the_host_of_a_redirect(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_catalog(embedded.root, guard=Guard(KEY, signed=())) as server:
        monkeypatch.setenv("NOISE2MAP_HEADER_NAMED", f"{named(server.url)} X-Api-Key: {KEY}")
        elsewhere = named(server.url) + "/elsewhere/127.0.0.1/files/catalog.json"
        assert WarySession().get(named(server.static)).status_code == 200
        assert WarySession().get(elsewhere).status_code == 403
        source = BandSource("red", elsewhere, 1, None, None)
        with pytest.raises(AssetReadError, match=r"is refused \(HTTP 403"):
            inspect(source)


def test_the_headers_of_a_host_are_sent_to_it_alone(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_catalog(embedded.root, guard=Guard(KEY, signed=())) as server:
        monkeypatch.setenv("NOISE2MAP_HEADER_HERE", f"{server.url}\nX-Api-Key: {KEY}")
        source = first_band(embedded, server.url)
        assert np.array_equal(pixels(source), pixels(first_band(embedded, embedded.catalog)))
        other = BandSource("red", named(source.href), 1, None, None)
        with pytest.raises(AssetReadError):
            inspect(other)


def _scene_of(embedded: EmbeddedCatalog, source: BandSource) -> Scene:
    return replace(scenes_at(embedded, embedded.catalog)[0], bands=(source,))


def answering(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> None:
    """A resolver that knows further names; connections to them reach what the first address is."""
    known = socket.getaddrinfo

    def resolve(host: str, port: int | None, *args: Any, **options: Any) -> list[Any]:
        if host not in names:
            return known(host, port, *args, **options)
        listed = names[host] if port is None else names[host][:1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port or 0)) for one in listed]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    links.is_internal.cache_clear()
    links._is_mixed.cache_clear()


PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    ("addresses", "internal", "trusted", "split"),
    [
        ([PUBLIC], False, False, False),
        (["10.0.0.5"], True, True, False),
        (["10.0.0.5", "127.0.0.1"], True, True, False),
        ([PUBLIC, "10.0.0.5"], True, False, True),
        (["169.254.169.254", PUBLIC], True, False, True),
        ([], False, False, False),
    ],
)
def test_a_name_is_trusted_if_all_that_it_stands_for_is_internal(
    addresses: list[str],
    internal: bool,
    trusted: bool,
    split: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering(monkeypatch, {"name.example": addresses})
    found = (
        links.is_internal("name.example"),
        links.is_trusted("name.example"),
        links.is_split("name.example"),
    )
    assert found == (internal, trusted, split)


def test_a_name_with_two_addresses_is_refused_and_its_redirects_are_not_followed_inside(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {"two.example": ["127.0.0.1", PUBLIC]})
    with serve_catalog(embedded.root) as server:
        url = server.url.replace("127.0.0.1", "two.example")
        with pytest.raises(CatalogError, match=r"points to two.example, an internal"):
            open_catalog(f"{url}/files/catalog.json")
        with pytest.raises(CatalogError, match=r"two.example leads to 127.0.0.1, an internal"):
            WarySession().get(f"{url}/files/catalog.json")
        assert server.requests == []
        allowed = ["two.example"]
        assert WarySession(allowed).get(f"{url}/files/catalog.json").status_code == 200
        open_catalog(f"{url}/files/catalog.json", allowed)
        with pytest.raises(CatalogError, match=r"redirect of .* points to 127.0.0.1, an internal"):
            WarySession(allowed).get(f"{url}/elsewhere/127.0.0.1/files/catalog.json")
        with pytest.raises(CatalogError, match="internal"):
            open_catalog(f"{url}/elsewhere/127.0.0.1/files/catalog.json", allowed)


def test_an_internal_name_that_leads_outside_a_moment_later_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering(monkeypatch, {"later.example": ["10.0.0.5"]})
    assert links.is_trusted("later.example")
    connection = HTTPConnection("later.example")
    for peer, refused in (("10.0.0.6", False), (PUBLIC, True)):
        with pytest.raises(CatalogError) if refused else nullcontext():
            access._require_expected(connection, (peer, 80))


def test_a_signature_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"a.blob.core.windows.net": [PUBLIC]})
    signing = PlanetaryComputer()
    monkeypatch.setattr(signing, "_token", lambda *_: "sig=CANARY")
    for url, signed in (
        ("https://a.blob.core.windows.net/c/x.tif", True),
        ("http://a.blob.core.windows.net/c/x.tif", False),
        ("https://a.blob.core.windows.net@evil.org/c/x.tif", False),
        ("https://evil.org\\.blob.core.windows.net/c/x.tif", False),
    ):
        assert ("CANARY" in signing(Grant(url)).url) is signed


def test_files_that_are_told_apart_by_what_is_not_kept_are_refused(
    embedded: EmbeddedCatalog,
) -> None:
    one, other = scenes_at(embedded, embedded.catalog)[:2]

    def linked(scene: Scene, href: str) -> Scene:
        band = replace(scene.bands[0], href=unsigned(href), signed=href)
        return replace(scene, bands=(band,))

    get = "https://h.org/get?number="
    require_told_apart([linked(one, f"{get}1&sig=a"), linked(other, f"{get}1&sig=b")])
    with pytest.raises(CatalogError, match=r"https://h.org/get stands for several files"):
        require_told_apart([linked(one, f"{get}1&sig=a"), linked(other, f"{get}2&sig=a")])
