import hashlib
import json
from datetime import datetime
from itertools import product
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from jsonschema import Draft7Validator
from odc.geo.geobox import GeoBox
from pystac.validation import validate_dict
from rio_cogeo import cog_validate
from scipy.ndimage import uniform_filter
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import precision_recall_curve
from threadpoolctl import threadpool_limits

from noise2map_core.catalog.pairing import search_pair
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.composite import read_date
from noise2map_core.imagery.recipe import plan_recipe
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.imagery import CompositeConfig, MaskConfig
from noise2map_core.testing.exposure import expose, is_cloud
from noise2map_core.testing.landscape import build_landscape
from noise2map_core.testing.scenes import EmbeddedCatalog, write_catalog

IGNORE = 255


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedCatalog:
    return write_catalog(tmp_path_factory.mktemp("scene"), size_px=256, seed=3)


@pytest.fixture(scope="module")
def large_scene(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedCatalog:
    return write_catalog(tmp_path_factory.mktemp("large"), size_px=768, seed=0)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def read_bands(scene: EmbeddedCatalog, date: str) -> np.ndarray:
    folder = scene.root / scene.collection / f"{scene.collection}-{date}"
    return np.stack([read(folder / f"{band}.tif") for band in scene.bands])


def read_label(scene: EmbeddedCatalog) -> np.ndarray:
    return read(scene.root / scene.collection / f"{scene.collection}-change" / "change.tif")


def best_f1(truth: np.ndarray, score: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(truth, score)
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-9)).max())


def change_vectors(scene: EmbeddedCatalog) -> np.ndarray:
    """Length of the change vector of bands z-scored per date over observed pixels."""
    known = read_label(scene) != IGNORE
    scored = []
    for date in ("before", "after"):
        bands = read_bands(scene, date).astype(float)
        seen = bands[:, known]
        mean, deviation = seen.mean(axis=1), seen.std(axis=1)
        scored.append((bands - mean[:, None, None]) / deviation[:, None, None])
    return np.linalg.norm(scored[1] - scored[0], axis=0)


def boxes_px(scene: EmbeddedCatalog) -> dict[str, Window]:
    """The one box of each split in pixels of the scene."""
    with rasterio.open(scene.truth) as file:
        inverse = ~file.transform
    windows = {}
    for split, [(west, south, east, north)] in scene.train_boxes.items():
        (col, row), (col_stop, row_stop) = inverse @ (west, north), inverse @ (east, south)
        assert np.allclose([row, col, row_stop, col_stop], np.round([row, col, row_stop, col_stop]))
        windows[split] = Window(
            round(row), round(col), round(row_stop - row), round(col_stop - col)
        )
    return windows


def grid_over(area: Path, scene: EmbeddedCatalog) -> RegionGrid:
    return RegionGrid.covering(read_aoi(area), scene.crs, scene.resolution)


def test_truth_is_where_built_up_land_differs_and_nowhere_else(scene: EmbeddedCatalog) -> None:
    land = build_landscape(np.random.default_rng(3), 256)
    truth = read(scene.truth) == 1
    for layer in (land.plot | land.road, land.roof):
        assert np.array_equal(layer[0][~truth], layer[1][~truth])
    assert ((land.plot | land.road)[0] != (land.plot | land.road)[1])[truth].all()
    assert 0.03 < truth.mean() < 0.2


def test_label_is_the_truth_except_under_nodata_and_cloud(scene: EmbeddedCatalog) -> None:
    label, truth = read_label(scene), read(scene.truth)
    rng = np.random.default_rng(3)
    _, classes = expose(rng, build_landscape(rng, 256))
    clouds = is_cloud(classes)
    nodata = (read_bands(scene, "before") == 0).any(0) | (read_bands(scene, "after") == 0).any(0)
    hidden = clouds.any(axis=0) | nodata
    assert nodata.any()
    assert clouds[0].any()
    assert clouds[1].any()
    assert (label[hidden] == IGNORE).all()
    assert np.array_equal(label[~hidden], truth[~hidden])


def test_auto_masks_hide_opaque_cloud_and_leave_most_of_the_change(scene: EmbeddedCatalog) -> None:
    search = SearchConfig(catalog=scene.catalog, collection=scene.collection)
    dates = search_pair(search, read_aoi(scene.map_aoi), scene.before, scene.after, scene.bands)
    recipe = plan_recipe(CompositeConfig(), MaskConfig(), [*dates[0], *dates[1]])
    with rasterio.open(scene.truth) as file:
        box = GeoBox(file.shape, file.transform, file.crs)
    hidden = [read_date(of_date, box, recipe).masked for of_date in dates]
    for name, masked in zip(("before", "after"), hidden, strict=True):
        opaque = read_bands(scene, name)[:3].min(axis=0) > 5000
        assert opaque.any()
        assert masked[opaque].all()
    change = read(scene.truth) == 1
    assert np.any(hidden, axis=0)[change].mean() < 0.25


def test_nodata_is_a_wedge_of_the_later_date_in_every_band(scene: EmbeddedCatalog) -> None:
    before, after = read_bands(scene, "before"), read_bands(scene, "after")
    assert (before > 0).all()
    assert np.array_equal((after == 0).any(axis=0), (after == 0).all(axis=0))
    missing_per_row = (after == 0).any(axis=0).sum(axis=1)
    assert missing_per_row[0] == 0
    assert missing_per_row[-1] > 20
    assert (np.diff(missing_per_row) >= 0).all()


def test_differencing_does_badly(large_scene: EmbeddedCatalog) -> None:
    known = read_label(large_scene) != IGNORE
    truth = read(large_scene.truth) == 1
    assert best_f1(truth[known], change_vectors(large_scene)[known]) < 0.5


@pytest.mark.slow
def test_textures_tell_the_change_that_differencing_misses(large_scene: EmbeddedCatalog) -> None:
    bands = np.concatenate([read_bands(large_scene, date) for date in ("before", "after")])
    features = []
    for band in bands.astype(np.float32):
        for size in (3, 7, 11):
            mean = uniform_filter(band, size)
            spread = np.sqrt(np.maximum(uniform_filter(band * band, size) - mean * mean, 0))
            features += [mean, spread]
    stack = np.stack(features, axis=-1)
    label = read_label(large_scene)
    west, east = np.zeros_like(label, dtype=bool), label != IGNORE
    box = boxes_px(large_scene)["train"]
    west[box.slices_in(Window(0, 0, *label.shape))] = True
    west &= label != IGNORE
    east[:, : round(0.58 * label.shape[1])] = False
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    with threadpool_limits(1):  # threads that spin for busy cores take minutes
        model.fit(stack[west][::5], label[west][::5])
        learnt = best_f1(label[east] == 1, model.predict_proba(stack[east])[:, 1])
    assert learnt > best_f1(label[east] == 1, change_vectors(large_scene)[east]) + 0.25
    assert learnt > 0.6


def test_same_seed_same_bytes_and_another_seed_another_land(
    scene: EmbeddedCatalog, tmp_path: Path
) -> None:
    again = write_catalog(tmp_path / "again", size_px=256, seed=3)
    names = sorted(path.relative_to(scene.root) for path in scene.root.rglob("*") if path.is_file())
    assert names == sorted(p.relative_to(again.root) for p in again.root.rglob("*") if p.is_file())
    for name in names:
        assert (again.root / name).read_bytes() == (scene.root / name).read_bytes(), name
    other = write_catalog(tmp_path / "other", size_px=256, seed=4)
    assert (read(other.truth) != read(scene.truth)).mean() > 0.02


def test_every_raster_is_a_cog_on_the_grid_of_its_item(scene: EmbeddedCatalog) -> None:
    rasters = sorted(scene.root.rglob("*.tif"))
    assert len(rasters) == 2 * (len(scene.bands) + 1) + 2
    for path in rasters:
        valid, errors, warnings = cog_validate(path, strict=True)
        assert valid, (path, errors, warnings)
        with rasterio.open(path) as file:
            assert file.crs.to_string() == scene.crs
            assert file.res == (scene.resolution, scene.resolution)
            assert file.transform.e < 0, "north is up"


def test_items_say_what_their_files_are(scene: EmbeddedCatalog) -> None:
    items = list(pystac.Catalog.from_file(scene.catalog).get_items(recursive=True))
    assert len(items) == 3
    for item in items:
        for name, asset in item.assets.items():
            path = Path(asset.get_absolute_href() or "")
            content = path.read_bytes()
            assert asset.extra_fields["file:size"] == len(content)
            digest = hashlib.sha256(content).hexdigest()
            assert asset.extra_fields["file:checksum"] == f"1220{digest}"
            with rasterio.open(path) as file:
                assert item.properties["proj:code"] == file.crs.to_string()
                assert item.properties["proj:shape"] == list(file.shape)
                assert item.properties["proj:transform"] == list(file.transform)[:6]
                assert asset.extra_fields["data_type"] == file.dtypes[0]
                assert asset.extra_fields["nodata"] == file.nodata
            if name in scene.bands:
                assert asset.extra_fields["bands"][0]["eo:common_name"] == name


def test_dates_find_their_own_scene(scene: EmbeddedCatalog) -> None:
    catalog = pystac.Catalog.from_file(scene.catalog)
    for date, text in (("before", scene.before), ("after", scene.after)):
        item = next(catalog.get_items(f"{scene.collection}-{date}", recursive=True))
        assert item.datetime is not None
        assert item.datetime.date() == datetime.fromisoformat(text).date()


def test_documents_are_valid_stac(scene: EmbeddedCatalog) -> None:
    for path in scene.root.rglob("*.json"):
        validate_dict(json.loads(path.read_text()), extensions=[])


def test_extension_fields_are_valid(scene: EmbeddedCatalog, real_data: Path) -> None:
    checked = set()
    for path in (scene.root / scene.collection).glob("*/*.json"):
        item = json.loads(path.read_text())
        for uri in item["stac_extensions"]:
            _, _, _, name, version, _ = uri.split("/")
            schema = real_data / "stac_schemas" / f"{name}-{version}.json"
            if schema.exists():
                Draft7Validator(json.loads(schema.read_text())).validate(item)
                checked.add(name)
    assert checked == {"projection", "file", "label"}


def test_no_link_leaves_the_folder(scene: EmbeddedCatalog) -> None:
    for path in scene.root.rglob("*.json"):
        document = json.loads(path.read_text())
        things = [*document["links"], *document.get("assets", {}).values()]
        for href in (thing["href"] for thing in things):
            assert href.startswith(("./", "../")), href
            assert (path.parent / href).resolve().is_relative_to(scene.root.resolve())
            assert (path.parent / href).exists()


@pytest.mark.parametrize("size_px", [256, 768])
def test_areas_cover_whole_pixels_and_the_map_crosses_tiles(
    size_px: int, scene: EmbeddedCatalog, large_scene: EmbeddedCatalog
) -> None:
    found = scene if size_px == 256 else large_scene
    train, mapped = grid_over(found.train_aoi, found), grid_over(found.map_aoi, found)
    for grid in (train, mapped):
        exact = grid.bounds_polygon(grid.region)
        assert exact.symmetric_difference(grid.outline).area < 0.01 * exact.length
    assert mapped.region.col - train.region.col_stop >= 32
    assert min(mapped.shape_tiles) >= 2
    with rasterio.open(found.truth) as file:
        col, row = file.transform.c / found.resolution, -file.transform.f / found.resolution
    whole = Window(round(row), round(col), size_px, size_px)
    for grid, region in product((train, mapped), (train.region, mapped.region)):
        assert region.intersect(whole) == region
        assert whole.row % grid.tile_px and whole.col % grid.tile_px


def test_splits_lie_apart_in_the_training_area(large_scene: EmbeddedCatalog) -> None:
    boxes = boxes_px(large_scene)
    train, val = boxes["train"], boxes["val"]
    assert val.row - train.row_stop >= 16
    area = grid_over(large_scene.train_aoi, large_scene).region
    union = train.union(val)
    assert (union.height, union.width) == (area.height, area.width)
    label = read_label(large_scene)
    for box in boxes.values():
        inside = label[box.slices_in(Window(0, 0, *label.shape))]
        assert (inside == 1).mean() > 0.02
