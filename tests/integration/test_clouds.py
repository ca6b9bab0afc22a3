"""A map of imagery without masks: clouds are detected, and never called change."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from noise2map_core.testing.scenes import EmbeddedCatalog
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
    """Rasters of a map, by their names, and its manifest."""
    settings = {**paris, "output": str(output), "resources": {"num_cpus": 2}, **more}
    infer_region.run(InferRegionConfig.model_validate(settings))
    found: dict[str, Any] = {"manifest": json.loads((output / "manifest.json").read_text())}
    for name in ("change", "reason"):
        with rasterio.open(output / f"{name}.tif") as file:
            found[name] = file.read(1)
            found[f"{name} values"] = file.tags(1) | file.tags()
    return found


@pytest.fixture(scope="module")
def by_workers(
    ray_cluster: None, paris: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("workers") / "map"
    return mapped(paris, output, mask=MASK, grid={"tile_px": 256})


def test_clouds_over_paris_have_no_decision(by_workers: dict[str, Any]) -> None:
    undecided = by_workers["change"] == 255
    reasons = np.unique(by_workers["reason"][undecided])
    assert 0.04 < undecided.mean() < 0.12  # 3.2 % cloud, 2.3 % shadow, and two pixels around them
    assert len(reasons) >= 2
    assert not (by_workers["change"][by_workers["reason"] > 0] != 255).any()


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
    from noise2map_core.runtime.errors import ConfigError

    output = tmp_path / "map"
    config = InferRegionConfig.model_validate({**paris, "output": str(output), "mask": mask})
    with pytest.raises(ConfigError, match=reason):
        infer_region.run(config)
    assert not output.exists()


def test_chips_hold_what_is_detected(
    ray_cluster: None, paris: dict[str, Any], tmp_path: Path
) -> None:
    from noise2map_core.chips.store import open_store

    shares, keys = [], []
    for name, mask in (("plain", {}), ("masked", MASK)):
        settings = {
            **paris, "output": str(tmp_path / f"{name}.zarr"), "mask": mask,
            "chips": {"chip_px": 64, "stride_px": 64}, "resources": {"num_cpus": 2},
        }  # fmt: skip
        ingest_region.run(IngestRegionConfig.model_validate(settings))
        store = open_store(tmp_path / f"{name}.zarr")
        shares.append(store.read("quality_valid").mean(axis=0))
        keys.append(store.attributes["keys"])
    assert keys[0] != keys[1]
    assert shares[0][1] - shares[1][1] > 0.03 > shares[0][0] - shares[1][0]


@pytest.mark.slow
def test_invented_clouds_are_found_without_their_mask(
    embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    bare = without_masks(embedded, tmp_path / "bare")
    settings = {
        "aoi": str(bare.map_aoi), "before": bare.before, "after": bare.after,
        "search": {"catalog": bare.catalog, "collection": bare.collection, "bands": bare.bands},
    }  # fmt: skip
    mask = {"detector": "ukis-csmask", "detector_level": "l2a", "detector_scale": 1e-4}
    with in_process():
        stated = mapped({**settings, "search": settings["search"] | {"catalog": embedded.catalog}},
                        tmp_path / "stated")  # fmt: skip
        found = mapped(settings, tmp_path / "found", mask=mask)
    assert ((found["reason"] > 0)[stated["reason"] > 0]).mean() > 0.5


def without_masks(embedded: EmbeddedCatalog, folder: Path) -> EmbeddedCatalog:
    """The same files, by items that name no mask."""
    for path in embedded.root.rglob("*.json"):
        document = json.loads(path.read_text())
        for asset in document.get("assets", {}).values():
            asset["href"] = str((path.parent / asset["href"]).resolve())
        document.get("assets", {}).pop("scl", None)
        copy = folder / path.relative_to(embedded.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(json.dumps(document))
    return replace(embedded, catalog=str(folder / "catalog.json"))
