"""Bad input: one clear line on stderr, the contracted exit code, and nothing half-written."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rasterio
import shapely
import torch
from shapely.geometry import mapping

import pipelines.infer_region
import pipelines.ingest_region
from noise2map_core.cli.application import application
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.inference.provenance import class_table
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec, ClassSpec, read_spec
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.testing.catalog import Fault, serve_catalog
from noise2map_core.testing.scenes import COLLECTION, EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from tests.factories import checkpoint_spec
from tests.raster_factories import state_no_checksums
from tests.said import errors

APPLICATIONS = {
    "infer": (InferRegionConfig, pipelines.infer_region.run),
    "ingest": (IngestRegionConfig, pipelines.ingest_region.run),
}
BOTH = pytest.mark.parametrize("name", sorted(APPLICATIONS))
Flags = dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Commands:
    """Runs the applications in this process, on the small embedded catalogue unless told else."""

    folder: Path
    catalog: EmbeddedCatalog
    checkpoint: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    @property
    def output(self) -> Path:
        return self.folder / "out" / "result"

    def flags(self, name: str, **changes: str) -> list[str]:
        """The flags of a good run, then `changes` (`search_bands` stands for --search.bands)."""
        flags: Flags = {
            "aoi": str(self.catalog.map_aoi),
            "catalog": self.catalog.catalog,
            "collection": self.catalog.collection,
            "before": self.catalog.before,
            "after": self.catalog.after,
            "output": str(self.output),
        }
        if name == "infer":
            flags |= {"checkpoint": str(self.checkpoint), "grid.tile_px": "64"}
        else:
            flags["search.bands"] = " ".join(self.catalog.bands)
        flags |= {key.replace("__", "."): value for key, value in changes.items()}
        return [part for key, value in flags.items() for part in (f"--{key}", *value.split(" "))]

    def call(self, name: str, **changes: str) -> Outcome:
        """Run to the end as the command line does."""
        return self.end(name, self.flags(name, **changes))

    def end(self, name: str, flags: list[str]) -> Outcome:
        """Run with these flags and no others."""
        self.monkeypatch.setattr(sys, "argv", [f"pipelines/{name}_region.py", *flags])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            application(*APPLICATIONS[name])
        captured = self.capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    def refuse(self, name: str, code: int, said: str, **changes: str) -> None:
        """Assert a refusal: exit code, one line that matches `said`, no file touched."""
        before = contents(self.folder)
        outcome = self.call(name, **changes)
        require_refusal(outcome, code, said)
        assert contents(self.folder) == before


def require_refusal(outcome: Outcome, code: int, said: str) -> None:
    lines = errors(outcome.err)
    assert len(lines) == 1, outcome.err
    assert re.fullmatch(r"\w+Error: .*[.?…]", lines[0]), lines[0]
    assert re.search(said, lines[0]), lines[0]
    assert outcome.code == code, lines[0]
    assert outcome.out == ""


def contents(folder: Path) -> dict[str, str]:
    """Every file under `folder` with a digest, every folder with its name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }


def save_random(path: Path, **changes: Any) -> Path:
    """A checkpoint of an untrained network."""
    spec: CheckpointSpec = checkpoint_spec(**changes)
    torch.manual_seed(0)
    save_checkpoint(Noise2Map(spec), spec, path, "# untrained\n")
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog) -> Path:
    return save_random(tmp_path_factory.mktemp("checkpoint") / "random", bands=embedded.bands)


@pytest.fixture
def commands(
    tmp_path: Path,
    embedded: EmbeddedCatalog,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Commands]:
    handler = signal.getsignal(signal.SIGTERM)
    yield Commands(tmp_path, embedded, checkpoint, capsys, monkeypatch)
    signal.signal(signal.SIGTERM, handler)


def write_area(folder: Path, content: Any) -> str:
    path = folder / "area.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def ring(*points: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}


@BOTH
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"type": "FeatureCollection", "features": []}, "empty"),
        (ring((15.4, 48.2), (15.5, 48.3), (15.5, 48.2), (15.4, 48.3)), "not a valid polygon"),
        (ring((538e3, 5343e3), (539e3, 5343e3), (539e3, 5344e3)), "not in EPSG:4326.*Reproject"),
        (
            ring((15.4, 48.2), (15.5, 48.2), (15.5, 48.3))
            | {"crs": {"type": "name", "properties": {"name": "EPSG:99999"}}},
            "CRS that is not known: .*EPSG:99999",
        ),
        ("<html></html>", "not GeoJSON"),
        ({"type": "Point", "coordinates": [15.4, 48.2]}, "only polygons"),
        (ring((179, 5), (-179, 5), (-179, 6), (179, 6)), "antimeridian, cut it there in two"),
        (ring((179, 5), (181, 5), (181, 6), (179, 6)), "crosses the antimeridian"),
    ],
    ids=[
        "empty",
        "self-crossing",
        "projected",
        "unknown CRS",
        "HTML",
        "point",
        "the long way round",
        "over 180",
    ],
)
def test_area_that_is_none(commands: Commands, name: str, content: Any, said: str) -> None:
    area = write_area(commands.folder, content)
    commands.refuse(name, 2, f"^ConfigError: area {area} .*{said}", aoi=area)


@BOTH
def test_area_file_that_is_missing(commands: Commands, name: str) -> None:
    missing = str(commands.folder / "none.geojson")
    commands.refuse(name, 2, f"area {missing} does not exist.*--aoi", aoi=missing)


@BOTH
def test_area_smaller_than_a_pixel(commands: Commands, name: str) -> None:
    middle = read_aoi(commands.catalog.map_aoi).geometry.centroid
    area = write_area(commands.folder, mapping(middle.buffer(1e-5)))
    commands.refuse(name, 2, "^ConfigError: area area has .* less than one pixel of 10", aoi=area)


@BOTH
def test_area_outside_the_collection(commands: Commands, name: str) -> None:
    area = write_area(commands.folder, mapping(shapely.box(2, 41, 2.1, 41.1)))
    said = f"^CatalogError: area area .*outside collection {commands.catalog.collection}"
    commands.refuse(name, 2, said, aoi=area)


@BOTH
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"before": "2023-06-30/2023-06-01"}, "2023-06-30/2023-06-01.*reversed"),
        ({"before": "2025-06-20", "after": "2023-06-12"}, "not earlier.*--before"),
        ({"after": "yesterday"}, "yesterday.*cannot be read"),
        ({"after": "2025-02-30"}, "2025-02-30.*cannot be read"),
        ({"before": "2010-01-01/2010-12-31"}, "no item.*2010.*2023-06-12"),
    ],
    ids=["reversed", "swapped", "no date", "no such day", "unmatched"],
)
def test_dates_that_cannot_be_used(
    commands: Commands, name: str, changes: Flags, said: str
) -> None:
    commands.refuse(name, 2, said, **changes)


@BOTH
def test_unknown_collection(commands: Commands, name: str) -> None:
    said = f"'sentinel'.*--collection.*{commands.catalog.collection}"
    commands.refuse(name, 2, said, collection="sentinel")


def test_unknown_band(commands: Commands) -> None:
    commands.refuse("ingest", 2, "'thermal'.*blue.*search.bands", search__bands="red thermal")


def test_no_bands_at_all(commands: Commands) -> None:
    flags = commands.flags("ingest")
    outcome = commands.end("ingest", flags[: flags.index("--search.bands")])
    require_refusal(outcome, 2, "no bands.*search.bands")
    assert not commands.output.exists()


def test_checkpoint_whose_bands_are_not_to_be_had(commands: Commands) -> None:
    path = save_random(commands.folder / "thermal", bands=("red", "thermal"))
    commands.refuse("infer", 2, "'thermal'.*blue", checkpoint=str(path))


def test_bands_that_are_not_the_checkpoints(commands: Commands) -> None:
    said = f"{commands.checkpoint} expects bands.*search.bands"
    commands.refuse("infer", 2, said, search__bands="nir red")


def test_checkpoint_of_another_ground_sample_distance(commands: Commands) -> None:
    path = save_random(
        commands.folder / "coarse", bands=commands.catalog.bands, gsd=30.0, gsd_range=(20.0, 45.0)
    )
    said = f"^CheckpointError: checkpoint {path} .*30 m.*20 to 45 m.*10 m"
    commands.refuse("infer", 2, said, checkpoint=str(path))


def test_grid_that_the_checkpoint_does_not_accept(commands: Commands) -> None:
    commands.refuse("infer", 2, "5 to 20 m.*60 m.*grid.resolution", grid__resolution="60")


def test_checkpoint_that_is_none(commands: Commands) -> None:
    missing = str(commands.folder / "none")
    commands.refuse("infer", 2, f"^CheckpointError: checkpoint {missing}", checkpoint=missing)
    empty = commands.folder / "empty"
    empty.mkdir()
    (empty / "model.json").write_text("{")
    commands.refuse("infer", 2, f"{empty}.*cannot be read", checkpoint=str(empty))


def test_checkpoint_whose_weights_are_cut(commands: Commands) -> None:
    path = commands.folder / "cut"
    shutil.copytree(commands.checkpoint, path)
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    commands.refuse("infer", 2, f"^CheckpointError: checkpoint {path}", checkpoint=str(path))


@BOTH
def test_catalogue_that_is_not_there(commands: Commands, name: str) -> None:
    missing = str(commands.folder / "catalog.json")
    commands.refuse(name, 2, f"^CatalogError: .*{missing}.*--catalog", catalog=missing)
    with serve_catalog(commands.catalog.root) as server:
        gone = server.url
    said = f"^CatalogError: .*{gone}.*cannot be reached.*--catalog"
    commands.refuse(name, 2, said, catalog=gone)


@BOTH
@pytest.mark.parametrize("ending", ["", "/", f"/collections/{COLLECTION}", "/search"])
def test_catalogue_that_answers_html(commands: Commands, name: str, ending: str) -> None:
    with serve_catalog(commands.catalog.root, faults={ending: Fault.HTML}) as server:
        said = f"^CatalogError: .*{server.url}.*(HTML|JSON|STAC)"
        commands.refuse(name, 2, said, catalog=server.url)


@BOTH
@pytest.mark.parametrize("fault", [Fault.MISSING, Fault.FAILING])
@pytest.mark.parametrize("ending", ["", "/search"])
def test_catalogue_that_fails(commands: Commands, name: str, ending: str, fault: Fault) -> None:
    with serve_catalog(commands.catalog.root, faults={ending: fault}) as server:
        said = f"^CatalogError: .*{server.url}.*{fault.value}"
        commands.refuse(name, 2, said, catalog=server.url)


@BOTH
def test_catalogue_that_is_other_json(commands: Commands, name: str) -> None:
    path = commands.folder / "other.json"
    path.write_text('{"openapi": "3.1.0"}')
    commands.refuse(name, 2, f"{path} is not a STAC catalogue", catalog=str(path))


@BOTH
def test_items_of_the_web_that_point_to_local_files(commands: Commands, name: str) -> None:
    root = commands.folder / "catalog"
    shutil.copytree(commands.catalog.root, root)
    for path in (root / commands.catalog.collection).glob("*/*.json"):
        item = json.loads(path.read_text())
        for key, asset in item["assets"].items():
            asset["href"] = f"file://{path.parent}/{key}.tif"
        path.write_text(json.dumps(item))
    with serve_catalog(root) as server:
        commands.refuse(name, 2, "points to a local file", catalog=server.static)


@BOTH
def test_asset_that_is_missing(commands: Commands, name: str) -> None:
    root = commands.folder / "catalog"
    shutil.copytree(commands.catalog.root, root)
    missing = next(root.rglob("red.tif"))
    missing.unlink()
    catalog = str(root / "catalog.json")
    commands.refuse(name, 2, f"^AssetReadError: .*{missing}", catalog=catalog)


@BOTH
def test_asset_that_a_server_does_not_have(commands: Commands, name: str) -> None:
    with serve_catalog(commands.catalog.root, faults={"red.tif": Fault.MISSING}) as server:
        said = f"^AssetReadError: .*{server.url}.*red.tif"
        commands.refuse(name, 2, said, catalog=server.url)


@pytest.mark.parametrize(
    ("name", "remote"),
    [
        pytest.param("infer", False, id="infer local", marks=pytest.mark.slow),
        pytest.param("infer", True, id="infer remote", marks=pytest.mark.slow),
        pytest.param("ingest", False, id="ingest local"),
        pytest.param("ingest", True, id="ingest remote"),
    ],
)
@pytest.mark.usefixtures("ray_cluster")
def test_asset_that_is_cut_leaves_the_region_incomplete(
    commands: Commands, name: str, remote: bool
) -> None:
    root = commands.folder / "catalog"
    shutil.copytree(commands.catalog.root, root)
    state_no_checksums(root)  # else it is known to be cut before anything is read
    cut = next(root.rglob("*after/nir.tif"))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with serve_catalog(root) as server:
        catalog = server.static if remote else str(root / "catalog.json")
        outcome = commands.call(name, catalog=catalog)
    where = f"{server.url}/.*nir.tif" if remote else str(cut)
    require_incomplete(outcome, f"^IncompleteRegionError: .*{where}.*(run|rerun)")
    require_nothing_that_looks_done(commands.output)


def require_incomplete(outcome: Outcome, said: str) -> None:
    """One line of error after whatever progress was shown."""
    assert outcome.code == 3, outcome.err
    assert "Traceback" not in outcome.err
    (line,) = (line for line in outcome.err.splitlines() if "Error" in line)
    assert re.search(said, line), line
    assert outcome.err.splitlines()[-1] == line


def require_nothing_that_looks_done(output: Path) -> None:
    """Products and manifests are written last: without them nothing passes for a result."""
    made = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    assert not made & {
        "manifest.json", "change.tif", "probability.tif", "item.json", "polygons.parquet",
        "polygons.gpkg", "quicklook.png", "report.html",
    }  # fmt: skip
    assert not [path for path in made if path.endswith((".tmp", ".part"))]


OTHER_GRIDS: list[Flags] = [
    {"grid__resolution": "20"},
    {"grid__crs": "EPSG:32632"},
    {"grid__tile_px": "128"},
]


def begin_map(commands: Commands) -> None:
    """An output as a run leaves it that was killed before its first tile."""
    area = read_aoi(commands.catalog.map_aoi)
    grid = RegionGrid.covering(area, commands.catalog.crs, 10.0, tile_px=64)
    classes = class_table(read_spec(commands.checkpoint).task())
    Mosaic.create(commands.output / "mosaic.zarr", grid, classes)


@pytest.mark.parametrize("changes", OTHER_GRIDS)
def test_output_of_another_grid(commands: Commands, changes: Flags) -> None:
    begin_map(commands)
    said = f"^OutputMismatchError: .*{commands.output}.*--overwrite"
    commands.refuse("infer", 2, said, **changes)


def test_output_of_another_area(commands: Commands) -> None:
    begin_map(commands)
    said = f"^OutputMismatchError: .*{commands.output}.*--overwrite"
    commands.refuse("infer", 2, said, aoi=str(commands.catalog.train_aoi))


def test_output_of_a_newer_format(commands: Commands) -> None:
    begin_map(commands)
    document = commands.output / "mosaic.zarr" / "zarr.json"
    content = json.loads(document.read_text())
    content["attributes"]["noise2map"]["format_version"] += 1
    document.write_text(json.dumps(content))
    commands.refuse("infer", 2, "^OutputMismatchError: .*format.*--overwrite")


def test_output_that_another_run_is_writing(commands: Commands) -> None:
    begin_map(commands)
    with hold_lease(commands.output):
        commands.refuse("infer", 4, f"^OutputHeldError: another run is writing {commands.output}")


@BOTH
def test_output_without_permission(commands: Commands, name: str) -> None:
    """No user, root neither, may make a directory there."""
    outcome = commands.call(name, output="/proc/noise2map/map")
    require_refusal(outcome, 1, "^OutputError: cannot write /proc/noise2map/map.*--output")


def test_output_of_other_classes(commands: Commands) -> None:
    begin_map(commands)
    classes = (
        ClassSpec(value=0, name="unchanged", color="#cccccc"),
        ClassSpec(value=1, name="cleared", color="#d7191c"),
    )
    path = save_random(
        commands.folder / "cleared",
        bands=commands.catalog.bands,
        classes=classes,
        threshold={"cleared": 0.5},
    )
    commands.refuse("infer", 2, "^OutputMismatchError: .*--overwrite", checkpoint=str(path))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_output_of_another_grid_may_be_replaced(commands: Commands) -> None:
    begin_map(commands)
    argv = [*commands.flags("infer", grid__resolution="20"), "--overwrite"]
    done = commands.end("infer", argv)
    assert done.code == 0, done.err
    with rasterio.open(commands.output / "change.tif") as file:
        assert file.res == (20.0, 20.0)


@pytest.mark.usefixtures("ray_cluster")
def test_chip_store_of_other_chips(commands: Commands) -> None:
    done = commands.call("ingest")
    assert done.code == 0, done.err
    for changes in (
        {"grid__resolution": "20"},
        {"chips__stride_px": "64"},
        {"search__bands": "red nir"},
    ):
        commands.refuse("ingest", 2, f"{commands.output}.*(--output|overwrite)", **changes)


@pytest.mark.parametrize(
    "name",
    [
        "infer",
        "ingest",
    ],
)
def test_output_that_is_a_file(commands: Commands, name: str) -> None:
    commands.output.parent.mkdir()
    commands.output.write_text("a letter")
    before = contents(commands.folder)
    outcome = commands.call(name)
    assert outcome.code in (1, 2)
    require_refusal(outcome, outcome.code, f"{commands.output}.*--output")
    assert contents(commands.folder) == before


@pytest.mark.services
@BOTH
@pytest.mark.usefixtures("ray_cluster")
def test_no_space_left_and_then_some(commands: Commands, name: str, small_disk: Path) -> None:
    output = small_disk / "result"
    full = commands.call(name, output=str(output))
    assert full.code == 1, full.err
    (line,) = (line for line in full.err.splitlines() if "Error" in line)
    assert re.match(f"OutputError: .*{output}.*(?i:no space left).*again", line)
    assert "Traceback" not in full.err
    require_nothing_that_looks_done(output)
    grow = ["mount", "-o", "remount,size=100m", str(small_disk)]
    subprocess.run(grow, timeout=10, check=True)
    again = commands.call(name, output=str(output))
    assert again.code == 0, again.err
    whole = commands.call(name)
    assert whole.code == 0, whole.err
    kept = "change.tif" if name == "infer" else "manifest.json"
    assert (output / kept).read_bytes() == (commands.output / kept).read_bytes()


@BOTH
def test_the_command_itself_says_one_line(commands: Commands, name: str, checkout: Path) -> None:
    flags = commands.flags(name, collection="sentinel")
    ended = subprocess.run(
        [sys.executable, f"pipelines/{name}_region.py", *flags],
        capture_output=True, text=True, timeout=120, check=False, cwd=checkout,
    )  # fmt: skip
    outcome = Outcome(ended.returncode, ended.stdout, ended.stderr)
    require_refusal(outcome, 2, "^CatalogError: .*'sentinel'")
    assert not commands.output.parent.exists()


@BOTH
def test_a_misspelt_flag_is_refused(commands: Commands, name: str) -> None:
    commands.refuse(name, 2, "grid.resolutoin", grid__resolutoin="10")
