"""Publishing to a folder: everything is found from the entry, whole, and only news is sent."""

import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import requests
import xarray as xr
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from stac_geoparquet.arrow import stac_table_to_items

from noise2map_core import open_mosaic
from noise2map_core.products.stac.collection import add_asset
from noise2map_core.publishing.publish import publish
from noise2map_core.publishing.target import NOTE
from noise2map_core.runtime.errors import (
    ConfigError,
    OutputError,
    OutputHeldError,
    OutputMismatchError,
)
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.storage import files_in
from tests.mappers import pickled
from tests.plain_web import served
from tests.published import by_hand, finish, publish_and_die, seen, seen_while, subject_on
from tests.said import errors
from tests.stac import offline_validator, require_valid

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


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights of an area, with a table."""
    root = tmp_path_factory.mktemp("nights") / "farm"
    for day in range(2):
        subject = subject_on(root.parent / "scenes", day)
        finish(root / "slices" / f"2021-01-0{day + 1}", subject, day, root / "collection.json")
    (root / "objects").mkdir()
    shutil.copy(root / "slices/2021-01-01/polygons.parquet", root / "objects/2021-01-01.parquet")
    shutil.copy(root / "slices/2021-01-01/polygons.pmtiles", root / "changes.pmtiles")
    for file in ("objects/2021-01-01.parquet", "changes.pmtiles"):
        add_asset(root / "collection.json", root / file, file)
    return root


@pytest.fixture(scope="module")
def validator(real_data: Path) -> JsonSchemaSTACValidator:
    return offline_validator(real_data / "stac_schemas")


def keys_of(place: Path) -> set[str]:
    return {file.relative_to(place).as_posix() for file in files_in(place)}


def test_a_map_is_found_whole_and_sent_once(maps: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "public"
    first = publish(maps[0], place)
    found = seen(by_hand(place), "item.json")[""]
    item = json.loads((maps[0] / "item.json").read_text())
    assert found.keys() == item["assets"].keys()
    version = Path(pystac.Item.from_file(str(place / "item.json")).assets["change"].href).parent
    for file in files_in(maps[0]):
        name = file.relative_to(maps[0])
        private = name.parts[0] in ("ledger", "manifest.json", "item.json")
        assert (place / version / name).exists() != private
    again = publish(maps[0], place)
    assert (again.sent, again.kept) == (0, first.sent) and again.summary()[1].endswith("were there")
    assert str(tmp_path) not in (place / "item.json").read_text()
    page = (place / "view.html").read_text()
    assert 'src="viewer/' in page
    for part in page.split('src="')[1:]:
        assert (place / part.split('"')[0]).is_file()


def test_what_is_made_anew_lies_beside_and_the_old_goes_on_demand(
    maps: list[Path], tmp_path: Path
) -> None:
    place, output = tmp_path / "public", tmp_path / "map"
    shutil.copytree(maps[0], output)
    publish(output, place)
    before = keys_of(place)
    shutil.rmtree(output)
    shutil.copytree(maps[1], output)
    second = publish(output, place)
    assert before <= keys_of(place) and second.older == second.sent - 1
    third = publish(output, place, prune=True)
    assert (third.sent, third.dropped) == (0, second.older)
    assert seen(by_hand(place), "item.json")
    publish(maps[1], tmp_path / "other")
    assert {key for key in keys_of(place) if not key.startswith(".publishing/")} == {
        key for key in keys_of(tmp_path / "other") if not key.startswith(".publishing/")
    }


def test_an_area_is_valid_and_its_table_leads_to_the_files(
    area: Path, tmp_path: Path, validator: JsonSchemaSTACValidator
) -> None:
    with served(tmp_path) as url:
        base = f"{url}/public"
        publish(area, tmp_path / "public", base)
        publish(area, tmp_path / "relative")
        collection = pystac.Collection.from_file(f"{base}/collection.json")
        assert collection.self_href == f"{base}/collection.json"
        items = list(collection.get_items())
        for item in items:
            require_valid(requests.get(item.self_href, timeout=10).json(), validator)
            assert item.get_root_link().get_absolute_href() == collection.self_href
            mosaic = item.assets["mosaic"].get_absolute_href()
            assert set(xr.open_zarr(mosaic).data_vars) >= {"class", "probability", "reason"}
            opened = open_mosaic(mosaic)
            assert opened.rio.crs is not None
            assert sum_of(item.assets["change"].get_absolute_href()) == (opened["class"] == 1).sum()
        table = collection.assets["items"].get_absolute_href()
        rows = rows_of(tmp_path / table.removeprefix(f"{url}/"))
        assert [row["id"] for row in rows] == sorted(item.id for item in items)
        assert all(
            asset["href"].startswith(f"{base}/slices/2021-01-0")
            for row in rows
            for asset in row["assets"].values()
        )
    document = json.loads((tmp_path / "relative" / "collection.json").read_text())
    require_valid(document, validator)
    assert "http://" not in json.dumps(document["links"])
    place = tmp_path / "relative" / document["assets"]["items"]["href"]
    for row in rows_of(place):
        for asset in row["assets"].values():
            assert (place.parent / asset["href"]).exists()
    found = seen(by_hand(tmp_path / "relative"), "collection.json")
    assert set(found["tables"]) == {"items", "objects/2021-01-01", "changes-pmtiles"}


def sum_of(url: str) -> int:
    """Changed pixels, as GDAL reads them from the web; in a process of its own, for GDAL waits
    there without letting a server of this one answer."""
    program = (
        "import rasterio, sys\n"
        "with rasterio.open(f'/vsicurl/{sys.argv[1]}') as file: print((file.read(1) == 1).sum())"
    )
    command = [sys.executable, "-c", program, url]
    return int(subprocess.run(command, capture_output=True, check=True, timeout=100).stdout)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Items of a table."""
    return list(stac_table_to_items(pq.read_table(path)))


def test_a_night_more_sends_its_own_files_and_leaves_the_others(area: Path, tmp_path: Path) -> None:
    place, grown = tmp_path / "public", tmp_path / "farm"
    publish(area, place)
    shutil.copytree(area, grown)
    subject = subject_on(tmp_path / "scenes", 2)
    finish(grown / "slices" / "2021-01-03", subject, 2, grown / "collection.json")
    before = keys_of(place)
    more = publish(grown, place)
    new = {key for key in keys_of(place) - before if not key.startswith(".publishing")}
    assert all(key.startswith(("slices/2021-01-03/", "files/")) for key in new)
    assert more.sent == len(new) + 1  # and the collection
    assert len(seen(by_hand(place), "collection.json")) == 4


@pytest.mark.slow
def test_killed_at_any_moment_readers_see_the_old_or_the_new_and_a_rerun_completes(
    maps: list[Path], tmp_path: Path
) -> None:
    before, output = tmp_path / "before", tmp_path / "map"
    before.mkdir()
    for number, made in enumerate(maps):  # nothing, then the map; the map, then another of it
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(made, output)
        old = seen(by_hand(before), "item.json")
        after = tmp_path / f"after{number}"
        shutil.copytree(before, after)
        sent = publish(output, after).sent
        new = seen(by_hand(after), "item.json")
        assert new != old
        for at in range(MOMENTS):
            place = tmp_path / f"place{number}-{at}"
            shutil.copytree(before, place)
            killed(output, place, at * (sent - 1) // (MOMENTS - 1))
            assert seen(by_hand(place), "item.json") in (old, new)
            publish(output, place)
            assert seen(by_hand(place), "item.json") == new
            assert publish(output, place).sent == 0 and not list(place.rglob("*.partial*"))
        before = after


def killed(output: Path, place: Path, moment: int) -> None:
    """Publish until so many files were begun."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.published"])
    process = context.Process(target=publish_and_die, args=(output, str(place), moment))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def test_a_reader_who_never_stops_sees_one_version_or_the_other(
    maps: list[Path], tmp_path: Path
) -> None:
    place, output = tmp_path / "public", tmp_path / "map"
    shutil.copytree(maps[0], output)
    publish(output, place)

    def renew() -> None:
        shutil.rmtree(output)
        shutil.copytree(maps[1], output)
        publish(output, place)

    assert len(seen_while(by_hand(place), "item.json", renew)) == 2


def test_other_maps_and_strangers_files_are_not_written_over(
    maps: list[Path], area: Path, tmp_path: Path
) -> None:
    place = tmp_path / "public"
    publish(maps[0], place)
    before = keys_of(place)
    with pytest.raises(OutputMismatchError, match="holds another publication: map change 2020"):
        publish(area, place)
    assert keys_of(place) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(OutputMismatchError, match=r"1 files that are no publication.*thesis\.tex"):
        publish(maps[0], tmp_path / "mine")
    assert keys_of(tmp_path / "mine") == {"thesis.tex"}
    for inside in (maps[0], maps[0] / "public", maps[0].parent):
        with pytest.raises(ConfigError, match="lie in one another"):
            publish(maps[0], inside)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda output: (output / "manifest.json").unlink(), "has no manifest.json"),
        (lambda output: (output / "change.tif").unlink(), "lacks tiles or products"),
        (lambda output: flip(output / "polygons.parquet"), "not the file that manifest.json lists"),
        (lambda output: flip(shard_of(output)), "not those that were written"),
        (lambda output: (output / "item.json").write_text("{"), "cannot be published"),
        (lambda output: (output / "item.json").unlink(), "holds no finished map"),
    ],
)
def test_what_is_not_whole_is_not_published(
    maps: list[Path], tmp_path: Path, spoil: Callable[[Path], Any], said: str
) -> None:
    """Whoever looks: here as tasks of a cluster do."""
    output = tmp_path / "map"
    shutil.copytree(maps[0], output)
    spoil(output)
    with pytest.raises(OutputError, match=said):
        publish(output, tmp_path / "public", mapper_of=lambda grid: nullcontext(pickled))
    assert not (tmp_path / "public").exists()


def shard_of(output: Path) -> Path:
    return max(files_in(output / "mosaic.zarr" / "class"), key=lambda file: file.stat().st_size)


def flip(file: Path) -> None:
    content = np.frombuffer(file.read_bytes(), np.uint8).copy()
    content[len(content) // 2] ^= 255
    file.write_bytes(content.tobytes())


def test_nobody_publishes_what_a_run_writes_or_where_another_publishes(
    maps: list[Path], tmp_path: Path
) -> None:
    with hold_lease(maps[0]), pytest.raises(OutputHeldError, match="another run is writing"):
        publish(maps[0], tmp_path / "public")
    with (
        hold_lease(tmp_path / "public" / ".publishing"),
        pytest.raises(OutputHeldError, match="another run publishes to"),
    ):
        publish(maps[0], tmp_path / "public")
    assert not (tmp_path / "public" / NOTE).exists()


def test_an_address_that_cannot_serve_it_is_told_before_anybody_is_led_there(
    maps: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "public"
    with served(place, ranges=False) as url:
        with pytest.raises(OutputError, match="does not answer by ranges"):
            publish(maps[0], place, url)
        assert not (place / "item.json").exists()
    with served(tmp_path / "nothing") as url, pytest.raises(OutputError, match="answers 404"):
        publish(maps[0], place, url)
    with pytest.raises(OutputError, match="cannot be reached"):
        publish(maps[0], place, "http://127.0.0.1:9")
    for file in list(files_in(place)):
        target = tmp_path / "stale" / file.relative_to(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bytes(file.stat().st_size))
    with served(tmp_path / "stale") as url, pytest.raises(OutputError, match="other bytes"):
        publish(maps[0], place, url)
    with served(place) as url:
        told = publish(maps[0], place, url)
        assert "CORS" in told.notes[0] and told.entry == f"{url}/item.json"


def test_a_place_that_cannot_be_written_is_one_line(maps: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    place = tmp_path / "file" / "public"
    code, said = told(maps[0], str(place))
    assert code == 1 and f"cannot publish to {place}: Not a directory" in said
    code, said = told(maps[0], "https://example.org/x")
    assert code == 2 and "the bucket behind it" in said
    code, said = told(maps[0], str(tmp_path / "new"), "--base_url", "ftp://example.org")
    assert code == 2 and "base_url" in said
    assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "new").exists()


def told(output: Path, place: str, *more: str) -> tuple[int, str]:
    """Exit code of the command and its one line."""
    command = [Path(sys.executable).parent / "noise2map", "publish", output, "--to", place, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    (line,) = errors(done.stderr)
    return done.returncode, line
