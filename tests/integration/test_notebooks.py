"""The notebooks, run from top to bottom in an empty folder, as they are handed on."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOTEBOOKS = ("map-a-pair", "train-on-own-folders")


def ran(checkout: Path, name: str, folder: Path) -> nbformat.NotebookNode:
    """With its outputs; raises CellExecutionError for a cell that fails."""
    notebook = nbformat.read(checkout / "docs" / "notebooks" / f"{name}.ipynb", as_version=4)
    client = NotebookClient(
        notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return notebook


def shown(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
    """What cells gave, as text of one media type."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def test_every_notebook_is_run_here_and_kept_without_outputs(checkout: Path) -> None:
    found = sorted((checkout / "docs" / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in found] == sorted(NOTEBOOKS)
    for path in found:
        cells = nbformat.read(path, as_version=4).cells
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_a_pair_is_mapped_and_looked_at(checkout: Path, tmp_path: Path) -> None:
    notebook = ran(checkout, "map-a-pair", tmp_path)
    page = shown(notebook, "text/html")[0]
    assert '<img src="data:image/png;base64,' in page and '<a href="map/report.html">' in page
    assert len(shown(notebook, "image/png")) == 1
    assert (tmp_path / "sure.tif").exists()
    words = shown(notebook, "text/plain")[-1].strip("'").split(":")[0].replace(",", "").split()
    assert float(words[1]) > 0.1 and float(words[3]) > 0.5


def test_a_model_is_trained_on_folders_and_scored(checkout: Path, tmp_path: Path) -> None:
    notebook = ran(checkout, "train-on-own-folders", tmp_path)
    pages = shown(notebook, "text/html")
    assert '<a href="chips.zarr">' in pages[0] and "32 chips" in pages[0]
    assert '<a href="training/report.html">' in pages[1]
    assert "CVA" in pages[2] and "labelled pixels" in pages[2]
    assert "'image': (8, 2, 3, 64, 64)" in shown(notebook, "text/plain")[-1]
    assert len(shown(notebook, "image/png")) == 1
