"""Radiometric normalisation: what is left of the difference between dates where nothing changed,
and what it does for plain differencing. `make bench`; needs no network."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geom import Geometry

from noise2map_core.catalog.pairing import search_pair
from noise2map_core.catalog.search import search_scenes
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.composite import read_date
from noise2map_core.imagery.pair_plan import PairPlan, plan_pair
from noise2map_core.imagery.pair_quality import normalisation_of, sample_pair
from noise2map_core.imagery.reader import inspect
from noise2map_core.imagery.region import plan_grid
from noise2map_core.learning.baseline import ChangeVectorAnalysis
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.grid import GridConfig
from noise2map_core.settings.imagery import (
    CompositeConfig,
    MaskConfig,
    PairQualityConfig,
    RadiometryConfig,
)
from noise2map_core.testing.exposure import HAZE, SCALE
from noise2map_core.testing.scenes import EmbeddedCatalog, write_catalog

DATA = Path(os.environ.get("NOISE2MAP_DATA", "../shared/data")) / "stac" / "catalog.json"
EARTH = shapely.box(-180, -90, 180, 90)
PAIRS = (
    ("naip-north-dakota", ("red", "green", "blue", "nir"), "2009", "2010"),
    ("naip-north-dakota", ("red", "green", "blue", "nir"), "2014", "2015"),
    ("naip-north-dakota", ("red", "green", "blue", "nir"), "2009", "2020"),
    ("landsat-pucallpa", ("red", "nir08"), "1985", "1990"),
    ("landsat-pucallpa", ("red", "nir08"), "1990", "2020"),
)
METHODS = (
    ("as it is", "off", "irmad"),
    ("IR-MAD", "on", "irmad"),
    ("histogram", "on", "histogram"),
)
HAZY_GAIN, HAZE_SHARE, OFFSET = np.array([0.8, 0.9, 1.0, 1.2, 1.3]), 0.3, 1000.0
"""What is added to the embedded scenes' own light and haze."""

Mask = NDArray[np.bool_]
Numbers = NDArray[np.floating[Any]]


def plan(
    catalog: str,
    collection: str,
    aoi: AreaOfInterest,
    dates: tuple[str, str],
    bands: tuple[str, ...],
    use: str,
    method: str,
) -> tuple[RegionGrid, PairPlan]:
    search = SearchConfig(catalog=catalog, collection=collection)
    before, after = search_pair(search, aoi, *dates, bands)
    grid = plan_grid(aoi, GridConfig(), [*before, *after])
    radiometry = RadiometryConfig.model_validate({"use": use, "method": method})
    return grid, plan_pair(
        before, after, grid, CompositeConfig(), MaskConfig(), PairQualityConfig(), radiometry
    )


def residuals(grid: RegionGrid, plan: PairPlan, invariant: NDArray[np.bool_]) -> list[float]:
    """RMSE per band of the pixels that the estimate calls invariant, read as tiles read them."""
    samples = sample_pair(plan.before, plan.after, grid, plan.recipe, PairQualityConfig())
    before, after = samples.invariant_input()
    return list(np.sqrt(np.square(before - after)[invariant].mean(axis=0)))


def area(catalog: str, collection: str, bands: tuple[str, ...], when: str) -> AreaOfInterest:
    search = SearchConfig(catalog=catalog, collection=collection)
    scenes = search_scenes(search, AreaOfInterest("earth", EARTH), when, bands)
    return AreaOfInterest(collection, shapely.from_wkb(scenes[0].footprint_wkb))


def show_residuals() -> None:
    print(f"{'pair':36} {'':10} RMSE of invariant pixels per band, and in deviations of the band")
    for collection, bands, *dates in PAIRS:
        aoi = area(str(DATA), collection, bands, dates[0])
        grid, raw = plan(str(DATA), collection, aoi, (dates[0], dates[1]), bands, "off", "irmad")
        samples = sample_pair(raw.before, raw.after, grid, raw.recipe, PairQualityConfig())
        light = normalisation_of(samples)
        if light is None:
            print(f"{collection + ' ' + '-'.join(dates):36} the dates do not correlate")
            continue
        spread = samples.invariant_input()[0].std(axis=0)
        for name, use, method in METHODS:
            _, made = plan(str(DATA), collection, aoi, (dates[0], dates[1]), bands, use, method)
            rmse = residuals(grid, made, light.invariant)
            numbers = " ".join(f"{value:6.2f}" for value in rmse)
            shares = " ".join(f"{value:5.2f}" for value in rmse / spread)
            print(f"{collection + ' ' + '-'.join(dates):36} {name:10} {numbers}   ({shares})")


def f1(found: Mask, truth: Mask) -> float:
    hits = int((found & truth).sum())
    return 2 * hits / max(int(found.sum()) + int(truth.sum()), 1)


def best_limit(magnitude: NDArray[np.float32], truth: Mask) -> float:
    limits = np.quantile(magnitude, np.linspace(0.5, 0.999, 200))
    return float(max(limits, key=lambda limit: f1(magnitude >= limit, truth)))


def show_differencing() -> None:
    """A threshold that was found on the pair as it is, used under another light as well."""
    print("\nF1 of plain differencing on the embedded scenes: threshold from the west of the pair")
    print("as it is, scores of the east, as it is, under more haze and another gain, and with")
    print("a sensor's offset that nothing states")
    print(f"{'seed':6} {'':10} {'as it is':>10} {'haze, gain':>10} {'offset':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(2):
            clear = write_catalog(Path(folder) / f"clear{seed}", size_px=640, seed=seed)
            hazy = write_catalog(Path(folder) / f"hazy{seed}", size_px=640, seed=seed)
            more = write_catalog(Path(folder) / f"more{seed}", size_px=640, seed=seed)
            clearer = 1 - HAZE_SHARE
            repaint(hazy, HAZY_GAIN * clearer, HAZE.ravel() * SCALE * HAZE_SHARE)
            repaint(more, np.ones(len(HAZY_GAIN)), np.full(len(HAZY_GAIN), OFFSET))
            for name, use, method in METHODS:
                limit, here = differencing(clear, use, method, None)
                scores = [here, *(differencing(p, use, method, limit)[1] for p in (hazy, more))]
                print(f"{seed:<6} {name:10}" + "".join(f" {f:10.3f}" for f in scores), flush=True)


def repaint(embedded: EmbeddedCatalog, gain: Numbers, added: Numbers) -> None:
    """Give every band of the later date another gain, and an even haze of `added` numbers."""
    for number, band in enumerate(embedded.bands):
        (path,) = embedded.root.glob(f"*/*-after/{band}.tif")
        with rasterio.open(path) as file:
            pixels, profile = file.read(1), file.profile
        seen = pixels * gain[number] + added[number]
        made = np.where(pixels > 0, seen.round().clip(1, 65_535), 0).astype(np.uint16)
        with rasterio.open(path, "w", **{**profile, "driver": "GTiff"}) as file:
            file.write(made, 1)


def differencing(
    embedded: EmbeddedCatalog, use: str, method: str, limit: float | None
) -> tuple[float, float]:
    """The threshold (None: the best of the west) and the F1 in the east."""
    with rasterio.open(embedded.truth) as file:
        truth, outline = file.read(1) == 1, Geometry(shapely.box(*file.bounds), str(file.crs))
    aoi = AreaOfInterest("scene", outline.to_crs("EPSG:4326").geom)
    dates = (embedded.before, embedded.after)
    made = plan(embedded.catalog, embedded.collection, aoi, dates, embedded.bands, use, method)[1]
    geobox = inspect(made.before[0].bands[0]).geobox
    one = read_date(made.before, geobox, made.recipe)
    other = read_date(made.after, geobox, made.recipe, last=True)
    seen = one.valid & other.valid
    west, east = seen.copy(), seen.copy()
    west[:, seen.shape[1] // 2 :] = east[:, : seen.shape[1] // 2] = False
    mean, std = (one.image[:, west].mean(axis=1), one.image[:, west].std(axis=1))
    plain = ChangeVectorAnalysis(np.stack([mean, mean]), np.stack([std, std]))
    magnitude = plain.magnitude(np.stack([one.image, other.image])[None])[0]
    limit = best_limit(magnitude[west], truth[west]) if limit is None else limit
    return limit, f1(magnitude[east] >= limit, truth[east])


if __name__ == "__main__":
    show_residuals()
    show_differencing()
