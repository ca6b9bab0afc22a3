"""A mosaic opened where nothing is listed: over plain HTTP ranges, whole or with a line said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from noise2map_core.mapping.opening import open_mosaic
from noise2map_core.mapping.overviews import write_overviews
from noise2map_core.runtime.errors import OutputError
from tests.map_factories import blobs, write_mosaic
from tests.plain_web import served

ALL = {"class", "probability", "valid", "reason"}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("map")
    mosaic = write_mosaic(folder / "mosaic.zarr", blobs(300, 400), tile_px=128)
    write_overviews(mosaic)
    mosaic.finish()
    return folder


def test_xarray_alone_finds_every_variable_and_value_over_plain_ranges(output: Path) -> None:
    with served(output) as url:
        found = xr.open_zarr(f"{url}/mosaic.zarr", decode_coords="all").load()
        coarse = xr.open_zarr(f"{url}/mosaic.zarr", group="overviews/2").load()
    assert set(found.data_vars) == ALL
    assert found.rio.crs.to_epsg() == 32633
    xr.testing.assert_identical(found, xr.open_zarr(output / "mosaic.zarr", decode_coords="all"))
    assert set(coarse.data_vars) - {"spatial_ref"} == ALL


@pytest.mark.parametrize("path", ["", "/mosaic.zarr", "/mosaic.zarr/"])
def test_the_folder_and_the_mosaic_open_alike_on_the_web_and_on_a_disk(
    output: Path, path: str
) -> None:
    with served(output) as url:
        found = open_mosaic(url + path).load()
    assert set(found.data_vars) == ALL
    assert found.rio.crs.to_epsg() == 32633
    xr.testing.assert_identical(found, open_mosaic(f"{output}{path}"))


def test_opening_ours_leaves_what_others_open_as_it_was(output: Path) -> None:
    with served(output) as url:
        open_mosaic(url)
        assert set(xr.open_zarr(f"{url}/mosaic.zarr", decode_coords="all").data_vars) == ALL


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"ranges": False}, "whole files only, no byte ranges"),
        ({"status": {"zarr": 403}}, r"refuses it \(HTTP 403\)"),
        ({"status": {"zarr": 401}}, r"refuses it \(HTTP 401\)"),
        ({"status": {"zarr": 404}}, "there is no mosaic at http"),
        ({"status": {"zarr": 500}}, "HTTP 500"),
        ({"status": {"zarr": 503}}, "HTTP 503"),
    ],
)
def test_a_server_that_does_not_give_it_is_told_in_a_line(
    output: Path, server: dict[str, Any], said: str
) -> None:
    with served(output, **server) as url, pytest.raises(OutputError, match=said) as caught:
        open_mosaic(url)
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_pixels_that_are_refused_later_are_told_in_a_line_and_are_not_taken_for_none(
    output: Path,
) -> None:
    with served(output, status={"class/c/": 403}) as url:
        dataset = open_mosaic(url)
        with pytest.raises(OutputError, match=rf"{url}/mosaic.zarr/class/c/.*HTTP 403"):
            dataset["class"].load()


def test_nobody_there_is_told_in_a_line() -> None:
    with pytest.raises(OutputError, match=r"cannot be read: .*Check the address"):
        open_mosaic("http://127.0.0.1:9/map")


def test_an_address_of_something_else_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {}}'
    )
    with served(tmp_path) as url, pytest.raises(OutputError, match="not that of a mosaic"):
        open_mosaic(url)
    with pytest.raises(OutputError, match=re.escape(f"there is no mosaic at {tmp_path}/none")):
        open_mosaic(tmp_path / "none")


@pytest.mark.parametrize("kept", ["half", "no class"])
def test_consolidated_metadata_that_are_cut_are_told_in_a_line(
    output: Path, tmp_path: Path, kept: str
) -> None:
    text = (output / "mosaic.zarr" / "zarr.json").read_text()
    document = json.loads(text)
    del document["consolidated_metadata"]["metadata"]["class"]
    cut = text[: len(text) // 2] if kept == "half" else json.dumps(document)
    (tmp_path / "zarr.json").write_text(cut)
    with served(tmp_path) as url, pytest.raises(OutputError, match=r"zarr.json is damaged"):
        open_mosaic(url)


def test_a_mosaic_that_is_not_finished_is_not_shown_as_an_empty_one(tmp_path: Path) -> None:
    write_mosaic(tmp_path / "mosaic.zarr", blobs(64, 64))
    with served(tmp_path) as url, pytest.raises(OutputError, match="is not finished"):
        open_mosaic(url)
    assert set(open_mosaic(tmp_path).data_vars) == ALL  # a disk lists what there is


def test_tiles_without_an_object_have_no_decision_over_the_web(tmp_path: Path) -> None:
    mosaic = write_mosaic(tmp_path / "mosaic.zarr", blobs(128, 128))
    mosaic.finish()
    for name in mosaic.arrays:
        next((mosaic.path / name / "c").rglob("0/0")).unlink(missing_ok=True)
    with served(tmp_path) as url:
        found = open_mosaic(url).load()
    assert (found["class"].values[:64, :64] == 255).all()
