"""A map of imagery without masks: clouds are detected, and never called change."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from noise2map_core.chips.store import open_store
from noise2map_core.mapping.mosaic import Reason
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from pipelines import infer_region, ingest_region
from tests.region_in_process import in_process

BEFORE, AFTER = "2016-11-30", "2017-11-07"
MASK = {"detector": "ukis-csmask", "detector_level": "l1c"}
CLOUDY = "oscd-paris-20171107"


@pytest.fixture(scope="module")
def paris(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> dict[str, Any]:
    """What every run over Paris is told; its later date has two small clouds, and a shadow."""
    with rasterio.open(real_data / "stac" / "oscd" / CLOUDY / "red.tif") as file:
        west, south, east, north = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    aoi = tmp_path_factory.mktemp("paris") / "aoi.geojson"
    aoi.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    catalog = str(real_data / "stac" / "catalog.json")
    return {
        "aoi": str(aoi), "before": BEFORE, "after": AFTER,
        "search": {"catalog": catalog, "collection": "oscd", "bands": ("red", "green", "blue")},
    }  # fmt: skip


def mapped(paris: dict[str, Any], output: Path, **more: Any) -> dict[str, Any]:
    """Rasters of a map, by their names."""
    settings = {**paris, "output": str(output), "resources": {"num_cpus": 2}, **more}
    infer_region.run(InferRegionConfig.model_validate(settings))
    found = {}
    for name in ("change", "reason"):
        with rasterio.open(output / f"{name}.tif") as file:
            found[name] = file.read(1)
    return found


@pytest.fixture(scope="module")
def by_workers(
    ray_cluster: None, paris: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("workers") / "map"
    return mapped(paris, output, mask=MASK, grid={"tile_px": 256})


def test_clouds_over_paris_have_no_decision(by_workers: dict[str, Any]) -> None:
    undecided = by_workers["change"] == 255
    assert 0.04 < undecided.mean() < 0.12  # 3.2 % cloud, 2.3 % shadow, and two pixels around them
    assert {Reason.MASKED_AFTER, Reason.SHADOW_AFTER} <= set(np.unique(by_workers["reason"]))
    assert (undecided == (by_workers["reason"] > 0)).all()


def test_tiles_and_workers_make_no_difference(
    by_workers: dict[str, Any], paris: dict[str, Any], tmp_path: Path
) -> None:
    with in_process():
        here = mapped(paris, tmp_path / "map", mask=MASK, grid={"tile_px": 64})
    for name in ("change", "reason"):
        np.testing.assert_array_equal(here[name], by_workers[name])


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        ({"detector": "ukis-csmask"}, "does not say whether it is l1c or l2a"),
        ({"detector": "fmask"}, "is not known"),
    ],
)
def test_nothing_is_begun_that_cannot_be_masked(
    paris: dict[str, Any], tmp_path: Path, mask: dict[str, Any], reason: str
) -> None:
    output = tmp_path / "map"
    config = InferRegionConfig.model_validate({**paris, "output": str(output), "mask": mask})
    with pytest.raises(ConfigError, match=reason):
        infer_region.run(config)
    assert not output.exists()


def test_chips_hold_what_is_detected(
    ray_cluster: None, paris: dict[str, Any], tmp_path: Path
) -> None:
    shares, keys = [], []
    for name, mask in (("plain", {}), ("masked", MASK)):
        settings = {
            **paris, "output": str(tmp_path / f"{name}.zarr"), "mask": mask,
            "chips": {"chip_px": 64, "stride_px": 64}, "resources": {"num_cpus": 2},
        }  # fmt: skip
        ingest_region.run(IngestRegionConfig.model_validate(settings))
        store = open_store(tmp_path / f"{name}.zarr")
        shares.append(np.asarray(store.array("valid")[:]).mean(axis=(0, 2, 3)))
        keys.append(store.attributes["keys"])
    assert keys[0] != keys[1]
    assert shares[0][1] - shares[1][1] > 0.03 > shares[0][0] - shares[1][0]
