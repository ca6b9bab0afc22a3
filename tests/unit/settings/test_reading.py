"""Every setting, in every branch of the others, does something or is refused.

A field that is added to an application's settings has to be given a value here, and has to move
what the application plans, reads or writes in each branch, unless the branch refuses it.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pydantic import BaseModel, ValidationError
from scipy.ndimage import gaussian_filter

from noise2map_core.chips.ingest import plan_ingest
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.inference.model import read_model
from noise2map_core.inference.numeric_path import resolve_numeric_path
from noise2map_core.inference.planning import plan_job, plan_pixels
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.chips import ChipsConfig
from noise2map_core.settings.detector import DetectorConfig
from noise2map_core.settings.grid import GridConfig
from noise2map_core.settings.imagery import (
    CompositeConfig,
    MapMaskConfig,
    PairQualityConfig,
    RadiometryConfig,
    SceneMaskConfig,
)
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.labels import BlockSplit, PolygonLabels, RasterLabels, SplitConfig
from noise2map_core.settings.products import ProductsConfig
from noise2map_core.settings.resources import ClusterConfig, ResourcesConfig
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from tests.factories import checkpoint_spec, task_spec
from tests.raster_factories import frame, noise, write_tif

SIDE = 144
BOX = frame(SIDE, SIDE)
YEARS = (2020, 2021)


@dataclass(frozen=True)
class World:
    """A catalogue with two dates, masks of the sensor, and labels of all kinds."""

    folder: Path

    def name(self, file: str) -> str:
        """A file's path."""
        return str(self.folder / file)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    outline = shapely.geometry.mapping(BOX.geographic_extent.geom)
    (folder / "aoi.geojson").write_text(json.dumps(outline))
    inner = shapely.geometry.mapping(BOX.geographic_extent.geom.buffer(-1e-4))
    (folder / "smaller.geojson").write_text(json.dumps(inner))
    for collection, masked in (("masked", True), ("plain", False), ("other", True)):
        _write_collection(folder / collection, outline, masked)
    children = [
        {"rel": "child", "href": f"./{name}/collection.json"}
        for name in ("masked", "plain", "other")
    ]
    about = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d"}
    for name in ("catalog", "copy"):
        (folder / f"{name}.json").write_text(json.dumps(about | {"links": children}))
    classes = np.indices((SIDE, SIDE))[1] // 24  # 0 to 5
    for number, year in enumerate(YEARS):
        write_tif(
            folder / f"classes{year}.tif", np.roll(classes, 20 * number).astype(np.uint8), BOX
        )
        _write_land(folder, year, shift=70.0 * number)
    halves = np.array(["train", "val"])
    x0, y0 = BOX.affine @ (0, 0)
    boxes = [shapely.box(x0, y0 - 440, x0 + 960, y0), shapely.box(x0, y0 - 960, x0 + 960, y0 - 640)]
    split = {"split": halves, "part": halves[::-1]}
    gpd.GeoDataFrame(split, geometry=boxes, crs=str(BOX.crs)).to_file(folder / "split.gpkg")
    gpd.GeoDataFrame(geometry=boxes[:1], crs=str(BOX.crs)).to_file(folder / "train.gpkg")
    gpd.GeoDataFrame(geometry=boxes[1:], crs=str(BOX.crs)).to_file(folder / "val.gpkg")
    return World(folder)


def _write_land(folder: Path, year: int, shift: float) -> None:
    x0, y0 = BOX.affine @ (0, 0)
    x0 += shift
    boxes = [shapely.box(x0 + 150 * n, y0 - 700, x0 + 150 * n + 90, y0 - 90) for n in range(4)]
    kinds = ["road", "house", "road", None]
    table = gpd.GeoDataFrame({"kind": kinds, "use": kinds[::-1]}, geometry=boxes, crs=str(BOX.crs))
    table.to_file(folder / f"land{year}.gpkg", layer="land")
    table.iloc[:2].to_file(folder / f"land{year}.gpkg", layer="less")
    table.to_file(folder / f"one{year}.gpkg")


def _write_collection(folder: Path, outline: Any, masked: bool) -> None:
    folder.mkdir()
    items = []
    rough = noise(SIDE, SIDE, "float64", seed=len(folder.name))
    ground = 200 + 20 * gaussian_filter(rough, 3, mode="wrap")
    for number, year in enumerate(YEARS):
        pixels = {"red": ground, "green": ground // 2 + noise(SIDE, SIDE, "float64", seed=8)}
        after = {name: np.roll(band, number) + 400 * number for name, band in pixels.items()}
        after["red"][-number * 5 :, :40] *= 1 - number
        for name, band in after.items():
            write_tif(folder / f"{name}{year}.tif", band.astype(np.uint16), BOX, nodata=0)
        scl = np.where(np.indices((SIDE, SIDE))[0] < 9, 8, 4).astype(np.uint8)
        write_tif(folder / f"scl{year}.tif", scl, BOX)
        names = ("red", "green", "scl") if masked else ("red", "green")
        assets = {name: {"href": f"./{name}{year}.tif"} for name in names}
        assets["change"] = {"href": f"../classes{year}.tif"}
        assets["land"] = {"href": f"../one{year}.gpkg"}
        items.append({
            "type": "Feature", "stac_version": "1.0.0", "id": f"i{year}", "geometry": outline,
            "properties": {
                "datetime": f"{year}-06-0{1 + number}T10:00:00Z", "eo:cloud_cover": number,
            },
            "links": [], "assets": assets, "collection": folder.name,
        })  # fmt: skip
        (folder / f"i{year}.json").write_text(json.dumps(items[-1]))
    links = [{"rel": "item", "href": f"./i{year}.json"} for year in YEARS]
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    (folder / "collection.json").write_text(json.dumps({
        "type": "Collection", "stac_version": "1.0.0", "id": folder.name, "description": "d",
        "license": "CC0-1.0", "extent": extent, "links": links,
    }))  # fmt: skip


def other_precision() -> str:
    """Than what this machine chooses by itself."""
    return "fp32" if resolve_numeric_path(InferenceConfig(), 0.0).dtype == "bfloat16" else "bf16"


Way = tuple[str, ...]
Value = Callable[[World], Any] | Any

PROBES: dict[str, list[Value]] = {
    "IngestRegionConfig.aoi": [lambda w: w.name("smaller.geojson")],
    "IngestRegionConfig.place": ["elsewhere"],
    "IngestRegionConfig.before": ["2019", None, "2021"],
    "IngestRegionConfig.after": ["2022", "2020"],
    "InferRegionConfig.aoi": [lambda w: w.name("smaller.geojson")],
    "InferRegionConfig.task": ["segment"],
    "InferRegionConfig.before": ["2021", "2019"],
    "InferRegionConfig.after": ["2020"],
    "SearchConfig.collection": ["other", "nothing"],
    "SearchConfig.bands": [("green",), ("green", "red")],
    "SearchConfig.filter": ["eo:cloud_cover > 50"],
    "GridConfig.crs": ["EPSG:32632"],
    "GridConfig.resolution": [20.0],
    "GridConfig.tile_px": [32],
    "GridConfig.origin": [(5.0, 5.0)],
    "ChipsConfig.chip_px": [32],
    "ChipsConfig.stride_px": [16],
    "ChipsConfig.resampling": ["cubic"],
    "CompositeConfig.kind": ["median", "least_cloud"],
    "CompositeConfig.before": ["median", "least_cloud"],
    "SceneMaskConfig.use": ["off"],
    "SceneMaskConfig.scl_classes": [(4,)],
    "SceneMaskConfig.qa_bits": [(3,)],
    "SceneMaskConfig.dilate_px": [5],
    "SceneMaskConfig.detector": ["ukis-csmask"],
    "SceneMaskConfig.detector_level": ["l1c"],
    "SceneMaskConfig.detector_scale": [0.1],
    "MapMaskConfig.use": ["off"],
    "MapMaskConfig.scl_classes": [(4,)],
    "MapMaskConfig.qa_bits": [(3,)],
    "MapMaskConfig.dilate_px": [5],
    "MapMaskConfig.detector": ["ukis-csmask"],
    "MapMaskConfig.detector_level": ["l1c"],
    "MapMaskConfig.detector_scale": [0.1],
    "PairQualityConfig.action": ["off"],
    "PairQualityConfig.windows": [1],
    "PairQualityConfig.window_px": [80],
    "PairQualityConfig.warn_shift_px": [9.0],
    "PairQualityConfig.reject_shift_px": [1e-9],
    "PairQualityConfig.warn_radiometry": [99.0],
    "PairQualityConfig.warn_overlap": [0.9999],
    "PairQualityConfig.reject_overlap": [1.0],
    "PairQualityConfig.warn_sun_deg": [1e-9],
    "PairQualityConfig.warn_season_days": [1e-9],
    "RadiometryConfig.use": ["on"],
    "RadiometryConfig.method": ["histogram"],
    "RadiometryConfig.correct_shift": ["on"],
    "RasterLabels.task": ["change", "segment", "both"],
    "RasterLabels.asset": [None],
    "RasterLabels.path": [lambda w: w.name("classes2020.tif"), None],
    "RasterLabels.before": [lambda w: w.name("classes2020.tif"), None],
    "RasterLabels.changed": [(2,)],
    "RasterLabels.unchanged": [(3,)],
    "RasterLabels.classes": [{"a": (1,), "b": (2, 3)}],
    "RasterLabels.ignored": [(5,)],
    "RasterLabels.attribution": ["mine"],
    "PolygonLabels.task": ["change", "segment", "both"],
    "PolygonLabels.asset": [None],
    "PolygonLabels.path": [lambda w: w.name("one2020.gpkg"), None],
    "PolygonLabels.before": [lambda w: w.name("one2020.gpkg"), None],
    "PolygonLabels.layer": ["less", "nothing"],
    "PolygonLabels.column": ["use", "nothing", None],
    "PolygonLabels.classes": [("house",)],
    "PolygonLabels.unchanged": [("house",)],
    "PolygonLabels.background": ["elsewhere"],
    "PolygonLabels.attribution": ["mine"],
    "SplitConfig.buffer_px": [20],
    "SplitConfig.boxes": [{"train": ((500_000, 4_999_500, 500_400, 5_000_000),)}],
    "SplitConfig.blocks": [{"side_px": 48}],
    "SplitConfig.areas": [lambda w: {"train": w.name("train.gpkg")}],
    "SplitConfig.file": [lambda w: w.name("train.gpkg"), None],
    "SplitConfig.column": ["part", "nothing"],
    "BlockSplit.side_px": [40],
    "BlockSplit.fractions": [{"train": 0.5, "val": 0.5}],
    "BlockSplit.seed": [1],
    "DetectorConfig.false_alarms": [0.1],
    "InferenceConfig.compare": ["maps"],
    "InferenceConfig.stride_px": [8],
    "InferenceConfig.timesteps": [(500,)],
    "InferenceConfig.disagreement": ["timesteps", "order", "flips"],
    "InferenceConfig.disagreement_timesteps": [(500, 600)],
    "InferenceConfig.precision": [lambda _: other_precision()],
    "InferenceConfig.engine": ["openvino"],
    "InferenceConfig.batch": [3],
    "InferenceConfig.threads": [2],
    "InferenceConfig.device": ["cuda"],
    "InferenceConfig.graphs": ["on"],
    "ProductsConfig.threshold": [0.4],
}
"""Other values of every field, by its class and name; each is tried in every branch."""

ELSEWHERE = {
    "SearchConfig.catalog": "where items are: a copy of it gives the same",
    "SearchConfig.alternate": "where files are: tests of alternate addresses",
    "SearchConfig.allow_hosts": "what a catalogue on the web may link to: tests of links",
    "IngestRegionConfig.output": "where, not what",
    "InferRegionConfig.output": "where, not what",
    "InferRegionConfig.checkpoint": "another model: tests of checkpoints",
    "InferRegionConfig.overwrite": "whether another output may go: tests of infer-region",
    "InferRegionConfig.allow_incomplete": "what becomes of holes: tests of infer-region",
    "ClusterConfig.address": "where it is computed: tests of sessions",
    "ClusterConfig.num_cpus": "where it is computed: tests of sessions",
    "SearchConfig.patience_s": "how long busy servers are waited for: tests of remote files",
    "GridConfig.allow_upsampling": "whether finer pixels are refused: tests of grids",
    "ClusterConfig.reader_cpus": "how fast",
    "ClusterConfig.reader_memory_gb": "how many at once: tests of memory",
    "ResourcesConfig.address": "where it is computed: tests of sessions",
    "ResourcesConfig.num_cpus": "where it is computed: tests of sessions",
    "ResourcesConfig.reader_cpus": "how fast",
    "ResourcesConfig.reader_memory_gb": "how many at once: tests of memory",
    "ResourcesConfig.predictor_memory_gb": "how many at once: tests of memory",
    "ResourcesConfig.predictors": "how fast: tests of infer-region",
    "ResourcesConfig.predictor_cpus": "how fast",
    "ResourcesConfig.predictor_gpus": "where it is computed: tests of numeric paths",
    "ResourcesConfig.predictor_gpu_type": "where it is computed: tests of GPUs",
    "ResourcesConfig.tiles_per_task": "how fast: tests of infer-region",
    "MapMaskConfig.suspect": "clouds where there are no masks: tests of suspicion and planning",
    "ProductsConfig.min_area_px": "polygons: tests of products",
    "ProductsConfig.min_area_m2": "polygons: tests of products",
    "ProductsConfig.simplify_m": "polygons: tests of products",
    "ProductsConfig.evidence": "further rasters: tests of products",
    "ProductsConfig.collection": "a list of maps: tests of products",
    "ProductsConfig.geoparquet": "polygons: tests of products",
    "ProductsConfig.vector_tiles": "a file: tests of products",
    "ProductsConfig.quicklook_px": "a picture: tests of products",
}
"""Fields that do not move what is planned, and where it is tested what they do."""

BY_DATA = {
    ("SceneMaskConfig.qa_bits", "masked"): "the masks of these scenes are scene classes",
    ("MapMaskConfig.qa_bits", "masked"): "the masks of these scenes are scene classes",
    ("MapMaskConfig.use", "plain"): "off is what auto comes to without masks",
    ("SceneMaskConfig.use", "plain"): "off is what auto comes to without masks",
    ("RadiometryConfig.use", "auto"): "on does what auto does: the light differs by far",
    ("RadiometryConfig.correct_shift", "auto"): "on does what auto does: they lie apart",
}
"""What has no effect in this collection, or in place of this value, and would on other scenes."""


def leaves(settings: BaseModel, path: Way = ()) -> Iterator[tuple[str, Way]]:
    """Class and name of every field that holds no further section, and the way to it."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, name))
        elif len(get_args(type(settings).model_fields[name].annotation)) != 1:
            yield f"{type(settings).__name__}.{name}", (*path, name)


def _at(settings: Any, path: Way) -> Any:
    for name in path:
        settings = getattr(settings, name)
    return settings


def with_value(settings: BaseModel, path: Way, value: Any) -> BaseModel:
    document = settings.model_dump()
    section = document
    for name in path[:-1]:
        section = section[name]
    section[path[-1]] = value
    return type(settings)(**document)


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def made(config: IngestRegionConfig) -> dict[str, str]:
    """What an ingest will make, by the sections of the settings that ought to move it."""
    plan = plan_ingest(config)
    table, strange = plan.table()
    labels, grid = plan.ingest.labels, plan.ingest.grid
    read = labels.read(grid.geobox(grid.region)) if labels is not None else {}
    pixels = {name: values.tobytes() for name, values in read.items()}
    said = digest(pixels, plan.header.classes, plan.header.labels_from, strange)
    places = digest(table.clip.tolist(), table.split.tolist(), plan.header.buffer_px)
    whole = digest(plan.header.key, plan.ingest.quality, plan.warnings)
    return {"labels": said, "split": places, "": whole}


def mapped(config: InferRegionConfig) -> dict[str, str]:
    """What a map will be made of."""
    spec = read_model(config.checkpoint, config.search.bands, config)
    job = plan_job(config, spec, read_aoi(config.aoi))
    keys = [job.key(tile) for tile in job.grid.tiles()]
    pair = plan_pixels(config, job.before, job.after, job.grid, report=True)
    quality = pair.quality.as_dict() if pair.quality else None
    threshold = config.products.threshold
    return {"": digest(keys, job.evidence, job.layers, quality, pair.warnings, threshold)}


def without_effect(
    base: BaseModel,
    world: World,
    result: Callable[[Any], dict[str, str]],
    sections: Collection[str] = (),
) -> list[str]:
    """Fields with a value that neither moves what is made nor is refused; of all sections, or of
    some."""
    before, found = result(base), []
    for field, path in leaves(base):
        if field in ELSEWHERE or (sections and path[0] not in sections):
            continue
        assert field in PROBES, f"{field} is new: give it another value in PROBES"
        section = path[0] if path[0] in before else ""
        here = (str(_at(base, path)), _at(base, ("search", "collection")))
        if any(name == field and where in here for name, where in BY_DATA):
            continue
        for given in PROBES[field]:
            value = given(world) if callable(given) else given
            try:
                config = with_value(base, path, value)
                if config == base or result(config)[section] != before[section]:
                    continue
            except (Noise2MapError, ValidationError):
                continue
            found.append(f"{'.'.join(path)} = {value!r}")
    return found


ONE_DATE = {"before": None, "after": "2021"}
RASTER = {"kind": "raster", "path": "classes2021.tif"}
TABLE = {"one": (0,), "two": (1, 2), "three": (3, 4)}
LAND = {"kind": "polygons", "path": "one2021.gpkg"}
INGESTS: dict[str, dict[str, Any]] = {
    "two dates": {},
    "two dates without masks": {"search": {"collection": "plain"}},
    "two dates, corrected": {"radiometry": {"use": "on", "correct_shift": "auto"}},
    "two dates, corrected and not reported": {
        "radiometry": {"use": "auto"}, "pair_quality": {"action": "off"},
    },
    "two dates, not compared": {
        "pair_quality": {"action": "off", "window_px": 192}, "mask": {"use": "off"},
    },
    "one date": ONE_DATE,
    "a raster of change": {"labels": RASTER},
    "a raster of change of items": {"labels": {"kind": "raster", "asset": "change"}},
    "change of two rasters": {
        "labels": RASTER | {"before": "classes2020.tif", "classes": TABLE},
    },
    "classes of two rasters": {
        "labels": RASTER | {"before": "classes2020.tif", "classes": TABLE, "task": "both"},
    },
    "classes of a raster": ONE_DATE | {"labels": RASTER | {"classes": TABLE, "task": "segment"}},
    "polygons of change": {"labels": LAND},
    "polygons of change of items": {"labels": {"kind": "polygons", "asset": "land"}},
    "polygons of change by a column": {
        "labels": LAND | {"column": "kind", "classes": ("road",)},
    },
    "polygons of a layer": {"labels": LAND | {"path": "land2021.gpkg", "layer": "land"}},
    "change of two files of polygons": {
        "labels": LAND | {"before": "one2020.gpkg", "column": "kind"},
    },
    "classes of two files of polygons": {
        "labels": LAND | {"before": "one2020.gpkg", "column": "kind", "task": "both"},
    },
    "classes of polygons": ONE_DATE | {"labels": LAND | {"column": "kind", "task": "segment"}},
    "one class of polygons": ONE_DATE | {"labels": LAND | {"task": "segment"}},
    "boxes": {"split": {"boxes": {
        "train": ((500_000, 4_999_560, 500_960, 5_000_000),),
        "val": ((500_000, 4_999_040, 500_960, 4_999_360),),
    }}},
    "blocks": {"split": {"blocks": {"side_px": 24}, "buffer_px": 2}, "chips": {"chip_px": 16}},
    "areas": {"split": {"areas": {"train": "train.gpkg", "val": "val.gpkg"}}},
    "a file of splits": {"split": {"file": "split.gpkg"}},
}  # fmt: skip


def placed(settings: Any, world: World) -> Any:
    """With the paths of files in place of their names."""
    if isinstance(settings, dict):
        return {name: placed(value, world) for name, value in settings.items()}
    is_file = isinstance(settings, str) and settings.endswith((".tif", ".gpkg"))
    return world.name(settings) if is_file else settings


def ingest(world: World, branch: dict[str, Any]) -> IngestRegionConfig:
    settings = placed(branch, world)
    if settings.get("before", "2020"):
        settings["pair_quality"] = {"window_px": 64} | settings.get("pair_quality", {})
    search = {"catalog": world.name("catalog.json"), "collection": "masked", "bands": ("red",)}
    chips = {"chip_px": 24, "stride_px": 24}
    base = {
        "aoi": world.name("aoi.geojson"), "before": "2020", "after": "2021",
        "output": world.name("chips.zarr"),
    }  # fmt: skip
    return IngestRegionConfig.model_validate({
        **base, **settings, "search": search | settings.get("search", {}),
        "chips": chips | {"stride_px": 16} | settings.get("chips", {}),
    })  # fmt: skip


QUICK = {"one date", "polygons of change by a column"}


def branches() -> list[Any]:
    """All, of which most take their time."""
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in INGESTS]


def test_every_field_of_the_settings_is_tried_or_said_to_be_tested_elsewhere() -> None:
    sections = (
        IngestRegionConfig, InferRegionConfig, SearchConfig, GridConfig, ChipsConfig,
        SceneMaskConfig, MapMaskConfig, CompositeConfig, PairQualityConfig, RadiometryConfig,
        RasterLabels,
        PolygonLabels, SplitConfig, BlockSplit, InferenceConfig, DetectorConfig, ProductsConfig,
        ClusterConfig, ResourcesConfig,
    )  # fmt: skip
    fields = {
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if len(get_args(field.annotation)) != 1 and not _is_section(field.annotation)
    }
    assert fields == PROBES.keys() | ELSEWHERE.keys()


def _is_section(kind: Any) -> bool:
    """True for a section that is always there, of one kind or of several."""
    return all(
        isinstance(part, type) and issubclass(part, BaseModel) for part in get_args(kind) or (kind,)
    )


@pytest.mark.parametrize("branch", branches())
def test_every_setting_of_ingest_region_has_an_effect_or_is_refused(
    world: World, branch: str
) -> None:
    settings = INGESTS[branch]
    sections = ("labels",) if "labels" in settings else settings.keys() & {"split", "chips"}
    unused = without_effect(ingest(world, settings), world, made, sections)
    assert not unused, "\n".join(unused)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["change", "segment"])
@pytest.mark.parametrize("disagreement", ["off", "timesteps"])
def test_every_setting_of_infer_region_has_an_effect_or_is_refused(
    world: World, tmp_path: Path, task: str, disagreement: str
) -> None:
    tasks = {name: task_spec(name, 1) for name in ("change", "segment")}
    spec = checkpoint_spec(bands=("red",), tasks=tasks)
    save_checkpoint(Noise2Map(spec), spec, tmp_path / "model", "card")
    config = InferRegionConfig.model_validate({
        "aoi": world.name("aoi.geojson"), "task": task, "after": "2021",
        "before": "2020" if task == "change" else None, "checkpoint": tmp_path / "model",
        "output": tmp_path / "map", "inference": {"disagreement": disagreement},
        "pair_quality": {"window_px": 64 if task == "change" else 192},
        "search": {"catalog": world.name("catalog.json"), "collection": "masked"},
    })  # fmt: skip
    unused = without_effect(config, world, mapped)
    assert not unused, "\n".join(unused)
