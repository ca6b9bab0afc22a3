"""A baseline of several ranges, of which the median counts, against one that numpy composed."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from noise2map_core.runtime.digest import file_sha256
from noise2map_core.testing.item_table import write_item_table
from noise2map_core.testing.nights import Night, write_nights
from noise2map_core.testing.scenes import COLLECTION, EmbeddedCatalog
from tests.nightly_factories import random_checkpoint
from tests.region_in_process import map_here

DAYS = ("2022-06-20T10:00:00Z", "2023-06-21T10:00:00Z", "2024-06-22T10:00:00Z")
SEASONS = ",".join(f"{year}-06-15/{year}-06-30" for year in (2021, 2022, 2023, 2024))


@pytest.mark.parametrize("model", [pytest.param("network", marks=pytest.mark.slow), "mad"])
def test_the_map_is_that_of_the_median_which_numpy_made(
    tmp_path: Path, embedded: EmbeddedCatalog, model: str
) -> None:
    """To the byte, by a network and by statistics of the pair."""
    nights = write_nights(embedded, tmp_path / "nights", 3)
    items = [dated(night, day) for night, day in zip(nights, DAYS, strict=True)]
    after = document(embedded, "after")
    write_item_table([*items, after], tmp_path / "seasons.parquet")
    write_item_table([median_of(items, tmp_path / "median"), after], tmp_path / "median.parquet")
    checkpoint, bands = Path("mad"), {"bands": embedded.bands}
    if model == "network":
        checkpoint, bands = random_checkpoint(tmp_path / "checkpoint", tuple(embedded.bands)), {}
    made = {}
    for name, before, more in (
        ("seasons", SEASONS, {"composite": {"before": "median"}}),
        ("median", "2023", {}),
        ("latest", SEASONS, {}),
    ):
        table = tmp_path / ("median.parquet" if name == "median" else "seasons.parquet")
        search = {"catalog": str(table), "collection": embedded.collection} | bands
        output = tmp_path / f"map-{name}"
        map_here(embedded, checkpoint, output, search=search, before=before, **more)
        made[name] = [file_sha256(output / file) for file in ("change.tif", "probability.tif")]
    assert made["seasons"] == made["median"] != made["latest"]


def document(embedded: EmbeddedCatalog, date: str) -> dict[str, Any]:
    """The item of a scene of the catalogue, with absolute paths."""
    name = f"{COLLECTION}-{date}"
    folder = embedded.root / COLLECTION / name
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    for asset in found["assets"].values():
        asset["href"] = str((folder / asset["href"]).resolve())
    return found | {"links": []}


def dated(night: Night, moment: str) -> dict[str, Any]:
    """The item of a night, as if of another day."""
    item = deepcopy(night.item)
    item["properties"]["datetime"] = moment
    return item | {"links": []}


def median_of(items: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """An item whose files are medians of those of all items, of what is not nodata (0)."""
    folder.mkdir()
    made = deepcopy(items[0])  # the first shows all of the area
    made["id"], made["properties"]["datetime"] = "median", "2023-06-21T10:00:00Z"
    for name, asset in made["assets"].items():
        with rasterio.open(asset["href"]) as file:
            profile, bounds = file.profile, file.bounds
        files = [rasterio.open(item["assets"][name]["href"]) for item in items]
        stack = np.ma.array([
            file.read(1, window=file.window(*bounds), boundless=True, fill_value=0)
            for file in files
        ])  # fmt: skip
        stack = np.ma.masked_equal(stack, 0).astype(np.float64)
        for file in files:
            file.close()
        asset["href"] = str(folder / f"{name}.tif")
        with rasterio.open(asset["href"], "w", **profile) as file:
            file.write(np.floor(np.ma.median(stack, axis=0)).filled(0).astype(profile["dtype"]), 1)
        asset["file:checksum"] = "1220" + file_sha256(Path(asset["href"]))
        asset["file:size"] = Path(asset["href"]).stat().st_size
    return made
