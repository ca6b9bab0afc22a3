"""What a user would write instead of `ingest-region`: odc-stac, dask, zarr.

    python odc_stac_chips.py ITEMS.json STORE THREADS WEST SOUTH EAST NORTH

Cuts two dates into chips of 256 pixels, 32 a shard, masks clouds, and prints the seconds it took.
"""

import json
import sys
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import odc.stac
import pystac
import zarr
from odc.geo.geobox import GeoBox
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

BANDS, CLOUDS = ["blue", "green", "red", "nir"], [1, 3, 8, 9, 10]
CHIP, ROWS, COLS = 256, 4, 8
CRS, RESOLUTION = "EPSG:32632", 10
CODEC = [BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle), Crc32cCodec()]


def cut(block: np.ndarray) -> np.ndarray:
    """[date, band, 4 · 256, 8 · 256] → 32 chips [32, date, band, 256, 256]."""
    dates, bands = block.shape[:2]
    chips = block.reshape(dates, bands, ROWS, CHIP, COLS, CHIP)
    return chips.transpose(2, 4, 0, 1, 3, 5).reshape(-1, dates, bands, CHIP, CHIP)


def cut_all(image: da.Array) -> da.Array:
    """[date, band, y, x] → chips [chip, date, band, 256, 256], block by block."""
    image = image.rechunk({0: -1, 1: -1})
    shape = (ROWS * COLS, *image.shape[:2], CHIP, CHIP)
    blocks = image.to_delayed().ravel()
    return da.concatenate(
        [da.from_delayed(dask.delayed(cut)(block), shape, image.dtype) for block in blocks]
    )


def main() -> None:
    """Load lazily, cut, and store."""
    items_file, store, threads, *bounds = sys.argv[1:]
    items = [pystac.Item.from_dict(item) for item in json.loads(Path(items_file).read_text())]
    started = time.perf_counter()
    box = GeoBox.from_bbox(tuple(map(float, bounds)), CRS, resolution=RESOLUTION)
    data = odc.stac.load(
        items, bands=[*BANDS, "scl"], geobox=box, groupby="solar_day",
        resampling={"*": "bilinear", "scl": "nearest"},
        chunks={"x": COLS * CHIP, "y": ROWS * CHIP},
    )  # fmt: skip
    chips = cut_all(da.stack([data[band].data for band in BANDS], axis=1))
    classes = cut_all(data["scl"].data[:, None])[:, :, 0]
    valid = (chips != 0).all(axis=2) & ~da.isin(classes, CLOUDS)
    group = zarr.create_group(store)
    targets = []
    for name, array in (("image", chips), ("valid", valid)):
        target = group.create_array(
            name, shape=array.shape, dtype=array.dtype, chunks=(1, *array.shape[1:]),
            shards=(ROWS * COLS, *array.shape[1:]), compressors=CODEC,
        )  # fmt: skip
        targets.append(target)
    with dask.config.set(scheduler="threads", num_workers=int(threads)):
        da.store([chips, valid], targets, lock=False)
    print(json.dumps({"seconds": time.perf_counter() - started, "chips": chips.shape[0]}))


if __name__ == "__main__":
    main()
