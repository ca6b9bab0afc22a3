"""Nights over the embedded scene, for tests and benchmarks."""

from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import rasterio
import yaml

from noise2map_core.detectors.spec import MapTask
from noise2map_core.geo.grid import Tile
from noise2map_core.inference.decision import verdict_of
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.tile import Prediction, predict_tile
from noise2map_core.inference.tile_image import read_tile
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.testing.exposure import SCL_DENSE_CLOUD
from noise2map_core.testing.nights import FIRST, Night, write_nights
from noise2map_core.testing.scenes import MASK_ASSET, EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines import infer_region
from tests.factories import checkpoint_spec

TILE_PX = 64


@dataclass
class Here:
    """Maps regions in this process, tile after tile, without Ray; notes what it predicted."""

    predicted: list[int] = field(default_factory=list)
    predictor: Any = None
    """In place of the network."""

    def __call__(self, settings: Path, log: Path) -> None:
        config = InferRegionConfig.model_validate(yaml.safe_load(settings.read_text()))
        region = "noise2map_core.distributed.region"
        with (
            patch(f"{region}.ray_session", lambda *_: nullcontext()),
            patch(f"{region}.predict_tiles", partial(_predict_tiles, self.predictor)),
            patch(f"{region}.count_kept"),
        ):
            result = infer_region.run(config)
        self.predicted.append(result.predicted)


class ByPixel:
    """Says how probable change is from each pixel alone: nothing depends on what is beside it."""

    def __init__(self, task: MapTask) -> None:
        self.task = task

    def predict(self, image: Any, valid: Any, core: Any, wanted: Any, part: Any = None) -> Any:
        halo = (image.shape[2] - core.height) // 2
        rows, cols = slice(halo, halo + core.height), slice(halo, halo + core.width)
        before, after = image[:, :, rows, cols].astype(np.float32)
        apart = np.abs(after - before).mean(axis=0) / 1000
        changed = (apart / (1 + apart)).astype(np.float32)
        return Prediction(verdict_of(np.stack([1 - changed, changed]), self.task), 1)


def _predict_tiles(
    predictor: Any, job: RegionJob, tiles: Any, resources: Any
) -> Iterator[TileRecord]:
    """What workers do, one tile after the other."""
    from noise2map_core.inference.networks.predictor import Predictor
    from noise2map_core.models.checkpoint import load_checkpoint

    predictor = (
        predictor(job.task)
        if predictor
        else Predictor(load_checkpoint(job.checkpoint), job.path, job.lattice, job.timesteps)
    )
    mosaic, ledger = Mosaic(job.output / "mosaic.zarr", job.grid), Ledger(job.output)
    for row, col in tiles.tolist():
        tile = Tile(row, col)
        made = predict_tile(job, predictor, tile, read_tile(job, tile))
        mosaic.write(tile, made.map)
        record = TileRecord(row, col, job.key(tile), "done", chips=made.chips,
                            decided_px=made.decided_px, digest=mosaic.digest(tile))  # fmt: skip
        ledger.append([record], job.fence)
        yield record


def random_checkpoint(path: Path, bands: tuple[str, ...], gsd: float = 10.0) -> Path:
    """An untrained network that calls about half of what it sees changed, the same every time."""
    import torch

    spec = checkpoint_spec(bands=bands, gsd=gsd, gsd_range=(gsd / 2, gsd * 2))
    torch.manual_seed(0)
    model = Noise2Map(spec).eval()
    with torch.inference_mode():
        logits = model.logits(torch.randint(0, 3000, (4, 2 * len(bands), 32, 32)), 999)
    median = float(logits.softmax(dim=1)[:, 1].median())
    spec = checkpoint_spec(
        bands=bands, gsd=gsd, gsd_range=(gsd / 2, gsd * 2), threshold={"changed": median}
    )
    torch.manual_seed(0)
    save_checkpoint(Noise2Map(spec).eval(), spec, path, "# untrained\n")
    return path


def nightly_settings(
    embedded: EmbeddedCatalog, table: Path, checkpoint: Path, output: Path, **more: Any
) -> dict[str, Any]:
    """One area, "farm", on small tiles."""
    return {
        "output": str(output),
        "sensors": {"camera": {"catalog": str(table), "collection": embedded.collection}},
        "areas": [area_settings(embedded, checkpoint)],
        **more,
    }


def area_settings(embedded: EmbeddedCatalog, model: Path, **more: Any) -> dict[str, Any]:
    return {
        "id": "farm",
        "aoi": str(embedded.map_aoi),
        "sensor": "camera",
        "checkpoint": str(model),
        "since": str(FIRST),
        "pair": {"kind": "fixed", "baseline": embedded.before},
        "grid": {"tile_px": TILE_PX},
        "resources": {"num_cpus": 2},
        **more,
    }


def cloudy_nights(
    embedded: EmbeddedCatalog, root: Path, count: int, share: float = 0.4, seed: int = 0,
    noise: int = 30,
) -> list[Night]:  # fmt: skip
    """Nights that each show the whole later scene, with `noise`, and a cloud over `share` of it: a
    band of columns that begins anywhere."""
    (whole,) = write_nights(embedded, root / "first", 1)
    return [_cloudy(whole, root, number, share, seed, noise) for number in range(count)]


def _cloudy(whole: Night, root: Path, number: int, share: float, seed: int, noise: int) -> Night:
    rng = np.random.default_rng([seed, number])
    item, day = deepcopy(whole.item), FIRST + timedelta(days=number)
    item["id"] = f"night-{number:02d}-{seed}"
    item["properties"]["datetime"] = f"{day}T10:00:00Z"
    folder = root / item["id"]
    folder.mkdir(parents=True)
    start = rng.random()
    for name, asset in item["assets"].items():
        with rasterio.open(asset["href"]) as file:
            pixels, profile = file.read(1), file.profile
        if name == MASK_ASSET:
            across = (np.arange(pixels.shape[1]) / pixels.shape[1] - start) % 1 < share
            pixels[:, across] = SCL_DENSE_CLOUD
        else:
            noisy = pixels + rng.integers(-noise, noise + 1, pixels.shape)
            pixels = np.where(pixels, np.maximum(noisy, 1), 0).astype(pixels.dtype)
        path = folder / f"{name}.tif"
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels, 1)
        asset["href"] = str(path)
        asset["file:checksum"] = f"1220{file_sha256(path)}"
        asset["file:size"] = path.stat().st_size
    return replace(whole, day=day, item=item)


def results(area: Path) -> dict[str, str]:
    """Digest of all pixels and of all tables of an area, by path."""
    kinds = ("slices/*/mosaic.zarr/**/*", "slices/*/*.tif", "slices/*/polygons.*",
             "objects/*", "changes/*")  # fmt: skip
    files = [path for kind in kinds for path in area.glob(kind) if path.is_file()]
    return {str(path.relative_to(area)): file_sha256(path) for path in sorted(files)}


def touched_tiles(
    night: Night, transform: Any, shape: tuple[int, int], chip_px: int, stride_px: int
) -> int:
    """Tiles of a mosaic [H, W] whose chips meet a night's item; from the contract's words alone.

    `transform` is the mosaic's. Chips lie on multiples of the stride, counted from the CRS's
    origin, and a tile reads all chips that share a pixel with it.
    """
    left, top, size = round(transform.c / transform.a), round(-transform.f / transform.a), TILE_PX
    west, south, east, north = (edge / transform.a for edge in night.box)
    rows = [_reach(top + start, chip_px, stride_px) for start in range(0, shape[0], size)]
    cols = [_reach(left + start, chip_px, stride_px) for start in range(0, shape[1], size)]
    down = sum(-north <= stop + 1 and -south >= start - 1 for start, stop in rows)
    across = sum(west <= stop + 1 and east >= start - 1 for start, stop in cols)
    return down * across


def _reach(start: int, chip_px: int, stride_px: int) -> tuple[int, int]:
    first = ((start - chip_px) // stride_px + 1) * stride_px
    last = (start + TILE_PX - 1) // stride_px * stride_px
    return first, last + chip_px
