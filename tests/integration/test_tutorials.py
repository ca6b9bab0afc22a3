"""README and tutorials are followed word for word, in an empty folder, against a local STAC API."""

import contextlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio

from noise2map_core import open_mosaic
from noise2map_core.testing.catalog import serve_catalog
from tests.documents import BY_HAND, blocks, follow
from tests.open_catalogue import draw_labels, write_open_catalogue
from tests.ports import free_ports

PAIRS = {"train": 12, "val": 3, "test": 3}


@pytest.fixture(scope="module")
def catalogue(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a STAC API with the imagery that the tutorials are about."""
    root = tmp_path_factory.mktemp("open")
    write_open_catalogue(real_data, root)
    with serve_catalog(root) as server:
        yield server.url


@pytest.fixture(scope="session")
def tutorials(checkout: Path) -> Path:
    """Their folder."""
    return checkout / "docs" / "tutorials"


def changed_share(path: Path) -> float:
    with rasterio.open(path) as file:
        pixels = file.read(1)
    return float((pixels == 1).sum() / (pixels != 255).sum())


def test_every_block_of_a_tutorial_is_run_or_says_why_not(tutorials: Path) -> None:
    pages = {page.stem: blocks(page.read_text()) for page in tutorials.glob("*.md")}
    assert len(pages) == 5
    for name, found in pages.items():
        assert sum(block.language == "sh" and not block.reason for block in found) >= 3, name
        fences = (tutorials / f"{name}.md").read_text().count("\n```")
        seen = sum(block.language != BY_HAND for block in found)
        assert fences == 2 * seen, f"{name}: a block that the runner does not see"


@pytest.mark.slow
def test_what_changed_in_your_town(tutorials: Path, catalogue: str, tmp_path: Path) -> None:
    follow(tutorials / "sentinel-2-of-your-town.md", tmp_path, STAC=catalogue)
    shown = (tmp_path / "scenes" / "scenes.json").read_text()
    assert "2015-08-21" in shown and "2017-10-14" in shown
    fewer, more = (changed_share(tmp_path / name / "change.tif") for name in ("fewer", "map"))
    assert 0 < fewer < more < 0.5
    assert (tmp_path / "map" / "report.html").exists() and any((tmp_path / "sample").iterdir())


@pytest.mark.slow
def test_labels_drawn_in_qgis(
    tutorials: Path, catalogue: str, real_data: Path, tmp_path: Path
) -> None:
    draw_labels(real_data, tmp_path / "drawn.gpkg")
    draw = {"draw into labels.gpkg": "cp drawn.gpkg labels.gpkg"}
    follow(tutorials / "labels-drawn-in-qgis.md", tmp_path, draw, STAC=catalogue)
    assert json.loads((tmp_path / "scores.json").read_text())["model"]["num_pixels"] > 0
    classes = open_mosaic(tmp_path / "learnt")["class"].values
    assert set(np.unique(classes)) <= {0, 1, 255} and (classes != 255).any()


@pytest.mark.slow
def test_folders_of_pairs(tutorials: Path, real_data: Path, tmp_path: Path) -> None:
    _copy_pairs(real_data / "change" / "gz_cd", tmp_path / "pairs")
    said = follow(tutorials / "folders-of-pairs.md", tmp_path)
    assert re.search(r"\.jpg: [0-9]+% changed$", said.rstrip())
    assert json.loads((tmp_path / "scores.json").read_text())["model"]["num_pixels"] > 0


def _copy_pairs(source: Path, target: Path) -> None:
    """Pairs of three scenes, one for each part; files are called SCENE-row-column."""
    labels = sorted((source / "label").iterdir())
    scenes = list(dict.fromkeys(label.stem.rsplit("-", 2)[0] for label in labels))
    for (part, count), scene in zip(PAIRS.items(), scenes, strict=False):
        stems = [one.stem for one in labels if one.stem.rsplit("-", 2)[0] == scene][:count]
        for kind in ("A", "B", "label"):
            (target / part / kind).mkdir(parents=True)
            for file in (source / kind).iterdir():
                if file.stem in stems:
                    shutil.copyfile(file, target / part / kind / file.name)


@pytest.mark.slow
def test_the_doors_of_readme(
    checkout: Path, catalogue: str, real_data: Path, tmp_path: Path
) -> None:
    _copy_pairs(real_data / "change" / "gz_cd", tmp_path / "pairs")
    follow(checkout / "README.md", tmp_path, STAC=catalogue)
    assert 0 < changed_share(tmp_path / "map" / "change.tif") < 0.5
    assert (tmp_path / "training" / "checkpoint" / "model.safetensors").exists()
    assert (tmp_path / "nights" / "summary.html").exists()


@pytest.mark.slow
def test_nightly_areas(tutorials: Path, catalogue: str, tmp_path: Path) -> None:
    follow(tutorials / "nightly-areas.md", tmp_path, STAC=catalogue)
    nights = tmp_path / "nights"
    assert [path.name for path in (nights / "harbour" / "slices").iterdir()] == ["2026-06-20"]
    assert 0 < changed_share(nights / "harbour/slices/2026-06-20/change.tif") < 0.6
    assert (nights / "harbour" / "changes.gpkg").exists() and (nights / "summary.html").exists()


@pytest.mark.slow
def test_a_cluster(tutorials: Path, catalogue: str, tmp_path: Path) -> None:
    ports = dict(zip(("PORT", "DASHBOARD", "AGENT"), map(str, free_ports(3)), strict=True))
    mark = secrets.token_hex(16)
    try:
        follow(tutorials / "a-cluster.md", tmp_path, STAC=catalogue, MARK=mark, **ports)
    finally:
        _end_all_with(mark)
    assert 0 < changed_share(tmp_path / "map" / "change.tif") < 0.5


def _end_all_with(mark: str) -> None:
    """The head and what it started, which have the mark in their environment, and nothing else."""
    marked = [one for one in psutil.process_iter() if _has(one, mark)]
    for one in marked:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(marked, timeout=10)


def _has(one: psutil.Process, mark: str) -> bool:
    try:
        return one.environ().get("MARK") == mark
    except psutil.Error:  # gone, or somebody else's
        return False
