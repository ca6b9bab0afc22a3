"""A region mapped by another engine: the same bytes whoever works, and another map than torch's."""

import json
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.inference.engine import FOLDER
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines.infer_region import run
from tests.factories import checkpoint_spec


def mapped(embedded: EmbeddedCatalog, output: Path, checkpoint: Path, **more: Any) -> Any:
    """Products cost time, and are made of the mosaic alone."""
    settings = {
        "aoi": str(embedded.map_aoi),
        "search": {"catalog": str(embedded.catalog), "collection": embedded.collection},
        "before": embedded.before, "after": embedded.after,
        "checkpoint": str(checkpoint), "output": str(output), "grid": {"tile_px": 64}, **more,
    }  # fmt: skip
    result = run(InferRegionConfig.model_validate(settings))
    told = json.loads((output / "manifest.json").read_text())
    return {"predicted": result.predicted, "path": told["numeric_path"]}


def pixels(output: Path) -> dict[str, str]:
    return {
        str(file.relative_to(output)): file_sha256(file)
        for file in sorted((output / "mosaic.zarr").rglob("*"))
        if file.is_file()
    }


@pytest.mark.usefixtures("ray_cluster")
def test_one_worker_and_two_give_the_same_bytes_by_openvino(
    embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    spec, checkpoint = checkpoint_spec(bands=tuple(embedded.bands)), tmp_path / "checkpoint"
    save_checkpoint(Noise2Map(spec), spec, checkpoint, "# Card\n")
    engine = {"inference": {"engine": "openvino", "precision": "fp32"}}
    one, two = tmp_path / "one", tmp_path / "two"
    told = mapped(embedded, one, checkpoint, **engine, resources={"num_cpus": 2, "predictors": 1})
    (blob,) = (checkpoint / FOLDER).iterdir()
    made = blob.stat().st_mtime_ns
    few = {"num_cpus": 2, "predictors": 2, "predictor_cpus": 0.5}
    mapped(embedded, two, checkpoint, **engine, resources=few)
    assert told["path"]["engine"].startswith("openvino 20")
    assert pixels(one) == pixels(two) and len(pixels(one)) > 4
    assert blob.stat().st_mtime_ns == made
    again = mapped(embedded, one, checkpoint, **engine, resources=few)
    by_torch = mapped(
        embedded, one, checkpoint, inference={"precision": "fp32"}, resources={"num_cpus": 2}
    )
    assert (told["predicted"], again["predicted"], by_torch["predicted"]) == (10, 0, 10)
    assert "engine" not in by_torch["path"]
