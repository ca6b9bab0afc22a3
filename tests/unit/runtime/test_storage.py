"""Locations: local paths stay what they are, addresses survive pathlib and pickle."""

import pickle
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from noise2map_core.runtime.storage import (
    Location,
    Target,
    absolute,
    files_in,
    is_local,
    local_path,
    location,
    move,
    part_bytes,
    publish,
    remove,
    scratch_beside,
    sweep,
)

names = st.text("abcxyz019-_.", min_size=1, max_size=8).filter(lambda name: name.strip("."))


class Config(BaseModel):
    output: Location


@given(scheme=st.sampled_from(["s3", "gs"]), parts=st.lists(names, min_size=2, max_size=4))
def test_an_address_is_the_same_however_it_is_written(scheme: str, parts: list[str]) -> None:
    url = f"{scheme}://" + "/".join(parts)
    for written in (url, Path(url), location(url)):
        found = location(written)
        assert str(found) == url and not is_local(found) and absolute(found) == found
    config = Config.model_validate({"output": url})
    assert config.model_dump(mode="json") == {"output": url}
    assert str(config.output / "mosaic.zarr") == f"{url}/mosaic.zarr"


@pytest.mark.parametrize("text", ["out/map", "/data/map", "s3", "./s3:", "C:/map"])
def test_all_else_is_a_path_on_a_disk(text: str) -> None:
    found = location(text)
    assert type(found) is type(Path()) and found == Path(text) and is_local(found)


def test_a_process_that_unpickles_an_address_can_open_it() -> None:
    """Schemes are registered with fsspec where the address comes to life."""
    code = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])).fs.protocol)"
    body = pickle.dumps(location("s3://bucket/map")).hex()
    done = subprocess.run([sys.executable, "-c", code, body], capture_output=True, text=True)
    assert "s3" in done.stdout, done.stderr


def test_a_directory_appears_whole_and_files_take_the_place_of_others(tmp_path: Path) -> None:
    target = tmp_path / "store"
    for _ in range(2):  # what an earlier try left is dropped
        scratch = scratch_beside(target)
        assert not scratch.exists()
        (scratch / "a").mkdir(parents=True)
        (scratch / "a" / "b").write_text("1")
    publish(scratch, target, last="a/b")
    assert files_in(target) == [target / "a" / "b"] and not scratch.exists()
    (tmp_path / "new").write_text("2")
    move(tmp_path / "new", target / "c" / "d")
    assert (target / "c" / "d").read_text() == "2"
    remove(target)
    remove(target)
    assert files_in(target) == []


SPELLINGS = (
    "file://{}", "file:{}", "FILE://{}", "File:{}", "file://localhost{}", "file://LocalHost{}",
    "file:///{}", "file:////{}",
)  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_file_url_is_the_path_that_it_names(spelling: str, tmp_path: Path) -> None:
    for name in ("a b.tif", "100%.tif", "Zürich +&;=.tif", "東京.tif", "a#b?.tif", "%20.tif"):
        path = tmp_path / name
        url = spelling.format(quote(str(path)))
        assert local_path(url) == str(path) and location(url) == path
    assert local_path(spelling.format(f"{tmp_path}/a.tif?version=1#x")) == f"{tmp_path}/a.tif"


def test_a_file_of_the_disk_is_found_though_its_url_is_not_spelled_as_one(tmp_path: Path) -> None:
    (tmp_path / "a#b?c.tif").write_text("x")
    assert local_path(f"file://{tmp_path}/a#b?c.tif") == f"{tmp_path}/a#b?c.tif"
    assert local_path(f"file://{tmp_path}/b%FF.tif") == f"{tmp_path}/b\udcff.tif"


@pytest.mark.parametrize(
    "url", ["file://server/a.tif", "file://127.1/a", "file://a.tif", "file:///a%00.tif"]
)
def test_a_file_url_of_another_machine_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="names no file of this machine"):
        local_path(url)


@pytest.mark.parametrize("path", ["a%20b.tif", "/a%20b/file:x", "./file", "s3://b/a%20b", ""])
def test_what_is_no_file_url_stays(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize("text", ["maps/a\nb", "maps/a\rb", "s3://bucket/a\x00b", "a\x1b[2J"])
def test_a_path_that_no_line_can_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must not hold line breaks"):
        location(text)


@pytest.mark.parametrize("text", ["Zürich", "東京/карта", "a b", "s3://bucket/Ελλάδα"])
def test_a_path_in_any_script_stays_as_it_is(text: str) -> None:
    assert str(location(text)) == text


def test_what_killed_writers_left_in_an_output_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    folders = [".cog.partial.abc", ".mosaic.zarr.partial"]
    left = [".change.123.partial.tif", *folders, "ledger/.f.1.partial.json"]
    kept = ["change.tif", "notes.partial.txt", "ledger/fence.json", ".hidden"]
    for name in (*left, *kept):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if name in folders:
            path.mkdir()
            (path / "part").touch()
        else:
            path.touch()
    sweep(tmp_path, below=False)
    sweep(tmp_path / "ledger")
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in kept)


@pytest.mark.parametrize("address", ["http://example.org/map", "https://example.org/map"])
def test_the_web_is_read_and_not_written_to(address: str) -> None:
    with pytest.raises(ValidationError, match="only read: write to a disk, s3:// or gs://"):
        TypeAdapter(Target).validate_python(address)
    assert str(TypeAdapter(Location).validate_python(address)) == address


@given(st.integers(0, 5 << 40))
def test_no_object_has_more_parts_than_s3_takes(size: int) -> None:
    """Up to the largest that S3 has; a part is of 5 MiB to 5 GiB there."""
    part = part_bytes(size)
    assert 5 << 20 <= part <= 5 << 30 and -(-size // part) <= 10_000
