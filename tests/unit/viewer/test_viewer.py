"""The viewer's server and page: ranges, nothing beyond the folder, a line for what is no map."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from noise2map_core.viewer.page import ASSETS, PAGE, asset_bytes, page_text, write_viewer
from noise2map_core.viewer.server import build_app, listen, require_map
from noise2map_core.workflows.tools.maps.view import ViewConfig

BYTES = bytes(range(256)) * 40


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder that is a map to the server; beside it, a file that is not to be served."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "map"
    folder.mkdir()
    (folder / "item.json").write_text(json.dumps({"type": "Feature", "assets": {}}))
    (folder / "change.tif").write_bytes(BYTES)
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


def answer(folder: Path, path: str, **headers: str) -> tuple[int, bytes, HTTPMessage]:
    """What a client gets that asks for `path` as it is written."""

    def ask(port: int) -> tuple[int, bytes, HTTPMessage]:
        with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read(), response.headers

    async def asked() -> tuple[int, bytes, HTTPMessage]:
        async with TestServer(build_app(folder)) as server:
            return await asyncio.to_thread(ask, server.port)

    return asyncio.run(asked())


def test_a_part_of_a_file_is_sent_as_a_part(output: Path) -> None:
    status, body, headers = answer(output, "/change.tif", Range="bytes=100-299")
    assert (status, body) == (206, BYTES[100:300])
    assert headers["Content-Range"] == f"bytes 100-299/{len(BYTES)}"
    assert headers["Cache-Control"] == "no-cache"
    assert answer(output, "/change.tif", Range=f"bytes={len(BYTES)}-")[0] == 416


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/link.txt", "//etc/passwd"],
)
def test_nothing_beyond_the_folder_is_sent(output: Path, path: str) -> None:
    status, body, _ = answer(output, path)
    assert status in (403, 404) and b"secret" not in body and b"root:" not in body


def test_a_page_of_another_name_gets_nothing(output: Path) -> None:
    assert answer(output, "/item.json", Host="example.org:80")[0] == 403
    assert answer(output, "/item.json", Host="localhost:80")[0] == 200


def test_the_viewer_is_served_though_the_folder_has_none(output: Path) -> None:
    status, _, headers = answer(output, "/")
    assert (status, headers["Location"]) == (302, PAGE)
    assert answer(output, f"/{PAGE}")[1].decode() == page_text()
    for name in ASSETS:
        assert answer(output, f"/viewer/{name}")[1] == asset_bytes(name)


def test_what_is_no_map_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        require_map(tmp_path / "none")
    with pytest.raises(OutputMismatchError, match=r"no item\.json and no collection\.json"):
        require_map(tmp_path)
    (tmp_path / "collection.json").write_text("[1]")
    with pytest.raises(OutputMismatchError, match="is no STAC document"):
        require_map(tmp_path)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1: in use"):
            listen(port)


def test_written_beside_a_map_the_page_and_all_that_it_names_are_there(output: Path) -> None:
    names = write_viewer(output)
    assert names[-1] == PAGE and all((output / name).is_file() for name in names)
    text = (output / PAGE).read_text()
    named = [
        part.split('"')[0] for part in text.split('src="')[1:] + text.split('href="viewer')[1:]
    ]
    assert {f"viewer{one}" if one.startswith("/") else one for one in named} <= set(names)
    before = {name: (output / name).read_bytes() for name in names}
    assert write_viewer(output) == names
    assert before == {name: (output / name).read_bytes() for name in names}
    assert sum(map(len, before.values())) < 1_500_000


@pytest.mark.parametrize(
    "basemap",
    ["tiles/{z}/{x}/{y}.png", "ftp://h/{z}/{x}/{y}", "https://h/{z}/{x}.png",
     "https://h; script-src *//{z}/{x}/{y}"],
)  # fmt: skip
def test_a_basemap_that_is_none_is_refused(basemap: str) -> None:
    with pytest.raises(ConfigError, match="basemap"):
        page_text(basemap)


def test_a_basemap_is_all_that_the_page_may_load_from_elsewhere() -> None:
    page = page_text('https://tiles.example.org/{z}/{x}/{y}.png?"><script>')
    policy = page.split('Content-Security-Policy" content="')[1].split('"')[0]
    hosts = [word for word in policy.split() if "//" in word]
    assert hosts == ["https://tiles.example.org;"] and "<script>" not in page
    assert not [word for word in page_text().split('content="')[1].split() if "//" in word]


def test_settings_that_writing_leaves_without_use_are_refused(output: Path) -> None:
    with pytest.raises(ValueError, match="port is not used"):
        ViewConfig(output=output, write=True, port=1)


def test_the_command_serves_until_it_is_ended_and_ends_well(output: Path) -> None:
    code = "from noise2map_core.cli.main import main; main()"
    command = [sys.executable, "-c", code, "view", str(output), "--port", "0", "--no_open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = next(word for word in line.split() if word.startswith("http://"))
        with urllib.request.urlopen(address, timeout=30) as page:
            assert page.read().decode() == page_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
