"""Alerts over nights under cloud: ids stay, and late nights make no difference."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import pystac
import pytest

from noise2map_core.alerts.tables import read_alerts, read_history
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.testing.nights import FIRST, Night, publish
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.run_nightly import NightlyConfig
from pipelines import run_nightly
from tests.nightly_factories import (
    ByPixel,
    Here,
    cloudy_nights,
    nightly_settings,
    random_checkpoint,
    results,
)

ALERTS = {"k": 1, "n": 3, "m": 2, "minimum_m2": 2000}


@dataclass
class World:
    embedded: EmbeddedCatalog
    root: Path
    checkpoint: Path

    def run(self, nights: list[Night], output: str, **more: Any) -> Any:
        table = self.root / f"{output}.parquet"
        publish(self.embedded, nights, table)
        settings = nightly_settings(self.embedded, table, self.checkpoint, self.root / output)
        settings["areas"][0] |= {"window_days": 1, "alerts": ALERTS, "withdrawn": "accept", **more}
        here = Here(predictor=ByPixel)
        return run_nightly.run(NightlyConfig.model_validate(settings), here).areas[0]

    def area(self, output: str) -> Path:
        return self.root / output / "farm"


@pytest.fixture
def world(tmp_path: Path, embedded: EmbeddedCatalog) -> World:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", tuple(embedded.bands))
    return World(embedded, tmp_path, checkpoint)


def files(area: Path) -> dict[str, str]:
    """Digests of slices, tables and alerts; what was taken back is another story each time."""
    alerts = {
        str(path.relative_to(area)): file_sha256(path)
        for path in sorted((area / "alerts").rglob("*"))
        if (path.is_file() and path.suffix in (".parquet", "")) or path.name == "zarr.json"
        if path.name != "revisions.parquet" and "products" not in path.parts
    }
    return results(area) | alerts | products(area)


def products(area: Path) -> dict[str, str]:
    """Digests of what is made of the last day's alerts, whichever version of it that is."""
    collection = pystac.Collection.from_file(str(area / "collection.json"))
    listed = [item for item in collection.get_items() if "alert:k" in item.properties]
    last = max(listed, key=lambda item: item.properties["datetime"])
    folder = Path(last.self_href).parent
    made = {path.name: file_sha256(path) for path in folder.iterdir() if path.name != "item.json"}
    return made | {"day": last.properties["datetime"]}


def test_late_replaced_and_withdrawn_nights_come_to_what_one_that_catches_up_does(
    world: World,
) -> None:
    nights = cloudy_nights(world.embedded, world.root / "files", 4)
    other = cloudy_nights(world.embedded, world.root / "other", 4, seed=1)
    world.run([nights[0], nights[2]], "by-night")
    late = world.run(nights, "by-night")
    assert [str(one.day) for one in late.slices] == [str(n.day) for n in (nights[1], nights[3])]
    final = [nights[0], other[1], nights[3]]
    last = world.run(final, "by-night")
    assert [one.day for one in last.slices] == [other[1].day]
    assert any("no slice of 2025-06-22 any more" in notice for notice in last.notices)
    before = touched(world.area("by-night"))
    assert world.run(final, "by-night").status == "current"
    assert touched(world.area("by-night")) == before
    world.run(final, "at-once")
    assert files(world.area("by-night")) == files(world.area("at-once"))
    alerts = read_alerts(world.area("by-night") / "alerts" / "alerts.parquet")
    assert len(alerts) and set(alerts["before_item"]) <= {
        "embedded-farmland-before", *(night.item["id"] for night in final)
    }  # fmt: skip


def touched(area: Path) -> dict[Path, int]:
    """When each file of an area was written, and each folder changed."""
    return {path: path.stat().st_mtime_ns for path in area.rglob("*")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_over_ten_cloudy_nights_ids_stay_and_late_nights_make_no_difference(world: World) -> None:
    nights = cloudy_nights(world.embedded, world.root / "files", 10)
    other = cloudy_nights(world.embedded, world.root / "other", 10, seed=1)
    seen: list[set[str]] = []
    for number in range(10):
        here = [night for n, night in enumerate(nights[: number + 1]) if n not in (3, 6)]
        world.run(here, "by-night")
        alerts = read_alerts(world.area("by-night") / "alerts" / "alerts.parquet")
        seen.append(set(alerts.loc[alerts["status"] != "ended", "object_id"]))
    for earlier, later in pairwise(seen):
        history = read_history(world.area("by-night") / "alerts" / "history.parquet")
        over = set(history.loc[history["event"].isin(["ended", "merged"]), "object_id"])
        assert earlier - later <= over
    world.run(nights, "by-night")  # two come late
    final = [*nights[:5], other[5], *nights[6:8], nights[9]]  # one replaced, one withdrawn
    world.run(final, "by-night")
    world.run(final, "at-once")
    assert files(world.area("by-night")) == files(world.area("at-once"))


def test_an_object_that_a_cloud_hides_is_neither_gone_nor_new(world: World) -> None:
    clear = cloudy_nights(world.embedded, world.root / "clear", 3, share=0, noise=0)
    hidden = cloudy_nights(world.embedded, world.root / "hidden", 3, share=1)
    world.run([clear[0], hidden[1], clear[2]], "out", alerts=None)
    area, days = world.area("out"), [FIRST + timedelta(days=number) for number in range(3)]
    first, second, third = (gpd.read_parquet(area / f"objects/{day}.parquet") for day in days)
    ids = set(first["object_id"])
    assert ids and set(second["object_id"]) == ids and set(third["object_id"]) == ids
    events = [set(gpd.read_parquet(area / f"changes/{day}.parquet")["event"]) for day in days]
    assert events == [{"new"}, {"unseen"}, set()]
