"""A chip store opened over plain HTTP ranges, where nothing is listed."""

import json
from pathlib import Path

import pytest
import xarray as xr

from noise2map_core.chips.store import open_chips, open_store
from noise2map_core.runtime.errors import ChipStoreError
from tests.chip_factories import append_store, plan_store
from tests.plain_web import served


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    append_store(folder / "chips.zarr", plan_store(folder / "sources", folder / "chips.zarr"))
    return folder / "chips.zarr"


def test_chips_are_those_of_the_disk(store: Path) -> None:
    with served(store.parent) as url:
        found = open_chips(f"{url}/chips.zarr").load()
    xr.testing.assert_identical(found, open_chips(store).load())


def test_xarray_alone_finds_every_array(store: Path) -> None:
    arrays = {path.parent.name for path in store.glob("*/zarr.json")} - {"copies"}
    with served(store.parent) as url:
        found = xr.open_zarr(f"{url}/chips.zarr").load()
    assert set(found.variables) == arrays
    assert found["image"].any()


def test_the_consolidated_documents_are_those_of_the_arrays(store: Path) -> None:
    root = json.loads((store / "zarr.json").read_text())
    for name, document in root["consolidated_metadata"]["metadata"].items():
        assert json.loads((store / name / "zarr.json").read_text()) == document


@pytest.mark.parametrize(
    ("ranges", "status", "said"),
    [
        (False, {}, "no byte ranges"),
        (True, {"zarr.json": 403}, "refuses it"),
        (True, {"zarr.json": 404}, "does not exist"),
        (True, {"manifest.json": 404}, "is not finished"),
    ],
)
def test_what_is_not_given_is_told_in_a_line(
    store: Path, ranges: bool, status: dict[str, int], said: str
) -> None:
    with (
        served(store.parent, ranges=ranges, status=status) as url,
        pytest.raises(ChipStoreError, match=said) as caught,
    ):
        open_store(f"{url}/chips.zarr")
    assert "\n" not in str(caught.value)
