"""Files of the web: busy servers are waited for, and no read mixes two versions of a file."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.rasters import remote
from noise2map_core.rasters.files import close_files, opened
from noise2map_core.rasters.identity import asset_identities, pin_scenes
from noise2map_core.runtime import patience
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.testing.catalog import Burst, Fault, Versions, serve_catalog
from noise2map_core.testing.scenes import EmbeddedCatalog
from tests.raster_factories import frame, scene_of

SIDE = 512
WINDOWS = [Window(0, 0, 100, 100), Window(300, 310, 150, 120), Window(30, 200, 64, 300)]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(patience, "MAX_PAUSE_S", 0.01)


@pytest.fixture
def root(embedded: EmbeddedCatalog, tmp_path: Path) -> Path:
    """A catalogue that a server can start with, and a file in it of several ranges."""
    folder = tmp_path / "served"
    shutil.copytree(embedded.root, folder)
    write(folder / "a.tif", seed=1)
    return folder


def write(path: Path, seed: int) -> None:
    """Half a megabyte of noise in tiles, put in place as a whole."""
    part = path.with_suffix(".part")
    pixels = np.random.default_rng(seed).integers(1, 60_000, (SIDE, SIDE), np.uint16)
    with rasterio.open(
        part, "w", driver="GTiff", width=SIDE, height=SIDE, count=1, dtype="uint16", tiled=True,
        blockxsize=128, blockysize=128, crs="EPSG:32633", transform=frame(SIDE, SIDE).affine,
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    part.rename(path)


def source_at(url: str, patience_s: float = 60.0) -> BandSource:
    return BandSource("nir", f"{url}/files/a.tif", 1, None, None, patience_s=patience_s)


def scene_with(source: BandSource) -> Scene:
    return replace(scene_of(Path("none.tif"), geobox=frame(8, 8)), bands=(source,))


def pinned(source: BandSource) -> BandSource:
    return pin_scenes([scene_with(source)])[0].bands[0]


def pixels(source: BandSource, window: Window) -> np.ndarray:
    with opened(source) as file:
        return file.read(1, window=window)


def truth(root: Path, window: Window) -> np.ndarray:
    with rasterio.open(root / "a.tif") as file:
        return file.read(1, window=window)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("left", [4, 20])
@pytest.mark.parametrize(
    "burst", [{"status": 503}, {"status": 429, "body": b"slow down"}, {"status": 500}]
)
def test_a_burst_in_the_middle_of_a_file_is_waited_out(
    root: Path, burst: dict, left: int, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = Burst(left, **burst)
    with serve_catalog(root, faults={"a.tif": busy}) as server:
        for window in WINDOWS:
            assert np.array_equal(pixels(source_at(server.url), window), truth(root, window))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == left and busy.left < 0
    assert all(f"{server.url}/files/a.tif (HTTP {busy.status}" in line for line in said)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [429, 503])
def test_patience_has_an_end_that_names_the_setting(root: Path, status: int) -> None:
    busy = Burst(10**6, status)
    with serve_catalog(root, faults={"a.tif": busy}) as server:
        source = source_at(server.url, patience_s=0.2)
        with pytest.raises(AssetReadError, match=rf"a\.tif .*search.patience_s 0.2: HTTP {status}"):
            pixels(source, WINDOWS[1])


def test_a_long_retry_after_ends_at_once_where_patience_is_shorter(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = Burst(10**6, 503, retry_after="100000")
    with (
        serve_catalog(root, faults={"a.tif": busy}) as server,
        pytest.raises(AssetReadError, match="asks for 100,000 s"),
    ):
        pixels(source_at(server.url, patience_s=30.0), WINDOWS[1])
    assert busy.left >= 10**6 - 4 and not capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Burst(9, 404, from_byte=0), "does not exist"),
        (Burst(9, 403, from_byte=0), "refused"),
        (Burst(9, 404), "does not exist"),
        (Fault.HTML, "not a GeoTIFF"),
        (Fault.TRUNCATED, "truncated"),
    ],
)
def test_what_waiting_does_not_mend_fails_at_once(
    root: Path, fault: Fault | Burst, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_catalog(root, faults={"a.tif": fault}) as server:
        with pytest.raises(AssetReadError, match=rf"asset {server.url}/files/a.tif.*{message}"):
            pixels(source_at(server.url), WINDOWS[1])
        assert sum("a.tif" in line for line in server.requests) <= 4
    assert not capsys.readouterr().err


def test_a_server_without_ranges_is_read_whole_up_to_a_size_and_else_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_catalog(root, faults={"a.tif": Fault.RANGELESS}) as server:
        source = source_at(server.url)
        assert np.array_equal(pixels(source, WINDOWS[1]), truth(root, WINDOWS[1]))
        monkeypatch.setattr(remote, "CHECKED_BYTES", 1000)
        close_files()
        with pytest.raises(AssetReadError, match="sends whole files only, no byte ranges"):
            pixels(source, WINDOWS[1])


def replaced(root: Path) -> None:
    """Another file of the same length, a second younger: Last-Modified knows no less."""
    before = os.stat(root / "a.tif")
    write(root / "a.tif", seed=2)
    assert os.stat(root / "a.tif").st_size == before.st_size
    os.utime(root / "a.tif", (before.st_atime + 5, before.st_mtime + 5))


@pytest.mark.parametrize("versions", ["etag", "modified"])
@pytest.mark.parametrize("between", [close_files, lambda: None])
def test_a_file_that_is_replaced_is_never_mixed(
    root: Path, versions: Versions, between: Callable[[], None]
) -> None:
    with serve_catalog(root, versions=versions) as server:
        source = pinned(source_at(server.url))
        assert np.array_equal(pixels(source, WINDOWS[0]), truth(root, WINDOWS[0]))
        replaced(root)
        between()
        for _ in range(2):  # it stays so until the run has ended
            with pytest.raises(AssetReadError, match=r"a\.tif changed during the run.*again"):
                pixels(source, WINDOWS[1])
        again = pinned(source_at(server.url))
        assert again.version != source.version
        for window in WINDOWS:
            assert np.array_equal(pixels(again, window), truth(root, window))


def test_without_a_run_a_file_that_is_replaced_under_an_open_handle_is_not_mixed(
    root: Path,
) -> None:
    with serve_catalog(root) as server:
        source = source_at(server.url)
        pixels(source, WINDOWS[0])
        replaced(root)
        with pytest.raises(AssetReadError, match="changed during the run"):
            pixels(source, WINDOWS[1])
        assert np.array_equal(pixels(source, WINDOWS[1]), truth(root, WINDOWS[1]))


def test_a_file_of_another_length_is_another_even_if_nothing_else_is_said(root: Path) -> None:
    with serve_catalog(root, versions="none") as server:
        source = pinned(source_at(server.url))
        with (root / "a.tif").open("ab") as file:
            file.write(b"more")
        with pytest.raises(AssetReadError, match="changed during the run"):
            pixels(source, WINDOWS[1])


def test_a_local_file_that_is_replaced_or_written_to_is_never_mixed(root: Path) -> None:
    path = root / "a.tif"
    for change in (replaced, overwritten):
        source = pinned(BandSource("nir", str(path), 1, None, None))
        assert np.array_equal(pixels(source, WINDOWS[0]), truth(root, WINDOWS[0]))
        change(root)
        with pytest.raises(AssetReadError, match=r"a\.tif changed during the run"):
            pixels(source, WINDOWS[1])
        write(path, seed=1)


def overwritten(root: Path) -> None:
    with (root / "a.tif").open("r+b") as file:
        file.seek(200_000)
        file.write(b"other")


def test_a_local_file_that_changes_while_it_is_read_is_noticed(root: Path) -> None:
    source = BandSource("nir", str(root / "a.tif"), 1, None, None)
    with pytest.raises(AssetReadError, match="changed during the run"), opened(source) as file:
        overwritten(root)
        file.read(1)


def test_a_local_copy_with_the_same_bytes_is_the_same_file(root: Path) -> None:
    source = pinned(BandSource("nir", str(root / "a.tif"), 1, None, None))
    write(root / "a.tif", seed=1)  # another inode, another time: as on another node
    assert np.array_equal(pixels(source, WINDOWS[1]), truth(root, WINDOWS[1]))


@pytest.mark.parametrize(
    ("prefix", "algorithm"), [("1220", "sha256"), ("d50110", "md5"), ("1340", "sha512")]
)
@pytest.mark.parametrize("where", ["disk", "web"])
def test_a_small_file_is_held_against_its_stated_checksum(
    root: Path, prefix: str, algorithm: str, where: str
) -> None:
    right = prefix + hashlib.new(algorithm, (root / "a.tif").read_bytes()).hexdigest()
    with serve_catalog(root) as server:
        href = source_at(server.url).href if where == "web" else str(root / "a.tif")
        good = pinned(BandSource("nir", href, 1, None, right))
        assert np.array_equal(pixels(good, WINDOWS[1]), truth(root, WINDOWS[1]))
        assert asset_identities([scene_with(good)]) == {href: f"checksum:{right}"}
        wrong = BandSource("nir", href, 1, None, right[:-4] + "0000")
        close_files()
        with pytest.raises(AssetReadError, match=rf"a\.tif .*{algorithm}.*file:checksum"):
            pixels(pinned(wrong), WINDOWS[1])


def test_a_mask_beside_a_file_of_the_web_is_found_where_gdal_looks_for_it(root: Path) -> None:
    mask = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 3 > 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="NO"), rasterio.open(root / "a.tif", "r+") as file:
        file.write_mask(mask)
    assert (root / "a.tif.msk").is_file()
    with serve_catalog(root) as server:
        source = source_at(server.url)
        opener = remote.Opener(remote.RemoteFile(source), source)
        with rasterio.open(source.href, opener=opener) as found:
            assert np.array_equal(found.read_masks(1) > 0, mask)
        assert opener.failure is None


@pytest.fixture
def in_bucket(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], BandSource]:
    """The served file as an object: the test server is store enough to read unsigned."""

    def source(url: str, patience_s: float = 60.0) -> BandSource:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
        return BandSource("nir", "s3://files/a.tif", 1, None, None, patience_s=patience_s)

    return source


@pytest.mark.usefixtures("quick")
def test_an_object_is_read_by_ranges_and_a_burst_waited_out(
    root: Path, in_bucket: Callable[..., BandSource], capsys: pytest.CaptureFixture[str]
) -> None:
    busy = Burst(5, 503, b"<Error><Code>SlowDown</Code><Message>Slow</Message></Error>")
    with serve_catalog(root, faults={"a.tif": busy}) as server:
        source = pinned(in_bucket(server.url))
        assert source.version is not None and source.version.identity.startswith("etag:")
        for window in WINDOWS:
            assert np.array_equal(pixels(source, window), truth(root, window))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 5 and all("s3://files/a.tif" in line for line in said)


def test_an_object_that_is_replaced_or_missing_is_named(
    root: Path, in_bucket: Callable[..., BandSource]
) -> None:
    close_files()  # another test reads the same version, of the same name
    with serve_catalog(root) as server:
        source = pinned(in_bucket(server.url))
        pixels(source, WINDOWS[0])
        replaced(root)
        with pytest.raises(AssetReadError, match=r"s3://files/a\.tif changed during the run"):
            pixels(source, WINDOWS[1])
        (root / "a.tif").unlink()
        for ask in (pinned, lambda one: pixels(one, WINDOWS[0])):
            close_files()
            with pytest.raises(AssetReadError, match=r"s3://files/a\.tif does not exist"):
                ask(in_bucket(server.url))
