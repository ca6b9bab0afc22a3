"""`noise2map models`: what ships, what needs no training, and what a hub has."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from noise2map_core.models.shipped import SHIPPED, shipped_names
from tests.said import errors

COMMAND = Path(sys.executable).with_name("noise2map")
FILES = ["README.md", "aid-10k/config.json", "aid-10k/diffusion_pytorch_model.safetensors",
         "bare/config.json", "diffusion_pytorch_model.safetensors"]  # fmt: skip


class _Hub(BaseHTTPRequestHandler):
    """Answers as huggingface.co does for the one repository that it has."""

    def do_GET(self) -> None:
        known = self.path.startswith("/api/models/some/body")
        body = {"id": "some/body", "siblings": [{"rfilename": name} for name in FILES]}
        text = json.dumps(body if known else {"error": "Repository not found"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def models(*args: str, endpoint: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint} if endpoint else None
    command = [COMMAND, "models", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def test_everything_that_ships_is_listed_with_bands_and_classes() -> None:
    told = models()
    assert told.returncode == 0
    for name in shipped_names():
        spec = json.loads((SHIPPED / name / "model.json").read_text())
        assert f"  {name} " in told.stdout and ", ".join(spec["bands"]) in told.stdout
        for task in spec["tasks"].values():
            assert ", ".join(entry["name"] for entry in task["classes"]) in told.stdout
    assert all(f"  {kind} " in told.stdout for kind in ("mad", "irmad", "cva"))


def test_the_unets_of_a_repository_are_listed_by_the_names_that_they_have_here(hub: str) -> None:
    told = models("some/body", endpoint=hub)
    assert told.returncode == 0, told.stderr
    listed = told.stdout.split("published UNets")[1].splitlines()[1:]
    assert [line.strip() for line in listed] == ["some/body", "some/body/aid-10k"]


def test_a_repository_that_is_not_there_is_one_line(hub: str) -> None:
    told = models("no/body", endpoint=hub)
    assert told.returncode == 2 and told.stdout == ""
    (line,) = errors(told.stderr)
    assert line.startswith("CheckpointError: the Hugging Face hub does not list no/body: ")
