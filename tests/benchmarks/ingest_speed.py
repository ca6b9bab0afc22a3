"""Speed and memory of ingest against a user's own script, and against its bare parts.

Two dates like Sentinel-2's (10980 x 10980 pixels, four bands and the scene classes, COGs with
deflate and overviews) in two neighbouring zones are invented; only the blocks that are needed are
on disk. Everybody makes the same chips of 256 pixels with the same codec, on the same two cores:

- `ingest`: this project; Ray's start, and that of its workers, is told apart;
- `script`: odc-stac, dask and zarr (`rivals/odc_stac_chips.py`), with one thread and with two;
- `bare`: two processes with rasterio's reads of the same windows and zarr's writes of the same
  shards, and nothing else.

    python tests/benchmarks/ingest_speed.py [--blocks 5] [--folder DIR]
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pystac
import rasterio
import shapely
import zarr
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, box
from rasterio.enums import Resampling
from rasterio.shutil import copy
from rasterio.warp import reproject
from rasterio.windows import Window, from_bounds
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

SIZE, RES = 10_980, 10.0
BANDS = ("blue", "green", "red", "nir")
WEST_ZONE, EAST_ZONE = ("EPSG:32632", 699_960.0), ("EPSG:32633", 199_980.0)
NORTH = 5_400_000.0
DATES = (datetime(2020, 6, 1, 10, tzinfo=UTC), datetime(2021, 6, 1, 10, tzinfo=UTC))
CHIP, BLOCK = 256, 2048
"""Pixels of a chip; of a block of 8 x 8 chips, anchored at the CRS's origin."""
ROWS, COLS = 1024, 2048
"""Pixels of a shard of 32 chips."""
PLACES = {"one zone": 35, "two zones": 34}
"""First column of blocks: one that the western scenes cover whole and, of their neighbours in the
catalogue too, one where the eastern scenes must help out, for the western ones begin within it."""
RIVAL = Path(__file__).parent / "rivals" / "odc_stac_chips.py"


def main() -> None:
    """Print one line a way and place, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5, help="rows of blocks of 8 x 8 chips")
    parser.add_argument("--columns", type=int, default=2, help="columns of blocks")
    parser.add_argument("--folder", type=Path, help="where the scenes are kept for another run")
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    parser.add_argument("--ingest", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare or args.ingest:
        run = _run_bare if args.bare else _run_ingest
        print(json.dumps(run(**json.loads(args.bare or args.ingest))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "scenes"
        started = time.perf_counter()
        _generate(folder, args.blocks, args.columns)
        print(f"scenes made in {time.perf_counter() - started:.0f} s", flush=True)
        for place in PLACES:
            _compare(folder, Path(scratch), place, args.blocks, args.columns)
        _growth(folder, Path(scratch), args.blocks, args.columns)


def _compare(folder: Path, scratch: Path, place: str, blocks: int, columns: int) -> None:
    ways = {
        "ingest": _ingest_command(folder, scratch / f"{place} ingest", place, blocks, columns),
        "script, 1 thread": _script_command(folder, scratch / "s1", place, blocks, columns, 1),
        "script, 2 threads": _script_command(folder, scratch / "s2", place, blocks, columns, 2),
        "bare": _bare_command(folder, scratch / f"{place} bare", place, blocks, columns),
    }
    found = {}
    for way, command in ways.items():
        found[way] = _measured(command)
        print(_line(place, way, found[way]), flush=True)
    script = min((found[way] for way in found if way.startswith("script")), key=_seconds)
    ingest, bare = found["ingest"], found["bare"]
    more = ingest["mib"] - script["mib"]
    print(
        f"{place}: {_rate(ingest) / _rate(script):.2f} times the script's chips a second, "
        f"{_seconds(ingest) / _seconds(bare):.2f} times the bare parts' time; resident memory is "
        f"the script's {more:+.0f} MiB",
        flush=True,
    )


def _growth(folder: Path, scratch: Path, blocks: int, columns: int) -> None:
    """Memory of a large area over that of one of a sixteenth (at least a block)."""
    part = max(1, math.ceil(blocks * columns / 16))
    sizes = [(part, 1), (blocks, columns)]
    peaks = []
    for rows, cols in sizes:
        output = scratch / f"growth-{rows}-{cols}"
        found = _measured(_ingest_command(folder, output, "one zone", rows, cols))
        peaks.append(found["mib"])
        print(_line(f"{rows * cols} blocks", "ingest", found), flush=True)
    area = blocks * columns / part
    print(f"{area:.0f} times the area: {peaks[1] / peaks[0]:.2f} times the memory", flush=True)


def _seconds(figures: dict[str, Any]) -> float:
    return float(figures["seconds"])


def _rate(figures: dict[str, Any]) -> float:
    return float(figures["chips"]) / _seconds(figures)


def _line(place: str, way: str, figures: dict[str, Any]) -> str:
    start = f" after {figures['start']:.1f} s of start" if "start" in figures else ""
    return (
        f"{place:>10}, {way:<18} {figures['chips']:>6,} chips in {_seconds(figures):6.1f} s{start}:"
        " "
        f"{_rate(figures):6.1f} chips/s; {figures['mib']:,.0f} MiB resident"
    )


def _measured(command: list[str]) -> dict[str, Any]:
    """The figures that a process prints last, and the peak of its and its children's memory.

    Pages that processes share (the object store of Ray above all) are not counted.
    """
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_uss(one) for one in _family(process)))
        time.sleep(0.5)
    out, error = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {error[-2000:]}")
    figures: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return figures | {"mib": peak / 2**20}


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _uss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return 0


# Scenes.


def _window(place: str, blocks: int, columns: int) -> GeoBox:
    """The area: whole blocks of the western zone's grid."""
    first_row = math.ceil(-NORTH / RES / BLOCK)
    x, y = PLACES[place] * BLOCK * RES, -first_row * BLOCK * RES
    affine = rasterio.Affine(RES, 0, x, 0, -RES, y)
    return GeoBox((blocks * BLOCK, columns * BLOCK), affine, WEST_ZONE[0])


def _generate(folder: Path, blocks: int, columns: int) -> None:
    """Items and COGs, as far as they are not there; pixels only where an area needs them."""
    if (folder / "stac" / "catalog.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    areas = [_window(place, blocks, columns).extent for place in PLACES]
    jobs = [
        (folder / f"{zone}-{date}-{name}.tif", crs, x, RES if name != "scl" else 20.0, name, areas)
        for zone, (crs, x) in enumerate((WEST_ZONE, EAST_ZONE))
        for date in range(2)
        for name in (*BANDS, "scl")
    ]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write_cog, *zip(*jobs, strict=True)))
    items = [_item(folder, zone, date) for zone in range(2) for date in range(2)]
    _write_catalog(folder, items)
    for place in PLACES:
        chosen = [item.to_dict() for item in _items_of(place, items)]
        (folder / f"{place}.json").write_text(json.dumps(chosen))


def _write_cog(
    path: Path, crs: str, x: float, resolution: float, name: str, areas: list[Geometry]
) -> None:
    size = int(SIZE * RES / resolution)
    pixels = np.zeros((size, size), np.uint8 if name == "scl" else np.uint16)
    transform = rasterio.Affine(resolution, 0, x, 0, -resolution, NORTH)
    rng = np.random.default_rng([size, len(name), ord(path.name[2])])
    texture = _texture(rng, name)
    for area in areas:
        bounds = area.to_crs(crs).boundingbox
        window = from_bounds(*bounds.bbox, transform)
        row, col = max(0, int(window.row_off) - 64), max(0, int(window.col_off) - 64)
        stop = int(window.row_off + window.height) + 64, int(window.col_off + window.width) + 64
        part = pixels[row : stop[0], col : stop[1]]
        repeats = [-(-part.shape[axis] // 2048) for axis in range(2)]
        part[...] = np.tile(texture, repeats)[: part.shape[0], : part.shape[1]]
    raw = path.with_suffix(".raw.tif")
    profile = {"driver": "GTiff", "height": size, "width": size, "count": 1, "nodata": 0,
               "dtype": pixels.dtype, "crs": crs, "transform": transform, "tiled": True,
               "sparse_ok": True}  # fmt: skip
    with rasterio.open(raw, "w", **profile) as file:
        file.write(pixels, 1)
    copy(raw, path, driver="COG", compress="DEFLATE", predictor=2, blocksize=1024, level=6,
         overview_resampling="nearest", num_threads=1)  # fmt: skip
    raw.unlink()


def _texture(rng: np.random.Generator, name: str) -> np.ndarray:
    """Fields, edges and noise that compress about as imagery does."""
    if name == "scl":
        return rng.choice([4, 5, 6], (64, 64)).astype(np.uint8).repeat(32, 0).repeat(32, 1)
    fields = rng.integers(300, 3000, (64, 64)).repeat(32, 0).repeat(32, 1)
    slopes = np.add.outer(np.sin(np.arange(2048) / 90), np.cos(np.arange(2048) / 70)) * 120
    noise = rng.normal(0, 25, (2048, 2048))
    return np.clip(fields + slopes + noise, 1, 9999).astype(np.uint16)


def _item(folder: Path, zone: int, date: int) -> pystac.Item:
    crs, x = (WEST_ZONE, EAST_ZONE)[zone]
    square = box(x, NORTH - SIZE * RES, x + SIZE * RES, NORTH, crs)
    footprint = square.to_crs("EPSG:4326", resolution=10_000).geom
    item = pystac.Item(
        f"scene-{zone}-{date}", shapely.geometry.mapping(footprint), list(footprint.bounds),
        DATES[date], {"proj:code": crs, "proj:epsg": int(crs[5:])},
    )  # fmt: skip
    for name in (*BANDS, "scl"):
        path = folder / f"{zone}-{date}-{name}.tif"
        step = RES if name != "scl" else 20.0
        size = int(SIZE * RES / step)
        extra = {
            "proj:shape": [size, size], "proj:transform": [step, 0, x, 0, -step, NORTH],
            "file:checksum": f"1220{zone}{date}{name}", "nodata": 0,
            "raster:bands": [{"nodata": 0, "data_type": "uint8" if name == "scl" else "uint16"}],
        }  # fmt: skip
        item.add_asset(name, pystac.Asset(str(path), roles=["data"], extra_fields=extra,
                       media_type=pystac.MediaType.COG))  # fmt: skip
    item.stac_extensions = [
        "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
        "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    ]
    return item


def _items_of(place: str, items: list[pystac.Item]) -> list[pystac.Item]:
    return items[:2] if place == "one zone" else items


def _write_catalog(folder: Path, items: list[pystac.Item]) -> None:
    extent = pystac.Extent(
        pystac.SpatialExtent([[5.0, 40.0, 15.0, 50.0]]), pystac.TemporalExtent([list(DATES)])
    )
    catalog = pystac.Catalog("bench", "Invented scenes")
    for place in PLACES:
        collection = pystac.Collection(place, "Invented scenes", extent, license="CC0-1.0")
        collection.add_items([item.clone() for item in _items_of(place, items)])
        catalog.add_child(collection)
    catalog.normalize_and_save(str(folder / "stac"), pystac.CatalogType.SELF_CONTAINED)


# This project.


def _ingest_command(folder: Path, output: Path, place: str, blocks: int, columns: int) -> list[str]:
    settings = {"folder": str(folder), "output": str(output), "place": place, "blocks": blocks,
                "columns": columns}  # fmt: skip
    return [sys.executable, __file__, "--ingest", json.dumps(settings)]


def _run_ingest(
    folder: str, output: str, place: str, blocks: int, columns: int
) -> dict[str, float]:
    """Ingest one shard, so that all is started, and then the area."""
    from noise2map_core.distributed.config import ResourcesConfig
    from noise2map_core.distributed.session import ray_session
    from noise2map_core.imagery.chip_store import open_store

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # applications are not installed
    from pipelines.ingest_region import IngestRegionConfig, run

    area = _window(place, blocks, columns)
    started = time.perf_counter()
    with ray_session(ResourcesConfig(num_cpus=2)):
        for name, extent in (("start", area[:ROWS, :COLS]), ("all", area)):
            aoi = Path(output).with_suffix(f".{name}.geojson")
            shape = extent.extent.to_crs("EPSG:4326", resolution=1000).geom
            aoi.write_text(json.dumps(shapely.geometry.mapping(shape)))
            config = IngestRegionConfig.model_validate({
                "aoi": aoi, "output": f"{output}.{name}.zarr",
                "search": {"catalog": f"{folder}/stac/catalog.json", "collection": place,
                           "bands": BANDS},
                "before": "2020", "after": "2021",
                "grid": {"crs": WEST_ZONE[0], "resolution": RES},
                "chips": {"chip_px": CHIP, "stride_px": CHIP},
            })  # fmt: skip
            begun = time.perf_counter()
            run(config)
    seconds = time.perf_counter() - begun
    chips = open_store(config.output).num_chips
    return {"seconds": seconds, "chips": chips, "start": begun - started}


# The script.


def _script_command(
    folder: Path, output: Path, place: str, blocks: int, columns: int, threads: int
) -> list[str]:
    bounds = _window(place, blocks, columns).extent.boundingbox.bbox
    store = output.with_name(f"{place} {output.name}.zarr")
    return [sys.executable, str(RIVAL), str(folder / f"{place}.json"), str(store), str(threads),
            *map(str, bounds)]  # fmt: skip


# The bare parts.


def _bare_command(folder: Path, output: Path, place: str, blocks: int, columns: int) -> list[str]:
    settings = {"folder": str(folder), "output": str(output), "place": place, "blocks": blocks,
                "columns": columns}  # fmt: skip
    return [sys.executable, __file__, "--bare", json.dumps(settings)]


def _run_bare(folder: str, output: str, place: str, blocks: int, columns: int) -> dict[str, float]:
    area = _window(place, blocks, columns)
    shards = [
        area[row : row + ROWS, col : col + COLS]
        for row in range(0, blocks * BLOCK, ROWS)
        for col in range(0, columns * BLOCK, COLS)
    ]
    codec = [BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle), Crc32cCodec()]
    group = zarr.create_group(output)
    chips = 32 * len(shards)
    for name, shape, dtype in (
        ("image", (chips, 2, len(BANDS), CHIP, CHIP), "uint16"),
        ("valid", (chips, 2, CHIP, CHIP), "bool"),
    ):
        group.create_array(name, shape=shape, dtype=dtype, chunks=(1, *shape[1:]),
                           shards=(32, *shape[1:]), compressors=codec)  # fmt: skip
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_nothing, range(2)))
        started = time.perf_counter()
        jobs = ((folder, output, number, shard) for number, shard in enumerate(shards))
        list(pool.map(_bare_shard, *zip(*jobs, strict=True)))
    return {"seconds": time.perf_counter() - started, "chips": chips}


def _nothing(number: int) -> None:
    time.sleep(0.5)


def _bare_shard(folder: str, output: str, number: int, area: GeoBox) -> None:
    pixels = np.stack([list(_bare_bands(folder, date, area)) for date in range(2)])
    valid = (pixels != 0).all(axis=1)
    group = zarr.open_group(output, mode="r+")
    for name, values in (("image", pixels), ("valid", valid)):
        lead = values.shape[:-2]
        cut = values.reshape(*lead, ROWS // CHIP, CHIP, COLS // CHIP, CHIP)
        order = (len(lead), len(lead) + 2, *range(len(lead)), len(lead) + 1, len(lead) + 3)
        array = group[name]
        assert isinstance(array, zarr.Array)
        array[32 * number : 32 * number + 32] = cut.transpose(order).reshape(-1, *lead, CHIP, CHIP)


def _bare_bands(folder: str, date: int, area: GeoBox) -> Iterator[np.ndarray]:
    """The western scene's pixels and, where it has none, the eastern one's."""
    for name in BANDS:
        out = np.zeros(area.shape, np.uint16)
        with rasterio.open(f"{folder}/0-{date}-{name}.tif") as file:
            window = from_bounds(*area.boundingbox.bbox, file.transform).round_offsets()
            inside = window.intersection(Window(0, 0, file.width, file.height))
            row, col = (int(inside.row_off - window.row_off), int(inside.col_off - window.col_off))
            part = out[row : row + int(inside.height), col : col + int(inside.width)]
            part[...] = file.read(1, window=inside)
        if not out.all():
            with rasterio.open(f"{folder}/1-{date}-{name}.tif") as file:
                bounds = area.extent.to_crs(str(file.crs)).boundingbox.buffered(30, 30)
                window = from_bounds(*bounds.bbox, file.transform).round_offsets().round_lengths()
                inside = window.intersection(Window(0, 0, file.width, file.height))
                raw, other = file.read(1, window=inside), np.zeros(area.shape, np.uint16)
                reproject(
                    raw, other, src_transform=file.window_transform(inside), src_crs=file.crs,
                    dst_transform=area.affine, dst_crs=str(area.crs), src_nodata=0, dst_nodata=0,
                    resampling=Resampling.bilinear,
                )  # fmt: skip
            np.copyto(out, other, where=out == 0)
        yield out


if __name__ == "__main__":
    main()
