"""The lease on object storage: kept through failures, given up in time, and never held by two."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from noise2map_core.runtime import lease
from noise2map_core.runtime.errors import LeaseLostError, OutputHeldError
from noise2map_core.runtime.lease import EXPIRE_S, RENEW_S, hold_lease, require_fence
from noise2map_core.runtime.storage import location
from tests.memory_bucket import Bucket, keep_in_memory

OUTPUT = location("s3://bucket/map")
Put = Callable[..., Any]


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    return keep_in_memory(monkeypatch)


class Clock:
    """A holder's own clock, which stands still but for its pauses; an `Event` for the threads."""

    def __init__(self, rounds: int) -> None:
        self.now, self.pauses, self._rounds = 1000.0, [], rounds  # type: ignore[var-annotated]

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        """Let the seconds pass; True after so many rounds."""
        self.pauses.append(seconds)
        self.now += seconds
        return len(self.pauses) > self._rounds


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Signals that the process sends itself."""
    sent: list[int] = []
    monkeypatch.setattr(
        "noise2map_core.runtime.lease.os.kill", lambda _, number: sent.append(number)
    )
    monkeypatch.setattr(
        "noise2map_core.runtime.lease.signal.getsignal", lambda _: signal.default_int_handler
    )
    return sent


def held(monkeypatch: pytest.MonkeyPatch, rounds: int) -> tuple[Any, Clock]:
    """A lease that is held, and the clock by which it is kept."""
    clock = Clock(rounds)
    monkeypatch.setattr("noise2map_core.runtime.lease._now", clock)
    one = lease._ObjectLease(OUTPUT)
    one.acquire()
    return one, clock


def failing(monkeypatch: pytest.MonkeyPatch, plan: Iterator[Callable[[Put], Put]]) -> None:
    """Each writing of the lease goes as the next of the plan says."""
    put = obstore.put

    def planned(store: Any, key: str, *args: Any, **options: Any) -> Any:
        way = next(plan, None) if key == lease.OBJECT else None
        return (way(put) if way else put)(store, key, *args, **options)

    monkeypatch.setattr(obstore, "put", planned)


def refused(put: Put) -> Put:
    def answer(*args: Any, **options: Any) -> Any:
        raise PermissionDeniedError("403 Forbidden")

    return answer


def lost(put: Put) -> Put:
    """Written, and the answer does not arrive."""

    def answer(*args: Any, **options: Any) -> Any:
        put(*args, **options)
        raise GenericError("connection reset")

    return answer


def sent_twice(put: Put) -> Put:
    """Written, the answer lost, and sent anew by the client itself."""

    def answer(*args: Any, **options: Any) -> Any:
        put(*args, **options)
        return put(*args, **options)

    return answer


def plain(put: Put) -> Put:
    return put


def test_a_renewal_that_fails_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    killed: list[int],
) -> None:
    one, clock = held(monkeypatch, rounds=6)
    failing(monkeypatch, iter([plain, refused, refused, plain]))
    one.keep(clock)
    assert clock.pauses == [RENEW_S, RENEW_S, 1.0, 2.0, RENEW_S, RENEW_S, RENEW_S]
    assert capsys.readouterr().err.count("is not renewed") == 2
    assert not killed
    one.require()
    with pytest.raises(OutputHeldError), hold_lease(OUTPUT):
        pass


@pytest.mark.parametrize("failure", [lost, sent_twice])
def test_an_answer_that_is_lost_is_no_other_run(
    failure: Callable[[Put], Put], monkeypatch: pytest.MonkeyPatch, killed: list[int]
) -> None:
    one, clock = held(monkeypatch, rounds=3)
    failing(monkeypatch, iter([failure]))
    one.keep(clock)
    one.require()
    assert not killed
    one.release()
    failing(monkeypatch, iter([sent_twice]))  # of the first writing, too
    with hold_lease(OUTPUT) as fence:
        assert fence == 2


def test_a_holder_that_cannot_renew_stops_before_anyone_else_may_hold_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], killed: list[int]
) -> None:
    one, clock = held(monkeypatch, rounds=100)
    began = clock.now
    one.watch(clock)
    assert clock.now - began < EXPIRE_S - 10
    assert killed == [signal.SIGTERM]
    with pytest.raises(LeaseLostError, match=r"holds s3://bucket/map no more.*run out") as caught:
        one.require()
    assert caught.value.exit_code == 4


def test_one_that_finds_another_in_its_place_stops_and_leaves_the_lease_to_it(
    monkeypatch: pytest.MonkeyPatch, killed: list[int]
) -> None:
    one, clock = held(monkeypatch, rounds=100)
    body = {"fence": 2, "holder": "other", "beat": 1, "seconds": 60.0, "expires": 1.0}
    store = lease.object_store(OUTPUT / "ledger")
    obstore.put(store, lease.OBJECT, json.dumps(body).encode())
    one.keep(clock)
    assert killed == [signal.SIGTERM]
    one.release()
    assert json.loads(bytes(obstore.get(store, lease.OBJECT).bytes())) == body
    with pytest.raises(LeaseLostError, match="taken it over"):
        one.require()
    with pytest.raises(LeaseLostError, match="run 2 has taken it over from run 1"):
        require_fence(OUTPUT, 1)
    require_fence(OUTPUT, 2)


@pytest.mark.parametrize("off_s", [86_400.0, -86_400.0])
def test_no_clock_of_a_client_counts(off_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    lease._ObjectLease(OUTPUT).acquire()  # and never given back
    now = lease.time.time
    with monkeypatch.context() as skewed:
        skewed.setattr("noise2map_core.runtime.lease.time.time", lambda: now() + off_s)
        with pytest.raises(OutputHeldError), hold_lease(OUTPUT):
            pass
        skewed.setattr("noise2map_core.runtime.lease.EXPIRE_S", 0.0)
        lease._ObjectLease(location("s3://bucket/short")).acquire()  # expires at once
    with hold_lease(location("s3://bucket/short")) as fence:
        assert fence == 2


def test_a_lease_that_is_not_given_back_is_said_and_fails_no_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_lease(OUTPUT):
        failing(monkeypatch, iter([refused]))
    assert "is not given back" in capsys.readouterr().err


SLEEPER = """
import sys, threading
import pytest
from noise2map_core.cli.application import application
from noise2map_core.runtime import lease
from noise2map_core.runtime.storage import location
from pydantic import BaseModel
from tests.memory_bucket import keep_in_memory

class Config(BaseModel):
    pass

def run(config):
    lease.EXPIRE_S = 0.2
    with lease.hold_lease(location("s3://bucket/map")):
        threading.Event().wait(60)

keep_in_memory(pytest.MonkeyPatch())
application(Config, run)
"""


def test_a_command_whose_lease_runs_out_ends_with_a_line_and_code_4(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLEEPER], cwd=checkout, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 4, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("LeaseLostError: this run holds s3://bucket/map no more")
