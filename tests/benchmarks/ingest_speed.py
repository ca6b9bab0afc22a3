"""Speed and memory of ingest against a user's own script, and against its bare parts.

Two dates like Sentinel-2's (scenes of 10980 x 10980 pixels, four bands and the scene classes, COGs
with deflate and overviews) in two neighbouring zones are invented; only the blocks that are needed
hold pixels. Everybody makes the same chips of 256 pixels, clouds masked, with the same codec, on
the same two cores:

- `ingest`: this project; Ray's start, and that of its workers, is told apart;
- `script`: odc-stac, dask and zarr (`rivals/odc_stac_chips.py`), with one thread and with two;
- `bare`: two processes with rasterio's reads of the same windows and zarr's writes of the same
  shards, and nothing else.

    python tests/benchmarks/ingest_speed.py [--rows 10] [--place "one zone"] [--folder DIR]
"""

import itertools
import json
import math
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pystac
import rasterio
import shapely
import tyro
import zarr
from odc.geo.geobox import GeoBox
from odc.geo.geom import box
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.warp import reproject
from rasterio.windows import Window, from_bounds, intersect
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from tests.measure import measured

CHECKOUT = Path(__file__).resolve().parents[2]

SIZE, RES = 10_980, 10.0
BANDS = ("blue", "green", "red", "nir")
WEST_ZONE, EAST_ZONE = ("EPSG:32632", 699_960.0), ("EPSG:32633", 199_980.0)
NORTH = 5_400_000.0
DATES = (datetime(2020, 6, 1, 10, tzinfo=UTC), datetime(2021, 6, 1, 10, tzinfo=UTC))
CHIP, BLOCK = 256, 2048
"""Pixels of a chip; of a block of 8 x 8 chips, anchored at the CRS's origin."""
ROWS, COLS = 1024, 2048
"""Pixels of a shard of 32 chips."""
GRANULES = 3
"""Scenes of a zone and date, from north to south; all have the pixels of the first."""
MAX_ROWS = int(GRANULES * SIZE / BLOCK)
Place = Literal["one zone", "two zones"]
PLACES: dict[Place, tuple[int, int]] = {"one zone": (35, 4), "two zones": (34, 2)}
"""First column of blocks, and how many: where there are western scenes only; and where eastern ones
lie under them, and must help out, for the western ones begin within the first column."""
CLOUDS = (1, 3, 8, 9, 10)
"""Scene classes that are masked."""
RIVAL = Path(__file__).parent / "rivals" / "odc_stac_chips.py"


def main(
    rows: int = MAX_ROWS,
    place: Place | None = None,
    folder: Path | None = None,
    bare: str | None = None,
    ingest: str | None = None,
) -> None:
    """Print one line a way and place, and the ratios.

    Args:
        rows: Rows of blocks of 8 x 8 chips.
        place: One of the two; default: both.
        folder: Where the scenes are kept for another run.
        bare: For the process that is measured.
        ingest: For the process that is measured.
    """
    if bare or ingest:
        run = _run_bare if bare else _run_ingest
        print(json.dumps(run(**json.loads(bare or ingest))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = folder or Path(scratch) / "scenes"
        started = time.perf_counter()
        _generate(folder)
        print(f"scenes made in {time.perf_counter() - started:.0f} s", flush=True)
        for one in [place] if place else PLACES:
            _compare(folder, Path(scratch), one, rows)


def _compare(folder: Path, scratch: Path, place: str, rows: int) -> None:
    columns = PLACES[place][1]
    settings = {"folder": str(folder), "place": place, "rows": rows, "columns": columns}
    ways = {
        "ingest": _own_command("--ingest", settings, scratch / f"{place} ingest"),
        "script, 1 thread": _script_command(folder, scratch / "s1", place, rows, 1),
        "script, 2 threads": _script_command(folder, scratch / "s2", place, rows, 2),
        "bare": _own_command("--bare", settings, scratch / f"{place} bare"),
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
    if place == "one zone":
        _growth(settings, scratch, ingest)


def _growth(settings: dict[str, Any], scratch: Path, large: dict[str, Any]) -> None:
    """Memory of a large area over that of one of a sixteenth or less (at least a block)."""
    part = max(1, settings["rows"] * settings["columns"] // 16)
    small = settings | {"rows": 1, "columns": min(part, settings["columns"])}
    found = _measured(_own_command("--ingest", small, scratch / "growth"))
    print(_line("small area", "ingest", found), flush=True)
    print(
        f"{large['chips'] / found['chips']:.0f} times the area: "
        f"{large['mib'] / found['mib']:.2f} times the memory",
        flush=True,
    )


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
    """The figures that a process prints last, and the peak of its and its children's memory."""
    found = measured(command)
    figures: dict[str, Any] = json.loads(found.out.strip().splitlines()[-1])
    return figures | {"mib": found.mib}


# Scenes.


def _window(place: str, rows: int, columns: int) -> GeoBox:
    """The area: whole blocks of the western zone's grid."""
    first_row = math.ceil(-NORTH / RES / BLOCK)
    x, y = PLACES[place][0] * BLOCK * RES, -first_row * BLOCK * RES
    affine = rasterio.Affine(RES, 0, x, 0, -RES, y)
    return GeoBox((rows * BLOCK, columns * BLOCK), affine, WEST_ZONE[0])


def _path(folder: Path | str, zone: int, granule: int, date: int, name: str) -> Path:
    return Path(folder) / f"{zone}-{granule}-{date}-{name}.tif"


def _generate(folder: Path) -> None:
    """Items and COGs, as far as they are not there; pixels only where an area needs them."""
    if (folder / "stac" / "catalog.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (folder, zone, date, name)
        for zone in range(2)
        for date in range(2)
        for name in (*BANDS, "scl")
    ]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write_cogs, *zip(*jobs, strict=True)))
    items = [_item(folder, *key) for key in itertools.product(range(2), range(GRANULES), range(2))]
    _write_catalog(folder, items)
    for place in PLACES:
        chosen = [item.to_dict() for item in _items_of(place, items)]
        (folder / f"{place}.json").write_text(json.dumps(chosen))


def _write_cogs(folder: Path, zone: int, date: int, name: str) -> None:
    """The file of the northern scene, and of the southern one with the same pixels."""
    crs, x = (WEST_ZONE, EAST_ZONE)[zone]
    step = RES if name != "scl" else 20.0
    size = int(SIZE * RES / step)
    transform = rasterio.Affine(step, 0, x, 0, -step, NORTH)
    pixels = np.zeros((size, size), np.uint8 if name == "scl" else np.uint16)
    texture = _texture(np.random.default_rng([size, len(name), date]), name)
    for place, (_, columns) in PLACES.items():
        bounds = _window(place, MAX_ROWS, columns).extent.to_crs(crs).boundingbox
        window = from_bounds(*bounds.bbox, transform)
        cols = slice(max(0, int(window.col_off) - 64), int(window.col_off + window.width) + 64)
        part = pixels[:, cols]
        repeats = [-(-length // 2048) for length in part.shape]
        part[...] = np.tile(texture, repeats)[: part.shape[0], : part.shape[1]]
    first = _path(folder, zone, 0, date, name)
    profile = {"driver": "GTiff", "height": size, "width": size, "count": 1, "nodata": 0,
               "dtype": pixels.dtype, "crs": crs, "transform": transform, "tiled": True,
               "sparse_ok": True}  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels, 1)
        copy(memory.name, first, driver="COG", compress="DEFLATE", predictor=2, blocksize=1024,
             level=1, overview_resampling="nearest", num_threads=1)  # fmt: skip
    for granule in range(1, GRANULES):
        path = Path(shutil.copy(first, _path(folder, zone, granule, date, name)))
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
            file.transform = rasterio.Affine(step, 0, x, 0, -step, _north(granule))


def _north(granule: int) -> float:
    return NORTH - granule * SIZE * RES


def _texture(rng: np.random.Generator, name: str) -> np.ndarray:
    """Fields, edges and noise that compress about as imagery does."""
    if name == "scl":
        return rng.choice([4, 5, 6], (64, 64)).astype(np.uint8).repeat(32, 0).repeat(32, 1)
    fields = rng.integers(300, 3000, (64, 64)).repeat(32, 0).repeat(32, 1)
    slopes = np.add.outer(np.sin(np.arange(2048) / 90), np.cos(np.arange(2048) / 70)) * 120
    noise = rng.normal(0, 25, (2048, 2048))
    return np.clip(fields + slopes + noise, 1, 9999).astype(np.uint16)


def _item(folder: Path, zone: int, granule: int, date: int) -> pystac.Item:
    crs, x = (WEST_ZONE, EAST_ZONE)[zone]
    north = _north(granule)
    square = box(x, north - SIZE * RES, x + SIZE * RES, north, crs)
    footprint = square.to_crs("EPSG:4326", resolution=10_000).geom
    item = pystac.Item(
        f"scene-{zone}-{granule}-{date}", shapely.geometry.mapping(footprint),
        list(footprint.bounds), DATES[date], {"proj:code": crs, "proj:epsg": int(crs[5:])},
    )  # fmt: skip
    for name in (*BANDS, "scl"):
        path = _path(folder, zone, granule, date, name)
        step = RES if name != "scl" else 20.0
        size = int(SIZE * RES / step)
        extra = {
            "proj:shape": [size, size], "proj:transform": [step, 0, x, 0, -step, north],
            "file:checksum": f"1220{zone}{granule}{date}{name}", "nodata": 0,
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
    return items[: len(items) // 2] if place == "one zone" else items


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


def _own_command(run: str, settings: dict[str, Any], output: Path) -> list[str]:
    return [sys.executable, __file__, run, json.dumps(settings | {"output": str(output)})]


def _run_ingest(folder: str, output: str, place: str, rows: int, columns: int) -> dict[str, float]:
    """Ingest two blocks, so that all workers are started, and then the area."""
    # Not at the top: the bare parts are measured without them.
    from noise2map_core.chips.store import open_store
    from noise2map_core.distributed.cluster.session import ray_session
    from noise2map_core.settings.resources import ResourcesConfig
    from noise2map_core.workflows.ingest_region import IngestRegionConfig
    from pipelines.ingest_region import run

    area = _window(place, rows, columns)
    started = time.perf_counter()
    with ray_session(ResourcesConfig(num_cpus=2)):
        for name, extent in (("start", area[: 2 * BLOCK, :BLOCK]), ("all", area)):
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


def _script_command(folder: Path, output: Path, place: str, rows: int, threads: int) -> list[str]:
    bounds = _window(place, rows, PLACES[place][1]).extent.boundingbox.bbox
    store = output.with_name(f"{place} {output.name}.zarr")
    return [sys.executable, str(RIVAL), str(folder / f"{place}.json"), str(store), str(threads),
            *map(str, bounds)]  # fmt: skip


# The bare parts.


def _run_bare(folder: str, output: str, place: str, rows: int, columns: int) -> dict[str, float]:
    area = _window(place, rows, columns)
    shards = [
        area[row : row + ROWS, col : col + COLS]
        for row in range(0, rows * BLOCK, ROWS)
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
    image = np.stack([_bare_read(folder, date, BANDS, area) for date in range(2)])
    classes = np.stack([_bare_read(folder, date, ("scl",), area) for date in range(2)])
    valid = (image != 0).all(axis=1) & ~np.isin(classes[:, 0], CLOUDS)
    group = zarr.open_group(output, mode="r+")
    for name, values in (("image", image), ("valid", valid)):
        lead = values.shape[:-2]
        cut = values.reshape(*lead, ROWS // CHIP, CHIP, COLS // CHIP, CHIP)
        order = (len(lead), len(lead) + 2, *range(len(lead)), len(lead) + 1, len(lead) + 3)
        array = group[name]
        assert isinstance(array, zarr.Array)
        array[32 * number : 32 * number + 32] = cut.transpose(order).reshape(-1, *lead, CHIP, CHIP)


def _bare_read(folder: str, date: int, names: tuple[str, ...], area: GeoBox) -> np.ndarray:
    """The western scenes' pixels [band, H, W] and, where they have none, the eastern ones'."""
    out = np.zeros((len(names), *area.shape), np.uint8 if names == ("scl",) else np.uint16)
    for granule in range(GRANULES):
        for number, name in enumerate(names):
            _bare_window(_path(folder, 0, granule, date, name), area, out[number])
    empty = np.flatnonzero((out == 0).any(axis=(0, 1)))
    if empty.size:
        place = np.s_[:, empty[0] : empty[-1] + 1]
        for granule in range(GRANULES):
            files = [_path(folder, 1, granule, date, name) for name in names]
            found = _bare_warp(files, area[place])
            part = out[:, *place]
            np.copyto(part, found, where=part == 0)
    return out


def _bare_window(path: Path, area: GeoBox, out: np.ndarray) -> None:
    with rasterio.open(path) as file:
        window = from_bounds(*area.boundingbox.bbox, file.transform)
        scale = int(file.res[0] / RES)
        top, left = round(window.row_off * scale), round(window.col_off * scale)
        first = max(top, 0), max(left, 0)
        stop = (
            min(top + out.shape[0], file.height * scale),
            min(left + out.shape[1], file.width * scale),
        )
        if first[0] >= stop[0] or first[1] >= stop[1]:
            return
        shape = stop[0] - first[0], stop[1] - first[1]
        inside = Window(first[1] / scale, first[0] / scale, shape[1] / scale, shape[0] / scale)
        row, col = first[0] - top, first[1] - left
        out[row : row + shape[0], col : col + shape[1]] = file.read(
            1, window=inside, out_shape=shape
        )


def _bare_warp(paths: list[Path], area: GeoBox) -> np.ndarray:
    """[band, H, W] of files of another zone, in one warp."""
    raw = []
    for path in paths:
        with rasterio.open(path) as file:
            bounds = area.extent.to_crs(str(file.crs)).boundingbox.buffered(60, 60)
            window = from_bounds(*bounds.bbox, file.transform).round_offsets().round_lengths()
            whole = Window(0, 0, file.width, file.height)
            if not intersect(window, whole):
                return np.zeros((len(paths), *area.shape), file.dtypes[0])
            inside = window.intersection(whole)
            raw.append(file.read(1, window=inside))
            transform, crs = file.window_transform(inside), file.crs
    out = np.zeros((len(paths), *area.shape), raw[0].dtype)
    reproject(
        np.stack(raw), out, src_transform=transform, src_crs=crs, dst_transform=area.affine,
        dst_crs=str(area.crs), src_nodata=0, dst_nodata=0,
        resampling=Resampling.bilinear if len(paths) > 1 else Resampling.nearest,
    )  # fmt: skip
    return out


if __name__ == "__main__":
    tyro.cli(main)
