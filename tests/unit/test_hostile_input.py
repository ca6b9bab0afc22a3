"""What comes from outside ends in one clear line, and reads and writes nothing but its own."""

import gzip
import itertools
import json
import math
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio

import pipelines.ingest_region
from noise2map_core.catalog import access, links
from noise2map_core.cli.application import application
from noise2map_core.distributed import shards
from noise2map_core.runtime import patience
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from tests import hostile
from tests.hostile import Hostile, answer, raw, redirect, serve
from tests.said import errors

CANARY = "canary-of-a-local-file"
ROOT = "/catalog.json"
COLLECTION = "/embedded-farmland/collection.json"
BEFORE = "/embedded-farmland/embedded-farmland-before/embedded-farmland-before.json"
LABELS = "/embedded-farmland/embedded-farmland-change/embedded-farmland-change.json"
NUMBERS = itertools.count()
DEEP = b"[" * 200_000
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12))
    + b"]><a>&m;</a>"
)

TEN_GB = 10 << 30


Handle = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Attack:
    """One run of `ingest-region` on a catalogue that a hostile server gives."""

    server: Hostile
    inside: Hostile
    """At an internal address, where nobody has any business."""
    folder: Path
    flags: dict[str, str]

    @property
    def item(self) -> dict[str, Any]:
        return self.server.documents[BEFORE]

    def link(self, href: Any) -> None:
        """Have the item's band lie elsewhere; {inside} is the internal server."""
        self.item["assets"]["red"]["href"] = self.placed(href)

    def placed(self, text: Any) -> Any:
        if not isinstance(text, str):
            return text
        port = self.inside.url.rpartition(":")[2]
        return text.replace("{port}", port).replace("{secret}", str(self.folder / "secret.tif"))

    def file(self, how: Handle) -> None:
        """Have the item's band answered so; at a new place, for what was read is remembered."""
        path = f"/evil-{next(NUMBERS)}.tif"
        self.server.answers[path] = how
        self.link(f"{self.server.url}{path}")

    def api(self, **changes: Any) -> None:
        """Make the catalogue an API; `changes` are fields of its search's answer."""
        search = {"rel": "search", "href": f"{self.server.url}/search", "method": "GET"}
        root = self.server.documents[ROOT]
        data = {"rel": "data", "href": f"{self.server.url}/collections"}
        root["links"] = [search | {"type": "application/geo+json"}, data]
        root["conformsTo"] = [
            f"https://api.stacspec.org/v1.0.0/{name}"
            for name in ("core", "item-search", "collections", "ogcapi-features")
        ]
        collection = self.server.documents[COLLECTION]
        self.server.documents["/collections/embedded-farmland"] = collection
        item = self.item | {"links": [{"rel": "self", "href": f"{self.server.url}{BEFORE}"}]}
        page = {"type": "FeatureCollection", "features": [item], "links": []}
        self.server.documents["/search"] = page | changes


Arm = Callable[[Attack], Any]


def hrefs() -> dict[str, Any]:
    """Links that lead where they must not."""
    inside = [
        "127.0.0.2", "localhost", "[::1]", "0.0.0.0", "2130706434", "0x7f000002", "0177.0.0.2",
        "127.2", "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[64:ff9b::7f00:2]", "[2002:7f00:2::]",
        "[::127.0.0.2]",
        "169.254.169.254", "10.0.0.5", "192.168.1.1", "172.16.0.1", "100.100.100.200", "[fe80::1]",
        "[fd00::1]", "224.0.0.1", "255.255.255.255", "user@127.0.0.2", "127.0.0.2\\@127.0.0.1",
        "127.0.0.1\t@127.0.0.2",
    ]  # fmt: skip
    local = [
        "{secret}", "file://{secret}", "FILE://{secret}", "file:{secret}",
        "file://localhost{secret}",
        "../../../../../../../../..{secret}", "..\\..\\secret.tif", "/vsizip/{secret}",
        "/vsicurl/http://127.0.0.2:{port}/secret.tif", "C:\\secret.tif",
        "\\\\127.0.0.2\\secret.tif",
        "zip+file://{secret}!a.tif", "jar:file:{secret}!/", "data:image/tiff;base64,SUkqAA==",
        "ftp://127.0.0.2:{port}/secret.tif", "gopher://127.0.0.2:{port}/", "GTIFF_DIR:1:{secret}",
        "//127.0.0.2:{port}/secret.tif", "http://[::1", "http://127.0.0.2:99999999/secret.tif",
        " http://127.0.0.2:{port}/secret.tif", "s3://127.0.0.2:{port}@x/secret.tif",
        "s3:///secret.tif", "s3://a%2f..%2fb/secret.tif",
    ]  # fmt: skip
    return {host: f"http://{host}:{{port}}/secret.tif" for host in inside} | {h: h for h in local}


def documents() -> dict[str, Arm]:
    """Answers that are no catalogue."""

    def at(path: str, body: bytes, **options: Any) -> Arm:
        return lambda attack: attack.server.answers.update({path: answer(body, **options)})

    def document(path: str, **changes: Any) -> Arm:
        return lambda attack: attack.server.documents[path].update(changes)

    def sent(path: str, how: Any) -> Arm:
        return lambda attack: attack.server.answers.update({path: how})

    head = b"HTTP/1.1 200 OK\r\n"
    return {
        "html": at(ROOT, b"<html>Sign in</html>"),
        "xml bomb": at(ROOT, BOMB),
        "xml bomb as item": at(BEFORE, BOMB),
        "nothing": at(ROOT, b""),
        "list": at(ROOT, b"[]"),
        "null": at(BEFORE, b"null"),
        "deep json": at(ROOT, DEEP),
        "deep json as item": at(BEFORE, DEEP),
        "deep objects": at(COLLECTION, b'{"a":' * 200_000),
        "not utf-8": at(ROOT, b"\xff\xfe\x00\x01"),
        "number of a million digits": at(ROOT, b'{"type": ' + b"9" * 1_000_000 + b"}"),
        "10 GB stated": at(ROOT, b"{", length=TEN_GB),
        "10 GB stated of an item": at(BEFORE, b"{", length=TEN_GB),
        "gzip bomb": at(ROOT, gzip.compress(b" " * (80 << 20)), Content_Encoding="gzip"),
        "endless": sent(ROOT, hostile.endless),
        "endless item": sent(BEFORE, hostile.endless),
        "redirect with an endless body": sent(
            ROOT, answer(b"", status=302, length=TEN_GB, Location=COLLECTION)
        ),
        "huge header": sent(ROOT, raw(head + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n{}")),
        "many headers": sent(ROOT, raw(head + b"X: x\r\n" * 10_000 + b"\r\n{}")),
        "status of letters": sent(ROOT, raw(b"HTTP/1.1 abc\r\n\r\n")),
        "no http": sent(ROOT, raw(b"\x00" * 1000)),
        "length of letters": sent(ROOT, raw(head + b"Content-Length: -5\r\n\r\n{}")),
        "chunks of letters": sent(ROOT, raw(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")),
        "redirect loop": sent(ROOT, redirect(ROOT)),
        "redirect to a file": sent(ROOT, redirect("file:///etc/passwd")),
        "redirect to the metadata service": sent(ROOT, redirect("http://169.254.169.254/latest")),
        "redirect of an item to a private host": sent(BEFORE, redirect("http://10.0.0.5/a.json")),
        "redirect to ftp": sent(ROOT, redirect("ftp://127.0.0.2/catalog.json")),
        "redirect to no address": sent(ROOT, redirect("http://[::1")),
        "links of letters": document(ROOT, links="abc"),
        "links of null": document(COLLECTION, links=[None]),
        "link without href": document(COLLECTION, links=[{"rel": "item"}]),
        "link that is a number": document(ROOT, links=[{"rel": "child", "href": 7}]),
        "child is a file": document(ROOT, links=[{"rel": "child", "href": "/etc/passwd"}]),
        "child climbs": document(ROOT, links=[{"rel": "child", "href": "../../../etc/passwd"}]),
        "child is internal": document(ROOT, links=[{"rel": "child", "href": "http://10.0.0.5/"}]),
        "item is a file": document(COLLECTION, links=[{"rel": "item", "href": "file:///etc/hosts"}]),
        "item at the metadata service": document(
            COLLECTION, links=[{"rel": "item", "href": "http://169.254.169.254/latest"}]
        ),
        "catalogue in itself": document(ROOT, links=[{"rel": "child", "href": ROOT[1:]}]),
        "collection without links": document(COLLECTION, links={}),
        "providers of letters": document(COLLECTION, providers="abc", license=None),
    }  # fmt: skip


def items() -> dict[str, Arm]:
    """Items that state nonsense."""

    def item(**changes: Any) -> Arm:
        return lambda attack: attack.item.update(changes)

    def stated(**changes: Any) -> Arm:
        return lambda attack: attack.item["properties"].update(changes)

    def band(**changes: Any) -> Arm:
        return lambda attack: attack.item["assets"]["red"].update(changes)

    ring = [[0, 0], [math.inf, 0], [1, math.nan], [0, 0]]
    return {
        "id that climbs": item(id="../../../../tmp/x"),
        "id at the root": item(id="/etc/cron.d/x"),
        "id of another drive": item(id="C:\\x"),
        "id with a null": item(id="a\0b"),
        "id that a terminal obeys": item(id="\x1b]0;owned\x07\x1b[2J"),
        "id of several lines": item(id="a\nConfigError: all is well"),
        "id of a megabyte": item(id="x" * 1_000_000),
        "geometry of letters": item(geometry="abc"),
        "geometry of a number": item(geometry=7),
        "geometry of no numbers": item(geometry={"type": "Polygon", "coordinates": [[["a", "b"]]]}),
        "geometry without end": item(geometry={"type": "Polygon", "coordinates": [ring]}),
        "geometry in itself": item(
            geometry={"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection"}]}
        ),
        "properties of letters": item(properties="abc"),
        "properties in a list": item(properties=[1]),
        "assets in a list": item(assets=[1]),
        "asset of null": item(assets={"red": None}),
        "asset without href": item(assets={"red": {}}),
        "href that is a number": band(href=7),
        "href that is a list": band(href=["a"]),
        "date of letters": stated(datetime="yesterday"),
        "date of a number": stated(datetime=10**30),
        "date that is a list": stated(datetime=[1]),
        "code that is a file": stated(**{"proj:code": "+init=file:/etc/passwd"}),
        "code that is a pipeline": stated(**{"proj:code": "+proj=pipeline +step +proj=x"}),
        "transform of letters": band(**{"proj:transform": ["a"] * 6}),
        "transform of 10": band(**{"proj:transform": [0] * 10}),
        "cloud of letters": stated(**{"eo:cloud_cover": "none"}),
        "bands of letters": band(bands="abc", **{"raster:bands": "abc"}),
        "bands of numbers": band(bands=[7], **{"raster:bands": [7]}),
        "providers of numbers": stated(providers=[7]),
    }  # fmt: skip


def tiff(folder: Path, **profile: Any) -> bytes:
    """A small file that claims more than it has."""
    path = folder / "made.tif"
    settings = {
        "driver": "GTiff", "dtype": "uint16", "count": 1, "width": 64, "height": 64,
        "crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 542720, 0, -10, 5345280),
        "SPARSE_OK": True, **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", **settings):
        pass
    body = path.read_bytes()
    path.unlink()
    return body


def assets() -> dict[str, Arm]:
    """Files that are not what they are called."""

    def placed(body: Callable[[Attack], bytes]) -> Arm:
        return at(lambda attack: answer(body(attack), kind="image/tiff"))

    def at(how: Callable[[Attack], Handle]) -> Arm:
        return lambda attack: attack.file(how(attack))

    def vrt(attack: Attack) -> bytes:
        source = attack.folder / "secret.tif"
        return (
            '<VRTDataset rasterXSize="64" rasterYSize="64">'
            '<VRTRasterBand dataType="UInt16" band="1">'
            f"<SimpleSource><SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand>"
            "</SimpleSource></VRTRasterBand></VRTDataset>"
        ).encode()

    wms = b"<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.2/</ServerUrl></Service></GDAL_WMS>"
    loop = struct.pack("<2sHIHI", b"II", 42, 8, 0, 8)  # its first directory is its next one
    return {
        "vrt of a local file": placed(vrt),
        "wms of an internal host": placed(lambda _: wms),
        "xml bomb as tif": placed(lambda _: BOMB),
        "html as tif": placed(lambda _: b"<html>Sign in</html>"),
        "png as tif": placed(lambda _: b"\x89PNG\r\n\x1a\n" + b"\0" * 100),
        "json as tif": placed(lambda _: b'{"type": "FeatureCollection", "features": []}'),
        "nothing as tif": placed(lambda _: b""),
        "directory that is its own next": placed(lambda _: loop),
        "directory far away": placed(lambda _: struct.pack("<2sHI", b"II", 42, 0xFFFFFFF0)),
        "block of 20 GiB": placed(
            lambda a: tiff(a.folder, width=100_000, height=100_000, blockysize=100_000,
                           compress="deflate", BIGTIFF="YES")
        ),
        "overviews in a local file": placed(elsewhere),
        "no coordinates": placed(lambda a: tiff(a.folder, crs=None)),
        "fewer bands than stated": lambda a: (
            a.file(answer(tiff(a.folder))),
            a.item["assets"]["red"].update(bands=[{}, {"name": "red"}]),
        ),
        "10 GB of tif": at(lambda _: answer(b"II", length=TEN_GB)),
        "tif that is a loop": at(lambda _: lambda handler: redirect(handler.path)(handler)),
        "tif at the metadata service": at(lambda _: redirect("http://169.254.169.254/latest")),
        "tif at an internal host": at(lambda a: redirect(f"{a.inside.url}/secret.tif")),
        "tif at ftp": at(lambda a: redirect(f"ftp://127.0.0.2:{a.inside.url[-5:]}/secret.tif")),
        "tif that is a file": at(lambda a: redirect(f"file://{a.folder}/secret.tif")),
        "huge header of a tif": at(
            lambda _: raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n")
        ),
    }  # fmt: skip


def elsewhere(attack: Attack) -> bytes:
    """A GeoTIFF whose metadata name a local file for its overviews."""
    path = attack.folder / "made.tif"
    path.write_bytes(tiff(attack.folder, SPARSE_OK=False))
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(attack.folder / "secret.tif"))
    body = path.read_bytes()
    path.unlink()
    return body


def labels() -> dict[str, Arm]:
    """Polygons of label items that make GDAL open other files, if it may choose."""

    def placed(text: str) -> Arm:
        def arm(attack: Attack) -> None:
            path = f"/evil-{next(NUMBERS)}.geojson"
            attack.server.answers[path] = answer(attack.placed(text).encode())
            document = attack.server.documents[LABELS]
            document["assets"]["change"]["href"] = f"{attack.server.url}{path}"
            attack.flags |= {"labels.kind": "polygons", "labels.asset": "change"}

        return arm

    algorithm = '{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read %s"}'
    crs = '{"type": "link", "properties": {"href": "http://127.0.0.2:{port}/crs", "type": "proj4"}}'
    source = "<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>{secret}</SrcDataSource>"
    return {
        "labels that are an algorithm on a file": placed(algorithm % "{secret}"),
        "labels that are an algorithm inside": placed(algorithm % "http://127.0.0.2:{port}/a"),
        "labels that are a vrt": placed(f"{source}</OGRVRTLayer></OGRVRTDataSource>"),
        "labels with a crs inside": placed(
            '{"type": "FeatureCollection", "features": [], "crs": ' + crs + "}"
        ),
        "labels of a database": placed("SQLite format 3\0"),
    }


def apis() -> dict[str, Arm]:
    """APIs that lead astray."""

    def page(**changes: Any) -> Arm:
        return lambda attack: attack.api(**changes)

    def following(href: str) -> Arm:
        def arm(attack: Attack) -> None:
            where = href.replace("{url}", attack.server.url)
            attack.api(links=[{"rel": "next", "href": attack.placed(where), "method": "GET"}])

        return arm

    def searching(href: str) -> Arm:
        def arm(attack: Attack) -> None:
            attack.api()
            attack.server.documents[ROOT]["links"][0]["href"] = attack.placed(href)

        return arm

    own = {"rel": "self", "href": "file:///etc/passwd"}
    return {
        "pages without end": following("{url}/search"),
        "next page inside": following("http://127.0.0.2:{port}/search"),
        "next page at the metadata service": following("http://169.254.169.254/latest"),
        "next page in a file": following("file:///etc/passwd"),
        "search inside": searching("http://127.0.0.2:{port}/search"),
        "search in a file": searching("file:///etc/passwd"),
        "features of letters": page(features="abc"),
        "features of numbers": page(features=[7]),
        "feature of null": page(features=[None]),
        "links of a page": page(links="abc"),
        "self link to a file": lambda a: a.api(features=[a.item | {"links": [own]}]),
        "deep page": lambda a: (a.api(), a.server.answers.update({"/search": answer(DEEP)})),
        "endless page": lambda a: (a.api(), a.server.answers.update({"/search": hostile.endless})),
    }  # fmt: skip


def pickled(attack: Attack) -> None:
    """A table whose column runs code when it is read in a process that knows Ray."""
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectArray

    column = ArrowPythonObjectArray.from_objects([{"a": 1}])
    names = ("id", "geometry", "bbox", "assets")
    table = pa.table({name: column for name in names})
    pq.write_table(table, attack.folder / "made.parquet")
    body = (attack.folder / "made.parquet").read_bytes()
    (attack.folder / "made.parquet").unlink()
    table_at(body)(attack)


def table_at(body: bytes, **options: Any) -> Arm:
    def arm(attack: Attack) -> None:
        attack.server.answers["/items.parquet"] = answer(body, **options)
        attack.flags["catalog"] = f"{attack.server.url}/items.parquet"

    return arm  # fmt: skip


def inputs() -> dict[str, Arm]:
    """Tables, areas and settings."""

    def written(flag: str, name: str, body: bytes) -> Arm:
        def arm(attack: Attack) -> None:
            (attack.folder / name).write_bytes(body)
            attack.flags[flag] = str(attack.folder / name)

        return arm

    laughs = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 25)
    )
    box = b'{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [%s, 1], [0, 0]]]}'
    return {
        "table of python objects": pickled,
        "table that is html": table_at(b"<html>"),
        "table of 10 GB": table_at(b"PAR1", length=TEN_GB),
        "table of other columns": table_at(b"PAR1" + b"\0" * 20 + b"PAR1"),
        "settings that laugh": written("", "a.yaml", (laughs + "aoi: *a24\n").encode()),
        "settings that run code": written("", "a.yaml", b"aoi: !!python/object/apply:os.abort []"),
        "settings that name a module": written("", "a.yaml", b"aoi: !!python/name:os.abort\n"),
        "settings in themselves": written("", "a.yaml", b"search: &a {catalog: *a}\n"),
        "deep settings": written("", "a.yaml", b"{a: " * 20_000),
        "binary settings": written("", "a.yaml", b"\0\1\2"),
        "deep area": written("aoi", "a.geojson", DEEP),
        "area of infinity": written("aoi", "a.geojson", box % b"Infinity"),
        "area of nothing": written("aoi", "a.geojson", box % b"NaN"),
        "area of digits": written("aoi", "a.geojson", box % (b"9" * 400)),
        "area that is html": written("aoi", "a.geojson", b"<html>"),
        "area without end": written("aoi", "a.geojson", b'{"type": "Feature", "a": ' * 50_000),
    }  # fmt: skip


ARMS: dict[str, Arm] = {
    **{f"href {name!a}": lambda a, h=href: a.link(h) for name, href in hrefs().items()},
    **documents(), **items(), **assets(), **labels(), **apis(), **inputs(),
}  # fmt: skip


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with serve("127.0.0.2") as server:
        body = tiff(tmp_path_factory.mktemp("inside"))
        server.answers["/secret.tif"] = answer(body, kind="image/tiff")
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    with serve() as one:
        yield one


@pytest.fixture
def attack(
    tmp_path: Path, embedded: EmbeddedCatalog, server: Hostile, inside: Hostile,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Attack]:  # fmt: skip
    """The embedded catalogue behind a server that stands for one of the open web."""
    known = links.is_internal
    for module in (links, access):
        monkeypatch.setattr(module, "is_internal", lambda host: host != "127.0.0.1" and known(host))
    monkeypatch.setattr(patience, "BRIEF_S", 0.0)
    monkeypatch.setattr(shards, "ray_session", lambda *_: pytest.fail("the run went on"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server.documents = {
        f"/{path.relative_to(embedded.root)}": json.loads(path.read_text())
        for path in embedded.root.rglob("*.json")
    }
    server.folder, server.answers = embedded.root, {}
    inside.requests.clear()
    (tmp_path / "secret.tif").write_bytes(tiff(tmp_path) + CANARY.encode())
    flags = {
        "aoi": str(embedded.map_aoi), "catalog": server.url + ROOT,
        "collection": embedded.collection, "before": embedded.before, "after": embedded.after,
        "search.bands": "red", "output": str(tmp_path / "out" / "chips.zarr"),
        "search.patience_s": "2",
    }  # fmt: skip
    handler = signal.getsignal(signal.SIGTERM)
    yield Attack(server, inside, tmp_path, flags)
    signal.signal(signal.SIGTERM, handler)


def run(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> int:
    flags = dict(attack.flags)
    config = flags.pop("", None)
    given = [word for name, value in flags.items() for word in (f"--{name}", value)]
    monkeypatch.setattr(sys, "argv", ["ingest_region.py", *([config] if config else given)])
    with pytest.raises(SystemExit) as ended:
        application(IngestRegionConfig, pipelines.ingest_region.run)
    return int(ended.value.code or 0)


def test_there_are_a_hundred_hostile_inputs_and_more() -> None:
    assert len(ARMS) >= 100


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.timeout(60)
def test_what_is_hostile_ends_in_one_line(
    name: str, attack: Attack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    attack.server.documents = deepcopy(attack.server.documents)
    ARMS[name](attack)
    before = {path for path in attack.folder.rglob("*")}
    code = run(attack, monkeypatch)
    said = capsys.readouterr()
    assert code == 2, said.err[-2000:]
    (line,) = errors(said.err)
    error, _, text = line.partition(": ")
    assert error in ("CatalogError", "AssetReadError", "ConfigError") and text.endswith("."), line
    assert line.isprintable() and len(line) < 5000
    assert CANARY not in line and "root:x:" not in line
    assert said.out == ""
    assert attack.inside.requests == []
    assert {path for path in attack.folder.rglob("*")} == before
