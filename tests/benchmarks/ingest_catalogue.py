"""Every collection of the real scenes becomes chip stores that verify.

Later pairs are appended, unless they lie on another grid.

python tests/benchmarks/ingest_catalogue.py [--data ../shared/data]
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import shapely
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # applications are not installed


from noise2map_core.chips.repair import iter_checks
from noise2map_core.chips.store import open_store
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from pipelines.ingest_region import run

RGB = ("red", "green", "blue")
RASTER = {"kind": "raster", "asset": "change"}
PAIRS: dict[str, tuple[Any, ...]] = {
    "landsat-taizhou": (("2000", "2003"),),
    "landsat-pucallpa": (("1985", "1990"), ("1995", "2000"), ("2005", "2010"), ("2015", "2020")),
    "naip-north-dakota": (
        ("2009", "2010"), ("2012", "2014"), ("2015", "2016"), ("2017", "2018"), ("2019", "2020"),
    ),
    "oam-banepa": ((None, "2024"),),
    "oam-kampala": ((None, "2000/2030"),),
}  # fmt: skip
OWN_GRIDS = {"naip-north-dakota"}
"""Collections of which the dates' pixels lie off one another: a store for each pair."""


DATA = Path(os.environ.get("NOISE2MAP_DATA", "../shared/data"))


def main(data: Path = DATA) -> None:
    """Print one line a collection."""
    root, read = data / "stac", 0
    with tempfile.TemporaryDirectory() as folder, ray_session(ResourcesConfig(num_cpus=2)):
        for collection, pairs in PAIRS.items():
            started = time.perf_counter()
            outputs = [
                Path(folder) / f"{collection}-{before if collection in OWN_GRIDS else 'all'}.zarr"
                for before, _ in pairs
            ]
            for (before, after), output in zip(pairs, outputs, strict=True):
                run(_config(root, collection, before, after, output))
            stores = {output: open_store(output) for output in outputs}
            damages = sum(damage is not None for path in stores for damage in iter_checks(path))
            items = sum(len(store.attributes["items"]) for store in stores.values())
            chips = sum(store.num_chips for store in stores.values())
            systems = {name for store in stores.values() for name in store.attributes["crs_table"]}
            read += items + (collection == "landsat-taizhou")
            print(
                f"{collection:>18}: {items} items, {chips:,} chips, {len(stores)} stores, "
                f"{', '.join(sorted(systems))}, {damages} objects damaged, "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )
    print(f"{read} items read, labels included")


def _config(
    root: Path, collection: str, before: str | None, after: str, output: Path
) -> IngestRegionConfig:
    documents = [json.loads(path.read_text()) for path in root.glob(f"{collection}/*/*.json")]
    area = shapely.box(*shapely.total_bounds([shapely.box(*d["bbox"]) for d in documents]))
    aoi = output.with_suffix(".geojson")
    aoi.write_text(json.dumps(shapely.geometry.mapping(area)))
    buildings = root / collection / "buildings.geojson"
    labels: dict[str, Any] = {"kind": "none"}
    if buildings.exists():
        labels = {"kind": "polygons", "task": "segment", "path": str(buildings)}
    return IngestRegionConfig.model_validate({
        "aoi": aoi, "before": before, "after": after, "output": output,
        "search": {"catalog": str(root / "catalog.json"), "collection": collection,
                   "bands": _bands(collection)},
        "chips": {"chip_px": 128, "stride_px": 128},
        "labels": RASTER if collection == "landsat-taizhou" else labels,
    })  # fmt: skip


def _bands(collection: str) -> tuple[str, ...]:
    if collection == "landsat-taizhou":
        return ("blue", "green", "red", "nir08", "swir16", "swir22")
    return ("green", "red", "nir08") if collection == "landsat-pucallpa" else RGB


if __name__ == "__main__":
    tyro.cli(main)
