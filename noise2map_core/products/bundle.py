"""The products of a complete mosaic: rasters, polygons, picture, STAC item, report."""

import json
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from noise2map_core.mapping.mosaic import (
    NO_DECISION,
    NO_PROBABILITY,
    PROBABILITY_SCALE,
    Mosaic,
    Reason,
)
from noise2map_core.mapping.recut import stored_cut
from noise2map_core.products.manifest import Digests, Stated, forget_products, stated_of
from noise2map_core.products.photos import PHOTO_FILES, clear_ground, photo_titles, write_photo
from noise2map_core.products.pictures import read_picture
from noise2map_core.products.quicklook import write_quicklook
from noise2map_core.products.rasters import QML, SLD, RasterSpec, write_cog
from noise2map_core.products.report import map_report, undecided_pixels, write_report
from noise2map_core.products.stac.collection import add_to_collection
from noise2map_core.products.stac.item import MODEL, write_item
from noise2map_core.products.styles.attribute_table import SIDE_CAR
from noise2map_core.products.styles.legend import amount_legend
from noise2map_core.products.styles.palette import (
    CLEAR,
    class_colors,
    opaque,
    reason_colors,
    reason_legend,
    reason_names,
)
from noise2map_core.products.styles.qml import polygon_style
from noise2map_core.products.subject import MapSubject
from noise2map_core.products.survey import Survey, map_doubts, strongest, survey_mosaic
from noise2map_core.products.vectors.parquet_parts import GroupedFile
from noise2map_core.products.vectors.pmtiles import NO_TILES, can_write_tiles, write_tiles
from noise2map_core.products.vectors.polygon_files import LAYER, package_of
from noise2map_core.products.vectors.polygons import (
    Balance,
    PolygonRules,
    PolygonTally,
    iter_polygons,
)
from noise2map_core.runtime.atomic import whole_files, write_atomically
from noise2map_core.runtime.mapper import Beside, Mapper, here
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.stopwatch import Stopwatch
from noise2map_core.runtime.storage import is_local, remove
from noise2map_core.settings.products import ProductsConfig

PREVIEW_PX = 2048
"""Longest side of the report's pictures."""

CLASS_FILES = {"change": "change.tif", "segment": "classes.tif"}
REASON = "reason"
"""Array and stem of the raster that every map has of why a pixel has no decision."""
EVIDENCE = {
    "valid": "1 where every image was observed",
    "disagreement": "Disagreement of several forward passes",
}
"""Arrays of the mosaic that are products if asked for."""
AMOUNT: dict[str, Any] = {
    "nodata": NO_PROBABILITY, "dtype": "uint16", "scale": 1 / PROBABILITY_SCALE,
    "ramp": amount_legend(),
}  # fmt: skip
"""How amounts become rasters: as the mosaic has them, to the last digit."""
UNIT = {"units": "1"}
"""Of amounts, once they are scaled: shares from 0 to 1."""
VALID_NAMES = {0: "not observed", 1: "observed"}
VALID_COLORS = {0: opaque("#7b3294"), 1: CLEAR}
OF_TWO_DATES = {
    reason for reason in Reason if reason.name.endswith("_BEFORE")
} | {Reason.PAIR_REJECTED}  # fmt: skip
NOT_DECIDED = "no decision"
"""Name of NO_DECISION."""
DISPUTED_CHIP = "timesteps.png"
"""Where the model changes its mind most, drawn before the products where passes are compared."""
ITEM = "item.json"
POLYGONS, PACKAGE, TILES = "polygons.parquet", "polygons.gpkg", "polygons.pmtiles"
MOST_IN_PACKAGE = 2_000_000
"""Polygons of a GeoPackage: a database has one writer, which takes half a minute for so many."""
NO_PACKAGE = (
    f"{PACKAGE} is not made: there are {{count:,}} polygons, and it holds {MOST_IN_PACKAGE:,} at "
    f"most. {POLYGONS} has all of them, and QGIS opens it; a larger products.min_area_m2 makes "
    "them fewer."
)
OTHER_FILES = {
    POLYGONS: "Areas as polygons, GeoParquet",
    PACKAGE: "Areas as polygons with their style, GeoPackage",
    TILES: "Areas as vector tiles for web maps, PMTiles",
    "quicklook.png": "Images and map side by side",
    "report.html": "Report",
    ITEM: "STAC item",
}


@dataclass(frozen=True)
class MapFigures:
    """What there is to say of a map in numbers."""

    polygons: int
    changed_m2: float
    """Geodesic area of all polygons: of every class but the background."""
    pixels: dict[str, int]
    """Pixels of each class in the region, and without a decision."""
    undecided: dict[str, int]
    """Of these, how many for which reason."""
    left_out: int
    """Areas that are too small to be polygons …"""
    left_out_m2: float
    """… and how much they cover."""
    warnings: tuple[str, ...] = ()
    """What does not look right, of run and map, and what to do."""
    balance: Balance = field(default_factory=dict)
    """Of a map that says what became of what: gained and lost area, hectares, by class."""
    products: Stated = field(default_factory=dict)
    """What was written, as the manifest lists it."""


def product_files(mosaic: Mosaic, subject: MapSubject, config: ProductsConfig) -> list[str]:
    """Names of the files that `write_products` leaves beside the mosaic."""
    output = mosaic.path.parent
    return list(_titles(_rasters(mosaic, subject, config), mosaic, subject, output))


def clear_output(output: Path) -> None:
    """Delete an output's mosaic, records, products and manifest; whatever else lies there stays."""
    for folder in ("mosaic.zarr", "ledger/records", "ledger/segments"):
        remove(output / folder)
    rasters = [
        *CLASS_FILES.values(),
        "probability.tif",
        *PHOTO_FILES.values(),
        *(f"{name}.tif" for name in (REASON, *EVIDENCE)),
    ]
    side_cars = [
        name
        for raster in rasters
        for name in (raster + SIDE_CAR, *(raster.replace(".tif", end) for end in (QML, SLD)))
    ]
    for name in (*rasters, *side_cars, *OTHER_FILES, MODEL, DISPUTED_CHIP, "manifest.json"):
        (output / name).unlink(missing_ok=True)


def write_products(
    mosaic: Mosaic,
    subject: MapSubject,
    config: ProductsConfig,
    facts: dict[str, Any] | None = None,
    watch: Stopwatch | None = None,
    mapper: Mapper = here,
) -> MapFigures:
    """Write every product beside the mosaic, in place of older ones: all of them, or none.

    The parts of rasters, polygons, tiles and survey are made by `mapper`.

    `facts` are what the manifest says of the run; the report repeats some of them, and its
    `warnings` with those of the map. The seconds of each kind of product go to `watch`.
    """
    output, rasters = mosaic.path.parent, _rasters(mosaic, subject, config)
    watch = watch or Stopwatch()
    with progress(len(rasters) + 3, "products", "step") as bar:
        with whole_files(output) as folder, Beside(mapper) as beside:
            digests = Digests(beside)
            with watch.stage("rasters"):
                for spec in rasters:
                    write_cog(mosaic, spec, folder, mapper)
                    digests.begin(folder / spec.file)
                    bar.update()
            with watch.stage("polygons"):
                tally = _write_polygons(mosaic, folder, subject, config, mapper)
                digests.begin(folder / POLYGONS)
                bar.update()
            package = _begin_package(folder, subject, tally, beside)
            with watch.stage("vector tiles"):
                if config.vector_tiles:
                    _write_tiles(mosaic, folder, subject, mapper)
            with watch.stage("survey"):
                survey = _survey(mosaic, mapper)
            with watch.stage("GeoPackage"):
                if package:
                    package.result()
            with watch.stage("report"):
                told = dict(facts or {})
                doubts = [*map_doubts(subject, survey), *_lacking(config, tally)]
                told["warnings"] = [*told.get("warnings", ()), *doubts]
                _write_pages(mosaic, folder, subject, config, tally, survey, told, mapper)
                bar.update()
            if subject.document:
                write_atomically(folder / MODEL, json.dumps(subject.document, indent=2) + "\n")
            titles = _titles(rasters, mosaic, subject, folder)
            with watch.stage("digests"):
                # Where they are made: they are not fetched again from where they go.
                made = [name for name in titles if name not in (DISPUTED_CHIP, ITEM)]
                stated = digests.of(folder, made)
            write_item(
                mosaic, folder, subject, titles, rasters, config.collection, stated,
                told["warnings"],
            )  # fmt: skip
            stated[ITEM] = stated_of(folder / ITEM)
            forget_products(output)  # from here on, and until there is a new manifest
        for name in {TILES, PACKAGE} - stated.keys():
            (output / name).unlink(missing_ok=True)  # of an earlier map
        if config.collection:
            add_to_collection(config.collection, output / ITEM)
        bar.update()
    if DISPUTED_CHIP in titles:  # drawn before, and there already
        stated[DISPUTED_CHIP] = stated_of(_disputed_chip(mosaic))
    return replace(_figures(subject, tally, survey, told["warnings"]), products=stated)


def _rasters(mosaic: Mosaic, subject: MapSubject, config: ProductsConfig) -> list[RasterSpec]:
    of = "the changed class" if subject.task == "change" else "the class"
    cut = _cut(subject)
    rasters = [
        RasterSpec(
            "class", CLASS_FILES[subject.task], "Change map" if subject.task == "change" else
            "Class map", "mode", names=subject.names, colors=class_colors(subject.colors),
            tags=cut,
        ),
        RasterSpec(
            "probability", "probability.tif", f"Probability of {of}", "average", **AMOUNT,
            tags={**UNIT, **cut},
        ),
        RasterSpec(
            REASON, "reason.tif", "Why a pixel has no decision", "mode", None,
            _reasons(subject), reason_colors(),
        ),
    ]  # fmt: skip
    if config.evidence:
        rasters += [_evidence(name) for name in EVIDENCE if name in mosaic.arrays]
    return rasters


def _cut(subject: MapSubject) -> dict[str, str]:
    """Where the map is cut, as a tag of rasters: `probability >= DECIDED_FROM` is its second class,
    on every pixel that is decided."""
    if subject.decided_from is None or subject.task != "change":
        return {}
    return {"DECIDED_FROM": f"{stored_cut(subject.decided_from) / PROBABILITY_SCALE:.4f}"}


def _reasons(subject: MapSubject) -> dict[int, str]:
    """The reasons that there can be: of one date, none that needs two."""
    names = reason_names(one_date=not subject.before)
    two = () if subject.before else OF_TWO_DATES
    return {value: name for value, name in names.items() if value not in two}


def _evidence(name: str) -> RasterSpec:
    file, title = f"{name}.tif", EVIDENCE[name]
    if name == "disagreement":
        return RasterSpec(name, file, title, "average", **AMOUNT, tags=UNIT)
    return RasterSpec(name, file, title, "mode", None, VALID_NAMES, VALID_COLORS)


def _titles(
    rasters: list[RasterSpec], mosaic: Mosaic, subject: MapSubject, folder: Path
) -> dict[str, str]:
    """What each product is, by file name; `folder` is where they lie."""
    disputed = "disagreement" in mosaic.arrays and _disputed_chip(mosaic).exists()
    side_cars = {name: title for spec in rasters for name, title in spec.side_cars.items()}
    drawn = {DISPUTED_CHIP: "A chip over timesteps and orders"} if disputed else {}
    absent = {name for name in (PACKAGE, TILES) if not (folder / name).exists()}
    return {
        **{spec.file: spec.title for spec in rasters},
        **side_cars,
        **photo_titles(subject),
        **drawn,
        **({MODEL: "The model, as its checkpoint describes it"} if subject.document else {}),
        **{name: title for name, title in OTHER_FILES.items() if name not in absent},
    }


def _lacking(config: ProductsConfig, tally: PolygonTally) -> list[str]:
    """What there is of files that are not made."""
    tiles = [NO_TILES] if config.vector_tiles and not can_write_tiles() else []
    package = [NO_PACKAGE.format(count=tally.count)] if tally.count > MOST_IN_PACKAGE else []
    return tiles + package


def _disputed_chip(mosaic: Mosaic) -> Path:
    return mosaic.path.parent / DISPUTED_CHIP


def _write_polygons(
    mosaic: Mosaic,
    folder: Path,
    subject: MapSubject,
    config: ProductsConfig,
    mapper: Mapper = here,
) -> PolygonTally:
    """The file of polygons, as they are finished; and what there is to say of them."""
    tally = PolygonTally()
    rules = PolygonRules(
        subject.sought,
        subject.dates,
        config.min_area_m2,
        config.min_area_px,
        config.simplify_m,
        subject.directions,
    )
    batches = iter_polygons(mosaic, rules, tally.left_out, mapper)
    file = GroupedFile[PolygonTally](folder / POLYGONS, mosaic.grid.crs, config.geoparquet)
    with progress(None, "polygons", "polygons") as bar:
        for count, counted in file.write(batches, PolygonTally.of, mapper):
            tally.join(counted)
            bar.update(count)
    return tally


def _begin_package(
    folder: Path, subject: MapSubject, tally: PolygonTally, beside: Beside
) -> Future[bool] | None:
    """The same polygons as a GeoPackage, which one process writes while others make the rest; None
    if there are more than it holds."""
    if tally.count > MOST_IN_PACKAGE:
        return None
    styles = {LAYER: polygon_style(LAYER, subject.colors, subject.sought)}
    write = partial(package_of, folder / POLYGONS, styles=styles, written=subject.dates.after)
    return beside.begin(write, folder / PACKAGE)


def _write_tiles(mosaic: Mosaic, folder: Path, subject: MapSubject, mapper: Mapper = here) -> None:
    """Vector tiles of the polygons, if there are any, and somebody to write them."""
    if can_write_tiles():
        write_tiles(
            folder / POLYGONS, folder / TILES, mosaic.grid, title=subject.title, mapper=mapper,
            shared=is_local(mosaic.path),
        )  # fmt: skip


def _survey(mosaic: Mosaic, mapper: Mapper = here) -> Survey:
    shown = ("class", "probability", "reason", "disagreement")
    names = [name for name in shown if name in mosaic.arrays]
    return survey_mosaic(mosaic, names, PREVIEW_PX, mapper)


def _write_pages(
    mosaic: Mosaic,
    folder: Path,
    subject: MapSubject,
    config: ProductsConfig,
    tally: PolygonTally,
    survey: Survey,
    facts: dict[str, Any],
    mapper: Mapper,
) -> None:
    """The pictures, and the quicklook and the report of them."""
    reasons, legend = survey.pictures[REASON], survey.counts[REASON]
    photos = {
        name: read_picture(
            scenes,
            subject.bands,
            mosaic.grid,
            survey.step,
            skip_unreadable=subject.holes > 0,
            plain=clear_ground(name, reasons),
            mapper=mapper,
        )
        for name, (scenes, _) in subject.epochs.items()
    }
    for name, photo in photos.items():
        file = PHOTO_FILES[name]
        write_photo(folder / file, photo, photo_titles(subject)[file])
    drawn = {name: photo.rgb for name, photo in photos.items()}
    classes = survey.pictures["class"]
    thin = max(1, -(-max(classes.shape) // config.quicklook_px))
    write_quicklook(
        folder / "quicklook.png",
        [(f"{name}: {date:%Y-%m-%d}", drawn[name][::thin, ::thin])
         for name, (_, date) in subject.epochs.items()],
        (subject.task, strongest(classes, thin)),
        (strongest(reasons, thin), reason_legend(legend, one_date=not subject.before)),
        {value: subject.colors[value] for value in (0, *subject.found(survey.counts["class"]))},
        subject.names,
        subject.title,
    )  # fmt: skip
    titles = _titles(_rasters(mosaic, subject, config), mosaic, subject, folder)
    disputed = _disputed_chip(mosaic) if DISPUTED_CHIP in titles else None
    files = [(name, title) for name, title in titles.items() if name != "report.html"]
    report = map_report(subject, mosaic.grid, drawn, survey, tally, facts, files, disputed)
    write_report(folder / "report.html", report)


def _figures(
    subject: MapSubject, tally: PolygonTally, survey: Survey, warnings: list[str]
) -> MapFigures:
    counts = survey.counts["class"]
    names = {**subject.names, NO_DECISION: NOT_DECIDED}
    return MapFigures(
        tally.count,
        sum(tally.area_m2.values()),
        {name: int(counts[value]) for value, name in names.items()},
        undecided_pixels(subject, survey),
        tally.left_out.count,
        tally.left_out.area_m2,
        tuple(warnings),
        tally.balance(subject.sought, subject.directions),
    )
