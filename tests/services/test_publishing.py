"""Publishing to S3: found whole by HTTP alone, at every moment; opened from there."""

import multiprocessing
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import obstore
import pystac
import pytest
import requests
import xarray as xr

from noise2map_core import open_mosaic
from noise2map_core.publishing.publish import publish
from noise2map_core.publishing.target import LEASE, Target
from noise2map_core.runtime.errors import OutputError, OutputMismatchError
from noise2map_core.runtime.storage import location, object_store
from tests.published import Read, finish, publish_and_die, seen, seen_while, subject_on

pytestmark = [pytest.mark.services, pytest.mark.slow]
MOMENTS = 10


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One map, and the same made anew by another model."""
    root = tmp_path_factory.mktemp("maps")
    subject = subject_on(root / "scenes")
    other = replace(subject, model={**subject.model, "digest": "1" * 64})
    for number, one in enumerate((subject, other)):
        finish(root / str(number), one, seed=number)
    return [root / "0", root / "1"]


@pytest.fixture
def place(s3: str) -> str:
    """Where anybody may read; below `denied/` nobody may write."""
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:HeadObject"], "Principal": "*",
               "Resource": "arn:aws:s3:::tests/*"}  # fmt: skip
    denied = {"Effect": "Deny", "Action": "s3:PutObject", "Principal": "*",
              "Resource": "arn:aws:s3:::tests/denied/*"}  # fmt: skip
    policy = {"Version": "2012-10-17", "Statement": [allowed, denied]}
    requests.put(f"{web(s3)}?policy", json=policy, timeout=20).raise_for_status()
    return f"{s3}/{uuid4().hex}"


def web(place: str) -> str:
    """The address at which the server shows a place."""
    return place.replace("s3:/", os.environ["AWS_ENDPOINT_URL"])


def by_http(place: str) -> Read:
    """Reads as the world does."""

    def read(key: str) -> bytes | None:
        answer = requests.get(f"{web(place)}/{key}", timeout=20)
        return answer.content if answer.ok else None

    return read


def test_a_map_opens_from_where_it_is_published_and_is_sent_once(
    maps: list[Path], place: str
) -> None:
    first = publish(maps[0], location(place), web(place))
    item = pystac.Item.from_file(f"{web(place)}/item.json")
    assert item.self_href == first.entry == f"{web(place)}/item.json"
    for asset in item.assets.values():
        if not asset.href.endswith(".zarr"):
            answer = requests.head(str(asset.get_absolute_href()), timeout=20)
            assert answer.ok and answer.headers["Content-Length"] == str(
                asset.extra_fields["file:size"]
            )
            assert "immutable" in answer.headers["Cache-Control"]
    change = requests.head(str(item.assets["change"].get_absolute_href()), timeout=20)
    assert change.headers["Content-Type"] == pystac.MediaType.COG
    entry = requests.head(f"{web(place)}/item.json", timeout=20)
    assert entry.headers["Content-Type"] == "application/geo+json"
    assert entry.headers["Cache-Control"] == "no-cache"
    address = str(item.assets["mosaic"].get_absolute_href())
    here = open_mosaic(maps[0] / "mosaic.zarr").load()
    xr.testing.assert_identical(open_mosaic(address).load(), here)
    again = publish(maps[0], location(place), web(place))
    assert (again.sent, again.kept) == (0, first.sent)


def test_killed_at_any_moment_readers_see_one_version_whole(
    maps: list[Path], place: str, tmp_path: Path
) -> None:
    output, old = tmp_path / "map", {}
    for number, made in enumerate(maps):
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(made, output)
        publish(output, location(f"{place}/sought{number}"))
        new = seen(by_http(f"{place}/sought{number}"), "item.json")
        sent = len(Target(location(f"{place}/sought{number}")).sizes()) - 1
        for at in range(MOMENTS):
            here = f"{place}/{number}-{at}"
            if number:
                publish(maps[0], location(here))
            killed(output, here, at * (sent - 9 * number - 1) // (MOMENTS - 1))
            assert seen(by_http(here), "item.json") in (old, new)
            let_lease_end(here)
            publish(output, location(here))
            assert seen(by_http(here), "item.json") == new
        old = new


def killed(output: Path, place: str, moment: int) -> None:
    """Publish in a process of its own until so many files were begun."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.published"])
    process = context.Process(target=publish_and_die, args=(output, place, moment))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def let_lease_end(place: str) -> None:
    """As if a minute had passed since the publisher was killed."""
    with suppress(FileNotFoundError):
        obstore.delete(object_store(location(place)), f"{LEASE}/ledger/lease.json")


def test_a_reader_sees_one_version_or_the_other(
    maps: list[Path], place: str, tmp_path: Path
) -> None:
    output = tmp_path / "map"
    shutil.copytree(maps[0], output)
    publish(output, location(place))

    def renew() -> None:
        shutil.rmtree(output)
        shutil.copytree(maps[1], output)
        publish(output, location(place))

    first, last = seen_while(by_http(place), "item.json", renew)
    assert first != last
    pruned = publish(output, location(place), prune=True)
    assert pruned.dropped and seen(by_http(place), "item.json") == last


def test_other_places_are_left_alone_and_rights_are_told(maps: list[Path], place: str) -> None:
    store = object_store(location(place))
    obstore.put(store, "thesis.tex", b"mine")
    with pytest.raises(OutputMismatchError, match=r"no publication, such as thesis\.tex"):
        publish(maps[0], location(place))
    assert [one["path"] for page in obstore.list(store) for one in page] == ["thesis.tex"]
    for other in ("s3://no-such-bucket/x", "s3://tests/denied"):
        with pytest.raises(OutputError, match=f"cannot publish to {other}: ") as caught:
            publish(maps[0], location(other))
        assert "See to the keys and their rights" in str(caught.value)
        assert "\n" not in str(caught.value)
