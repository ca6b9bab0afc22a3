"""A night around its maps: areas judged one by one, the lease, the summary, retention, webhook."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.nightly.areas import Area, iter_areas
from noise2map_core.nightly.cursor import Cursor, write_cursor
from noise2map_core.nightly.outcome import AreaOutcome, NightOutcome, SliceOutcome
from noise2map_core.nightly.retention import kept_days, prune_area
from noise2map_core.nightly.summary import write_summary
from noise2map_core.nightly.webhook import post_summary
from noise2map_core.runtime.errors import ConfigError, FailedAreasError, OutputHeldError
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.testing.nights import FIRST, Night, publish, write_nights
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.run_nightly import AreaConfig, NightlyConfig
from pipelines.run_nightly import run
from tests.factories import checkpoint_spec
from tests.nightly_factories import area_settings, nightly_settings


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog) -> list[Night]:
    return write_nights(embedded, tmp_path_factory.mktemp("nights"), 2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "random"
    spec = checkpoint_spec(bands=tuple(embedded.bands))
    save_checkpoint(Noise2Map(spec), spec, path, "# x\n")
    return path


@pytest.fixture
def table(tmp_path: Path, embedded: EmbeddedCatalog, nights: list[Night]) -> Path:
    publish(embedded, nights, tmp_path / "items.parquet")
    return tmp_path / "items.parquet"


def never(settings: Path, log: Path) -> None:
    raise AssertionError("no area was to be mapped")


def test_a_dry_run_prints_slices_and_tiles_and_writes_nothing(
    embedded: EmbeddedCatalog, table: Path, checkpoint: Path, tmp_path: Path
) -> None:
    settings = nightly_settings(embedded, table, checkpoint, tmp_path / "out", dry_run=True)
    night = run(NightlyConfig.model_validate(settings), never)
    first, second = night.areas[0].slices
    assert (first.kept, first.news, second.news) == (0, 2, 1)
    assert 0 < second.predicted < first.predicted == second.predicted + second.kept
    assert f"farm: {FIRST}: 2 new items, {first.predicted} tiles to predict" in night.summary()[0]
    assert not (tmp_path / "out").exists()


def test_a_dry_run_needs_nothing_that_messages_need(
    embedded: EmbeddedCatalog, table: Path, checkpoint: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("NOBODY_SET_IT", raising=False)
    told = {"targets": {"office": {"kind": "json", "url_variable": "NOBODY_SET_IT"}}}
    area = area_settings(embedded, checkpoint, window_days=1, alerts={}, delivery=told)
    settings = nightly_settings(
        embedded, table, checkpoint, tmp_path / "out", areas=[area],
        webhook={"url_variable": "NOBODY_SET_IT"},
    )  # fmt: skip
    night = run(NightlyConfig.model_validate(settings | {"dry_run": True}), never)
    assert len(night.areas[0].slices) == 2
    with pytest.raises(ConfigError, match="NOBODY_SET_IT"):
        run(NightlyConfig.model_validate(settings), never)


def test_an_implausible_night_stands_at_the_top_of_page_json_and_lines(tmp_path: Path) -> None:
    alarm = "62% are changed <b>"
    bad = SliceOutcome(date(2025, 6, 20), False, 1, 2, 0, alarms=(alarm,))
    good = SliceOutcome(date(2025, 6, 19), False, 1, 2, 0)
    area = AreaOutcome("delta", tmp_path / "delta", [good, bad], bad.day)
    night = NightOutcome(tmp_path, [area], datetime(2025, 6, 21, tzinfo=UTC), 1.0)
    write_summary(night)
    said = f"delta, 2025-06-20: {alarm}"
    body = json.loads((tmp_path / "summary.json").read_text())
    assert body["alarms"] == [said] and list(body).index("alarms") < list(body).index("areas")
    page = (tmp_path / "summary.html").read_text()
    assert "62% are changed &lt;b&gt;" in page and alarm not in page
    assert page.index("62%") < page.index("<article")
    assert night.summary()[0] == f"ALARM: {said}"
    plain = replace(night, areas=[replace(area, slices=[good])])
    write_summary(plain)
    assert 'role="alert"' not in (tmp_path / "summary.html").read_text()
    assert json.loads((tmp_path / "summary.json").read_text())["alarms"] == []


def test_each_bad_area_is_named_and_the_others_go_on(
    embedded: EmbeddedCatalog, table: Path, checkpoint: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("x")
    good = {"since": "2090-01-01"}
    bad: list[tuple[dict[str, Any], str]] = [
        ({"id": "twin"}, "2 areas have this id"),
        ({"id": "twin"}, "2 areas have this id"),
        ({"id": "blind", "sensor": "eye"}, "sensor 'eye' is unknown. Set one of: camera"),
        ({"id": "lost", "checkpoint": str(tmp_path / "none")}, "none"),
        ({"id": "zone", "time_zone": "Mars/Olympus"}, "time_zone: there is no such time zone"),
        ({"id": "shut", "output": str(tmp_path / "file" / "out")}, "cannot write"),
        ({"id": "../up"}, "id: String should match"),
        ({"id": "typo", "chekpoint": "x"}, "unknown setting chekpoint. Did you mean checkpoint?"),
    ]
    settings = nightly_settings(embedded, table, checkpoint, tmp_path / "out")
    settings["areas"] = [area_settings(embedded, checkpoint, **(good | one)) for one, _ in bad]
    settings["areas"][5]["since"] = str(FIRST)
    settings["areas"].append(area_settings(embedded, checkpoint, **good))
    with pytest.raises(FailedAreasError) as failed:
        run(NightlyConfig.model_validate(settings), never)
    assert failed.value.exit_code == 3
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert written["exit_code"] == 3
    for found, (_, message) in zip(written["areas"], bad, strict=False):
        assert message in found["error"], found
        assert found["status"] == "failed" and found["exit_code"] in (1, 2)
    assert written["areas"][-1]["status"] == "waiting"
    assert "farm: no imagery yet" in capsys.readouterr().out


def test_a_second_night_does_nothing_and_ends_with_code_4(
    embedded: EmbeddedCatalog, table: Path, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    settings = nightly_settings(embedded, table, checkpoint, output)
    with hold_lease(output), pytest.raises(OutputHeldError, match="another run") as held:
        run(NightlyConfig.model_validate(settings), never)
    assert held.value.exit_code == 4
    assert sorted(path.name for path in output.iterdir()) == ["ledger"]


def test_planning_needs_no_ray(tmp_path: Path) -> None:
    code = (
        "import sys, pipelines.run_nightly, noise2map_core.nightly.night, "
        "noise2map_core.nightly.areas, noise2map_core.nightly.summary; "
        "sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def outcome(output: Path, **changes: Any) -> NightOutcome:
    made = SliceOutcome(FIRST, False, 1, 2, 3, {"new": 4})
    areas = [
        AreaOutcome("good", output / "good", [made], FIRST),
        AreaOutcome("bad", error="<script>x</script> https://u:pw@h/?sig=geheim1", exit_code=2),
    ]
    night = NightOutcome(output, areas, datetime(2025, 6, 21, 2, tzinfo=UTC), 5.0)
    return replace(night, **changes)


def test_the_summary_escapes_and_holds_no_secret(tmp_path: Path) -> None:
    write_summary(outcome(tmp_path))
    page = (tmp_path / "summary.html").read_text()
    assert "&lt;script&gt;" in page and page.count("<script") == 1  # its own
    assert page.index('class="failed"') < page.index('class="mapped"') and "4 new" in page
    for name in ("summary.html", "summary.json"):
        text = (tmp_path / name).read_text()
        assert "geheim1" not in text and "pw@" not in text
    assert json.loads((tmp_path / "summary.json").read_text())["areas"][0]["slices"][0]["kept"] == 3


@contextmanager
def listening(answers: list[int]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers with these codes in turn, and what it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(answers[len(bodies) - 1])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hooks/very-secret", bodies
        server.shutdown()
        thread.join(10)


def test_the_webhook_is_tried_again_and_told_no_secret(tmp_path: Path) -> None:
    with listening([503, 500, 200]) as (address, bodies):
        said = post_summary(address, outcome(tmp_path).document(), attempts=3)
    assert said == "webhook at 127.0.0.1 was told" and len(bodies) == 3
    assert json.loads(bodies[-1])["areas"][0]["id"] == "good"
    assert b"geheim1" not in bodies[-1] and b"pw@" not in bodies[-1]


def test_a_webhook_that_fails_is_said_without_its_address(tmp_path: Path) -> None:
    with listening([404]) as (address, _):
        assert post_summary(address, {}, 1) == "warning: webhook at 127.0.0.1 answered 404"
    said = post_summary(address, {}, 1)
    assert said.startswith("warning: webhook at 127.0.0.1 was not reached") and "secret" not in said


STRAYS = (
    ".DS_Store", "notes.txt", "2020-01-01.zip", "20200101", "2020-W01-1", "2020-1-1", "2020-02-30",
    "2020-01-01 copy.d", "20200102.d", "0.d", "२०२०-०१-०१",
)  # fmt: skip


def test_retention_keeps_the_newest_and_the_first_of_each_month() -> None:
    days = [date(2025, 1, 5) + timedelta(days=10 * number) for number in range(8)]
    config = AreaConfig.model_validate({
        "id": "a", "aoi": "a", "sensor": "s", "checkpoint": "c", "since": "2025-01-01",
        "pair": {"kind": "fixed", "baseline": "2024"}, "keep_last": 2,
    })  # fmt: skip
    kept = [f"{day:%m-%d}" for day in sorted(kept_days(config, days))]
    assert kept == ["01-05", "02-04", "03-06", "03-16"]
    assert kept_days(config.model_copy(update={"keep_last": None}), days) == set(days)
    never = config.model_copy(update={"keep_first_of": "never"})
    assert kept_days(never, days) == set(days[-2:])


def test_with_alerts_what_a_replay_of_a_month_needs_is_kept(
    embedded: EmbeddedCatalog, table: Path, checkpoint: Path, tmp_path: Path
) -> None:
    settings = nightly_settings(embedded, table, checkpoint, tmp_path / "out")
    settings["areas"][0] |= {"keep_last": 1, "keep_first_of": "never", "window_days": 1,
                             "alerts": {}}  # fmt: skip
    ((_, area),) = iter_areas(NightlyConfig.model_validate(settings))
    assert isinstance(area, Area)
    days = [FIRST + timedelta(days=10 * number) for number in range(10)]
    for day in days:
        area.slice_path(day).mkdir(parents=True)
    write_cursor(area.output, Cursor(days[-1], slice=days[-1]))
    assert prune_area(area, dry_run=True)[0] == []  # no snapshot: alerts begin with the first
    for day in (days[1], days[4], days[7]):
        (area.alerts_path / "snapshots" / str(day)).mkdir(parents=True)
    assert prune_area(area, dry_run=True)[0] == [area.slice_path(day) for day in days[:5]]


def test_pruning_leaves_unfinished_slices_and_tables_alone(
    embedded: EmbeddedCatalog, table: Path, checkpoint: Path, tmp_path: Path
) -> None:
    settings = nightly_settings(embedded, table, checkpoint, tmp_path / "out")
    settings["areas"][0] |= {"keep_last": 1, "keep_first_of": "never"}
    ((_, area),) = iter_areas(NightlyConfig.model_validate(settings))
    assert isinstance(area, Area)
    days = [FIRST + timedelta(days=number) for number in range(3)]
    for day in days:
        area.slice_path(day).mkdir(parents=True)
        (area.slice_path(day) / "change.tif").write_bytes(b"12345")
    write_cursor(area.output, Cursor(days[1], slice=days[1]))
    strays = [area.output / "slices" / name for name in STRAYS]
    for stray in strays:
        stray.mkdir() if stray.suffix == ".d" else stray.write_text("x")
    assert prune_area(area, dry_run=True) == ([area.slice_path(days[0])], 5)
    assert area.slice_path(days[0]).exists()
    prune_area(area, dry_run=False)
    left = {path.name for path in (area.output / "slices").iterdir()}
    assert left == {*STRAYS, *(str(day) for day in days[1:])}
