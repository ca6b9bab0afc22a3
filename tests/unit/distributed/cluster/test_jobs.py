"""Jobs that a cluster does not take."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.distributed.cluster import jobs
from noise2map_core.distributed.cluster.jobs import connect, submit
from noise2map_core.runtime.errors import ConfigError

NODE = {
    "node_id": "0" * 56, "node_ip": "127.0.0.1", "is_head_node": True, "state": "ALIVE",
    "state_message": None, "node_name": "head", "resources_total": {}, "labels": {},
    "end_time_ms": 0,
}  # fmt: skip


@contextmanager
def dashboard(age_s: float, agent_from: int | None = None) -> Iterator[tuple[str, list[str]]]:
    """A dashboard whose job agent comes with the n-th job that is sent, or never; and the requests
    that it gets."""
    asked = list[str]()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"GET {self.path.partition('?')[0]}")
            started = int(1000 * (time.time() - age_s))
            listed = {"total": 1, "num_after_truncation": 1, "num_filtered": 1,
                      "partial_failure_warning": "", "warnings": None,
                      "result": [{**NODE, "start_time_ms": started}]}  # fmt: skip
            if "/api/v0/nodes" in self.path:
                self._answer(200, {"result": True, "msg": "", "data": {"result": listed}})
            else:
                self._answer(200, {"version": "4", "ray_version": "2.60.0", "ray_commit": "",
                                   "session_name": "s"})  # fmt: skip

        def do_POST(self) -> None:
            asked.append(f"POST {self.path}")
            self.rfile.read(int(self.headers["Content-Length"]))
            sent = sum(one.startswith("POST") for one in asked)
            if agent_from is not None and sent >= agent_from:
                self._answer(200, {"job_id": "job", "submission_id": "job"})
            else:
                self._answer(500, "No available agent to submit job, please try again later.")

        def _answer(self, code: int, body: Any) -> None:
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_of_a_cluster_whose_agents_are_dead_it_is_said_at_once(tmp_path: Path) -> None:
    refused = pytest.raises(ConfigError, match="takes no jobs: its dashboard answers")
    with dashboard(age_s=3600) as (address, asked), refused as caught:
        submit(connect(address), "true", tmp_path)
    assert address in str(caught.value)
    assert "too large" not in str(caught.value) and "\n" not in str(caught.value)
    assert sum(one.startswith("POST") for one in asked) == 1, "tried again"


def test_an_agent_of_a_cluster_that_is_starting_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "POLL_S", 0.01)
    with dashboard(age_s=1, agent_from=3) as (address, _):
        assert submit(connect(address), "true", tmp_path) == "job"
