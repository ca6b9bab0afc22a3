"""Invent a scene pair with a known change, and take it through all the steps to a map.

The pair is mapped first without labels, then by a network that learns from them.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import from_bounds

from noise2map_core.catalog.pairing import search_pair
from noise2map_core.chips.spread import band_spread
from noise2map_core.chips.store import open_store
from noise2map_core.cli.start import load
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.learning.baseline import ChangeVectorAnalysis
from noise2map_core.learning.metrics import IGNORE, ClassScores, ConfusionCounts
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.reading import Settings, build_config, read_settings
from noise2map_core.testing.scenes import EmbeddedCatalog, write_catalog
from noise2map_core.workflows.launch import applications_root, find_command
from noise2map_core.workflows.tools.demo import WRITTEN_AT, DemoConfig

STEPS = {
    "first": "infer-region",
    "ingest": "ingest-region",
    "finetune": "finetune-maps",
    "evaluate": "evaluate-maps",
    "infer": "infer-region",
}
"""Steps in order, and the application of each."""


@dataclass(frozen=True)
class DemoResult:
    """A map, and what it is worth."""

    output: Path
    model: ClassScores
    """The map's changed class against the known truth."""
    first: ClassScores
    """The same of the map without labels, on the same pixels."""
    baseline: ClassScores
    """Change vector analysis on the same pixels."""
    num_pixels: int
    """Pixels that the map decides."""

    def summary(self) -> list[str]:
        """The last lines of the demonstration."""
        return [
            "",
            f"map       {self.output / 'change.tif'}",
            f"polygons  {self.output / 'polygons.parquet'}",
            f"picture   {self.output / 'quicklook.png'}",
            f"report    {self.output / 'report.html'}",
            f"Change in the map against the known truth, {self.num_pixels:,} pixels:",
            f"  learnt from labels      {_scores_line(self.model)}",
            f"  without labels, first/  {_scores_line(self.first)}",
            f"  change vector analysis  {_scores_line(self.baseline)}",
        ]


def run(config: DemoConfig) -> DemoResult:
    """Write the catalogue, run the steps in one Ray session, compare the map with the truth."""
    output = config.output.resolve()
    print("scenes: two dates, drawn", flush=True)
    scenes = write_catalog(output / "catalog")
    write_whole_area(scenes)
    with _session(config):
        for step in STEPS:
            _run_step(step, output)
    return score_map(config.output, scenes)


def _session(config: DemoConfig) -> AbstractContextManager[None]:
    """One cluster for all steps; where a map is already, each step starts its own if need be."""
    if (config.output / "manifest.json").is_file():
        return nullcontext()
    return ray_session(config.resources)


def step_config(step: str) -> Path:
    """The YAML file of a step's settings, as it ships with the applications."""
    return applications_root() / "pipelines" / "configs" / f"demo-{step}.yaml"


def step_settings(step: str, output: Path) -> Settings:
    """A step's settings, with `output` in place of the output that its file names."""
    return _moved(read_settings(step_config(step)), output)


def write_whole_area(scenes: EmbeddedCatalog) -> Path:
    """The areas for training and for mapping as one: a GeoJSON file beside the catalogue."""
    areas = [json.loads(path.read_text("utf-8")) for path in (scenes.train_aoi, scenes.map_aoi)]
    path = scenes.root / "whole_aoi.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": areas}), "utf-8")
    return path


def score_map(output: Path, scenes: EmbeddedCatalog) -> DemoResult:
    """Scores of the map, and of change vector analysis, where the map decides.

    The baseline has the statistics and the threshold of the training part, as in evaluate-maps.
    """
    with rasterio.open(output / "first" / "change.tif") as file:
        first = file.read(1)
    with rasterio.open(output / "change.tif") as file, rasterio.open(scenes.truth) as known:
        predicted = file.read(1)
        window = from_bounds(*file.bounds, transform=known.transform)
        truth = known.read(1, window=window, boundless=True, fill_value=IGNORE)
        truth = np.where(predicted == IGNORE, IGNORE, truth)
        baseline = _baseline_map(output, scenes, file.transform, file.shape)
    learnt, without, vector = (
        ConfusionCounts.of(truth, said, 2) for said in (predicted, first, baseline)
    )
    return DemoResult(
        output, learnt.scores(1), without.scores(1), vector.scores(1), learnt.num_pixels
    )


def _baseline_map(
    output: Path, scenes: EmbeddedCatalog, transform: Affine, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """uint8 [H, W]: 1 where the change vector is longer than the training part's threshold."""
    search = SearchConfig(catalog=scenes.catalog, collection=scenes.collection)
    pair = search_pair(search, read_aoi(scenes.map_aoi), scenes.before, scenes.after, scenes.bands)
    box = GeoBox(shape, transform, scenes.crs)
    image = np.stack([read_pixels(dated, box)[0] for dated in pair])
    store = open_store(output / "chips.zarr")
    moments = store.statistics("train")
    analysis = ChangeVectorAnalysis(moments.mean, band_spread(store, moments))
    scores = json.loads((output / "scores.json").read_text("utf-8"))
    threshold = scores["baseline"]["threshold"]["changed"]
    return (analysis.magnitude(image[None])[0] >= threshold).astype(np.uint8)


def _run_step(step: str, output: Path) -> None:
    """Run an application in this process, and print its summary."""
    command = find_command(STEPS[step])
    print(f"{command.name}: {command.summary}", flush=True)
    config = build_config(command.workflow.config, step_settings(step, output), {})
    for line in load(command).run(config).summary():
        print(f"  {line}", flush=True)


def _moved(value: Any, output: Path) -> Any:
    """Settings in which every path under WRITTEN_AT lies under `output`."""
    if isinstance(value, dict):
        return {name: _moved(part, output) for name, part in value.items()}
    if isinstance(value, list):
        return [_moved(part, output) for part in value]
    if isinstance(value, str) and Path(value).is_relative_to(WRITTEN_AT):
        return str(output / Path(value).relative_to(WRITTEN_AT))
    return value


def _scores_line(scores: ClassScores) -> str:
    return (
        f"F1 {scores.f1:.3f}, IoU {scores.iou:.3f}, "
        f"precision {scores.precision:.3f}, recall {scores.recall:.3f}"
    )
