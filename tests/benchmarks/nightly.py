"""Nights simulated: what is predicted, what a night without news takes, and whether many nights
come to the same bytes as one that catches up.

    python tests/benchmarks/nightly.py [--nights 10] [--areas 20] [--naip]

The synthetic catalogue grows night by night; `--naip` takes the NAIP scenes of 2009–2020 as nights
in its place. Tiles are predicted in this process, without Ray, by an untrained network.
"""

import json
import os
import sys
import tempfile
import time
from datetime import date, datetime
from pathlib import Path
from typing import Any

import rasterio
import shapely
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.catalog.search import search_scenes
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.testing.nights import publish, write_nights
from noise2map_core.testing.scenes import write_catalog
from noise2map_core.workflows.run_nightly import NightlyConfig
from pipelines.run_nightly import run
from tests.nightly_factories import (
    Here,
    area_settings,
    nightly_settings,
    random_checkpoint,
    results,
    touched_tiles,
)

CHECKOUT = Path(__file__).resolve().parents[2]

BANDS = ("green", "red")
NAIP = "naip-north-dakota"
NAIP_SIDE = 0.01
"""Degrees of the area in the middle of the NAIP scenes."""


def main(nights: int = 10, areas: int = 20, naip: bool = False) -> None:
    """Print a line a night, and the comparison.

    Args:
        areas: Of the night without news.
    """
    with tempfile.TemporaryDirectory() as folder:
        if naip:
            map_naip(Path(folder), nights)
        else:
            synthetic(Path(folder), nights, areas)


def synthetic(root: Path, count: int, areas: int) -> None:
    """The invented catalogue, a part seen again each night."""
    catalog = write_catalog(root / "catalog", size_px=256)
    model = random_checkpoint(root / "checkpoint", tuple(catalog.bands))
    nights = write_nights(catalog, root / "files", count)
    table = root / "items.parquet"
    settings = nightly_settings(catalog, table, model, root / "by-night")
    by_night, at_once, same = Here(), Here(), []
    for number, night in enumerate(nights, start=1):
        publish(catalog, nights[:number], table)
        step(settings, by_night, f"night {night.day}")
        transform, shape = tile_frame(root / "by-night" / "farm", nights[0].day)
        touched = touched_tiles(night, transform, shape, 32, 16)
        same.append(touched == by_night.predicted[-1])
        print(f"  predicted {by_night.predicted[-1]}, touched by the new item {touched}")
    print(f"{sum(same)} of {count} nights predicted exactly the touched tiles", flush=True)
    step(settings | {"output": str(root / "at-once")}, at_once, "catching up")
    compare(root, "farm", by_night, at_once)
    several = [area_settings(catalog, model, id=f"farm-{n}") for n in range(areas)]
    settings |= {"areas": several, "output": str(root / "several")}
    for name in range(areas):  # as if mapped: the same area under other names
        copy_area(root / "by-night" / "farm", root / "several" / f"farm-{name}")
    step(settings, Here(), f"{areas} areas without news")


def map_naip(root: Path, count: int) -> None:
    """Real scenes: the first year is the baseline, each later one a night."""
    data = Path(os.environ.get("NOISE2MAP_DATA", CHECKOUT.parent / "shared" / "data"))
    search = {"catalog": str((data / "stac" / "catalog.json").resolve()), "collection": NAIP}
    document = json.loads((data / "stac" / NAIP / "collection.json").read_text())
    west, south, east, north = document["extent"]["spatial"]["bbox"][0]
    middle = shapely.Point((west + east) / 2, (south + north) / 2).buffer(NAIP_SIDE / 2)
    (root / "naip.geojson").write_text(shapely.to_geojson(middle.envelope))
    scenes = search_scenes(
        SearchConfig(**search), read_aoi(root / "naip.geojson"), "2000/2030", BANDS
    )
    days = sorted({scene.datetime.date() for scene in scenes})[: count + 1]
    area = {
        "id": "naip", "aoi": str(root / "naip.geojson"), "sensor": "plane",
        "checkpoint": str(random_checkpoint(root / "checkpoint", BANDS, 5.0)),
        "since": str(days[1]),
        "pair": {"kind": "fixed", "baseline": str(days[0])}, "grid": {"tile_px": 64},
    }  # fmt: skip
    settings = {"output": str(root / "by-night"), "sensors": {"plane": search}, "areas": [area]}
    by_night, at_once = Here(), Here()
    for day in days[1:]:
        step(settings | {"until": str(day)}, by_night, f"night {day}")
    step(settings | {"output": str(root / "at-once"), "until": str(days[-1])}, at_once, "catch-up")
    compare(root, "naip", by_night, at_once)


def step(settings: dict[str, Any], here: Any, title: str) -> None:
    """One run of the command, timed."""
    begun = time.perf_counter()
    night = run(NightlyConfig.model_validate(settings), here)
    seconds = time.perf_counter() - begun
    status = sorted({area.status for area in night.areas})
    print(f"{title}: {seconds:.1f} s, {', '.join(status)}", flush=True)
    for area in night.areas:
        for one in area.slices:
            events = ", ".join(f"{count} {event}" for event, count in one.changes.items())
            print(f"  {one.day}: {one.predicted} predicted, {one.kept} kept; {events}", flush=True)


def compare(root: Path, area: str, by_night: Any, at_once: Any) -> None:
    """Pixels and tables of many nights against those of one."""
    one, other = (results(root / name / area) for name in ("by-night", "at-once"))
    same = sum(other.get(name) == digest for name, digest in one.items())
    print(f"{same} of {len(one | other)} files of pixels and tables the same to the byte; "
          f"predicted {sum(by_night.predicted)} tiles by night, {sum(at_once.predicted)} at once",
          flush=True)  # fmt: skip


def tile_frame(area: Path, day: date) -> tuple[Any, tuple[int, int]]:
    """Transform and shape of the mosaic, whole tiles."""
    attributes = json.loads((area / "slices" / str(day) / "mosaic.zarr" / "zarr.json").read_text())
    found = attributes["attributes"]
    return rasterio.Affine(*found["spatial:transform"][:6]), tuple(found["spatial:shape"])


def copy_area(source: Path, target: Path) -> None:
    """An area's folder under another name: the cursor is what a night without news looks at."""
    target.mkdir(parents=True)
    (target / "cursor.json").write_bytes((source / "cursor.json").read_bytes())


if __name__ == "__main__":
    started = datetime.now()
    tyro.cli(main)
    print(f"took {(datetime.now() - started).total_seconds():.0f} s")
