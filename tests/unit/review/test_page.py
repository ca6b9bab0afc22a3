"""The page of alerts: pictures of the very items, numbers, and nothing in it is markup."""

import base64
import io
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image

from noise2map_core.alerts.settle import EVENTS, OBJECTS
from noise2map_core.alerts.tables import write_alerts, write_history
from noise2map_core.cli.commands.nights.review import run
from noise2map_core.review.pictures import Album, frame_around
from noise2map_core.review.queue import alerts_with_verdicts, in_order
from noise2map_core.review.scenes import SliceScenes, read_scenes
from noise2map_core.runtime.errors import OutputError, OutputMismatchError
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.tools.nights.review import ReviewConfig
from tests.event_factories import alert, history_of, table_of, write_verdict
from tests.review_factories import DAY, write_reviewed_area

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
def area(tmp_path: Path, embedded: EmbeddedCatalog) -> Path:
    return write_reviewed_area(tmp_path, embedded, embedded.train_aoi, 6)


def pictures(page: str) -> list[Image.Image]:
    urls = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(url))) for url in urls]


def test_every_alert_is_shown_with_both_dates_of_the_items_that_it_names(area: Path) -> None:
    lines = run(ReviewConfig(area=area)).summary()
    page = (area / "review" / "review.html").read_text()
    assert lines[0] == "6 alerts, 6 not judged"
    assert len(pictures(page)) == 12 and page.count("<article ") == 6
    assert page.count("before 2023-06-12") == page.count("after 2025-06-20") == 12
    assert "embedded-farmland-after" in page and "trouble" not in page.partition("<body>")[2]


def test_a_picture_shows_the_ground_of_its_alert_as_rasterio_reads_it(
    area: Path, embedded: EmbeddedCatalog
) -> None:
    album, alerts = Album(read_scenes(area)), alerts_with_verdicts(area / "alerts")
    row = next(alerts.iloc[1:2].itertuples(index=False))
    pair = album.pair(row, embedded.crs)
    (shown,) = read_scenes(area)
    frame = frame_around(row.geometry, embedded.crs, shown)
    assert frame.shape == (48, 48) == (pair.height, pair.width)
    bands = {band.name: band.href for band in shown.after[0].bands}
    window = rasterio.windows.from_bounds(*frame.boundingbox, rasterio.open(bands["red"]).transform)
    expected = []
    for name in ("red", "green", "blue"):
        with rasterio.open(bands[name]) as file:
            values = file.read(1, window=window, boundless=True, fill_value=0).astype(float)
        low, high = np.percentile(values[values > 0], (2, 98))
        expected.append(np.where(values > 0, np.clip((values - low) / (high - low), 0, 1), 1))
    (picture,) = pictures(f'src="{pair.after.url}"')
    found = np.asarray(picture.resize((48, 48)), float) / 255
    assert np.corrcoef(found.ravel(), np.stack(expected, -1).ravel())[0, 1] > 0.97


def test_the_outline_lies_where_the_alert_lies_in_the_picture(
    area: Path, embedded: EmbeddedCatalog
) -> None:
    album, alerts = Album(read_scenes(area)), alerts_with_verdicts(area / "alerts")
    for row in alerts.itertuples(index=False):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", album.pair(row, embedded.crs).outline)]
        x, y = np.array(numbers[::2]), np.array(numbers[1::2])
        assert np.ptp(x) == np.ptp(y) == 4  # pixels of 10 m
        assert 21 <= x.mean() <= 27 and 21 <= y.mean() <= 27  # in the middle of 48


def test_a_large_alert_has_larger_pixels_and_all_of_it_is_shown() -> None:
    shown = SliceScenes(DAY, (), (), 10.0, (0.0, 0.0))
    shape = shapely.box(500_000, 5_000_000, 540_000, 5_001_000)
    frame = frame_around(shape, "EPSG:32631", shown)
    assert max(frame.shape) <= 320 and frame.resolution.x % 10 == 0
    assert frame.extent.geom.contains(shape)


def test_notes_and_names_are_text(area: Path) -> None:
    table = alerts_with_verdicts(area / "alerts").head(1)
    row = dict(table.iloc[0].drop("verdict"), object_id=HOSTILE, review="", reject_reason="")
    alerts = gpd.GeoDataFrame([row], geometry="geometry", crs=table.crs)
    write_alerts(area / "alerts" / OBJECTS, alerts)
    write_history(area / "alerts" / EVENTS, history_of([(HOSTILE, 0, "opened")]))
    write_verdict(area / "alerts", HOSTILE, "rejected", reason=HOSTILE, reviewer=HOSTILE)
    run(ReviewConfig(area=area))
    page = (area / "review" / "review.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert page.count("<script") == 2


def test_what_nobody_judged_comes_first_and_of_that_the_largest_doubt() -> None:
    alerts = table_of([
        alert("judged", 0, verdict="confirmed"), alert("unsure", 1, verdict="unsure"),
        alert("provisional", 2, status="provisional", verdict=""),
        alert("sure", 3, confidence=0.9, verdict=""),
        alert("doubtful", 4, confidence=0.2, verdict=""),
        alert("ended", 5, status="ended", verdict="", area_m2=1e9),
        alert("large", 6, confidence=0.9, area_m2=1e6, verdict=""),
    ])  # fmt: skip
    assert in_order(alerts)["object_id"].tolist() == [
        "large", "doubtful", "sure", "provisional", "ended", "unsure", "judged",
    ]  # fmt: skip


def test_verdicts_that_were_not_taken_in_are_not_written_over(area: Path) -> None:
    run(ReviewConfig(area=area))
    package = area / "review" / "review.gpkg"
    table = gpd.read_file(package, layer="review")
    table.loc[0, ["verdict", "reject_reason"]] = ["rejected", "snow"]
    table.to_file(package, layer="review")
    before = package.read_bytes()
    with pytest.raises(OutputMismatchError, match="1 verdicts that were not taken in"):
        run(ReviewConfig(area=area))
    assert package.read_bytes() == before
    lines = run(ReviewConfig(area=area, apply=package, reviewer="ada")).summary()
    assert lines[0] == "1 new verdicts, 0 changed, 0 taken back, 0 as before"
    assert lines[1].startswith("precision by verdicts 0.00 (0.00 to 0.79): 0 of 1 alerts confirmed")
    assert run(ReviewConfig(area=area)).summary()[0] == "6 alerts, 5 not judged"


def test_an_image_that_is_gone_is_said_on_the_page(area: Path, embedded: EmbeddedCatalog) -> None:
    (shown,) = read_scenes(area)
    gone = replace(shown.after[0].bands[0], href=str(area / "gone.tif"))
    after = replace(shown.after[0], bands=(gone,) * 3)
    album = Album([replace(shown, after=(after,))])
    row = next(alerts_with_verdicts(area / "alerts").itertuples(index=False))
    pair = album.pair(row, embedded.crs)
    assert pair.after.url == "" and "gone.tif" in pair.after.trouble and pair.before.url
    none = album.pair(row._replace(first_seen=DAY + timedelta(1)), embedded.crs)
    assert "are not known" in none.after.trouble


def test_scenes_are_read_as_they_were_written(area: Path, embedded: EmbeddedCatalog) -> None:
    (shown,) = read_scenes(area)
    assert (shown.day, shown.resolution) == (DAY, 10.0)
    assert [scene.id for scene in shown.before] == ["embedded-farmland-before"]
    (area / "scenes" / f"{DAY}.json").write_text("{")
    with pytest.raises(OutputError, match=r"2025-06-20.json is damaged"):
        read_scenes(area)


def test_an_area_without_alerts_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputMismatchError, match=r"has no alerts \(.*alerts.parquet is missing"):
        run(ReviewConfig(area=tmp_path))
