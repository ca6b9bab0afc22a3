"""Real servers for tests: started on free ports of the loopback interface, stopped at the end."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

SERVICES = Path(__file__).resolve().parents[2] / ".venv-services" / "bin"
START_S = 90.0
STOP_S = 30.0


def service(name: str) -> str:
    """A program of the services' environment."""
    path = SERVICES / name
    assert path.exists(), f"{path} is missing: run `make services`"
    return str(path)


def debian(name: str, package: str, *places: Path) -> str:
    """A program of a Debian package, looked for in `places` too."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, places)]))
    assert found, f"{name} is missing: install Debian's {package} (`make packages`)"
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], answers: Callable[[], bool], env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A server, from when it answers until the block ends; its output is shown if it does not."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **(env or {})}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + START_S
            while not answers():
                log.seek(0)
                assert process.poll() is None, f"{command[0]} ended: {log.read()}"
                assert time.monotonic() < deadline, f"{command[0]} does not answer: {log.read()}"
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)


def answers_http(url: str) -> Callable[[], bool]:
    """Whether something at `url` answers well."""

    def answers() -> bool:
        try:
            return requests.get(url, timeout=5).ok
        except requests.RequestException:
            return False

    return answers


@contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """A new cluster of PostgreSQL; the variables with which its clients reach it."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    programs = {
        name: debian(name, "postgresql-*-postgis-3", *versions)
        for name in ("initdb", "postgres", "pg_isready")
    }
    folder = Path(tempfile.mkdtemp(prefix="noise2map-postgres-"))
    become = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if become:
        shutil.chown(folder, "postgres")
    port = str(free_port())
    try:
        subprocess.run(
            [*become, programs["initdb"], "-D", str(folder / "data"), "-U", "postgres",
             "--auth=trust", "--encoding=UTF8", "--no-sync"],
            check=True, capture_output=True, timeout=START_S, cwd=folder,
        )  # fmt: skip
        server = [
            programs["postgres"], "-D", str(folder / "data"), "-h", "127.0.0.1", "-p", port,
            "-k", str(folder), "-c", "fsync=off", "-c", "full_page_writes=off",
        ]  # fmt: skip
        ready = [programs["pg_isready"], "-q", "-h", "127.0.0.1", "-p", port]
        with running(
            [*become, *server], lambda: subprocess.run(ready, check=False).returncode == 0
        ):
            yield {
                "PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": "postgres", "PGPASSWORD": "none",
                "PGDATABASE": "postgres",
            }  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pgstac(collection: Path, items: Path) -> Iterator[str]:
    """stac-fastapi-pgstac over documents, one a line; its address."""
    with postgres() as env:
        load = [service("pypgstac"), "load", "--method", "insert"]
        for command in (
            [service("pypgstac"), "migrate"],
            [*load, "collections", str(collection)],
            [*load, "items", str(items)],
        ):
            done = subprocess.run(
                command, env={**os.environ, **env}, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, done.stderr[-2000:]
        port = str(free_port())
        command = [
            service("uvicorn"), "--factory", "stac_fastapi.pgstac.app:create_app",
            "--host", "127.0.0.1", "--port", port, "--log-level", "warning",
        ]  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        with running(command, answers_http(f"{url}/_mgmt/ping"), env):
            yield url


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/errors;{user}
worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  types {{ application/json json; image/tiff tif; }}
  log_format ranges '$request_method $uri $status $http_range'; access_log {folder}/access ranges;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextmanager
def nginx(root: Path) -> Iterator[tuple[str, Path]]:
    """Files of a folder on nginx: the address, and the log of what was asked for."""
    program = debian("nginx", "nginx-light", Path("/usr/sbin"))
    folder, port = Path(tempfile.mkdtemp(prefix="noise2map-nginx-")), free_port()
    user = " user root;" if os.geteuid() == 0 else ""  # the files are the tests' own
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port, root=root, user=user))
    url = f"http://127.0.0.1:{port}"
    try:
        with running([program, "-c", str(folder / "conf"), "-e", str(folder / "errors")],
                     answers_http(f"{url}/catalog.json")):  # fmt: skip
            yield url, folder / "access"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
