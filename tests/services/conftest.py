"""Real servers on free ports of this machine, and a real browser."""

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.services.servers import free_port

START_S = 60.0
PAGE_S = 60


@pytest.fixture(scope="session")
def services(checkout: Path) -> Path:
    """The folder of the servers' commands."""
    folder = checkout / ".venv-services" / "bin"
    assert folder.is_dir(), f"{folder} is missing; `make services` installs the servers"
    return folder


@pytest.fixture(scope="session")
def s3_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server of `s3` says: a line a request."""
    return tmp_path_factory.mktemp("s3") / "log"


@pytest.fixture(scope="session")
def s3(services: Path, s3_log: Path) -> Iterator[str]:
    """A bucket, s3://tests, of a server that speaks S3; the environment points to it."""
    port = free_port()
    log = s3_log.open("wb")
    command = [str(services / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    endpoint = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in settings}
    try:
        _make_bucket(server, f"{endpoint}/tests")
        os.environ.update(settings)
        yield "s3://tests"
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        server.terminate()
        server.wait(timeout=30)
        log.close()


def _make_bucket(server: "subprocess.Popen[bytes]", url: str) -> None:
    """As soon as the server answers."""
    deadline = time.monotonic() + START_S
    while True:
        assert server.poll() is None, "the S3 server has ended"
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10).close()
            return
        except URLError:
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """Headless Chromium with a profile of its own."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium and driver, "Debian packages chromium and chromium-driver are missing"
    options = Options()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    opened = webdriver.Chrome(options=options, service=Service(driver))
    opened.set_page_load_timeout(PAGE_S)
    opened.set_script_timeout(PAGE_S)
    yield opened
    opened.quit()
