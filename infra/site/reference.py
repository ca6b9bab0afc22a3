"""Reference pages, each made of what the code says: none of them is written by hand."""

import ast
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import noise2map_core
from infra.site.settings import commands_table, stacked
from noise2map_core.products.bundle import write_products
from noise2map_core.products.vectors import columns
from noise2map_core.products.vectors.columns import Table
from noise2map_core.runtime.errors import EXIT_CODES, Noise2MapError
from noise2map_core.settings.products import ProductsConfig
from noise2map_core.workflows.tools.configs.catalogues import CATALOGUES
from tests.map_factories import blobs, subject_of, write_mosaic

SIDE_PX = 64
BENCHMARKS = Path(__file__).resolve().parents[2] / "tests" / "benchmarks"
TABLES = {
    "Polygons of a map": (
        "`polygons.parquet`, `polygons.gpkg` and `polygons.pmtiles`, layer `polygons`.",
        columns.POLYGONS,
    ),
    "Objects over the nights": (
        "Layer `objects` of `changes.gpkg`, the last outline of each object, and of "
        "`changes.pmtiles`, all outlines. On a night those with `date` ≤ night ≤ `until` are what "
        "was there.",
        columns.OBJECTS,
    ),
    "Changes of a night": (
        "Layer `changes` of `changes.gpkg`, of the newest night; `changes/DAY.parquet` has those "
        "of each.",
        columns.CHANGES,
    ),
    "Alerts": ("`alerts.parquet`, `alerts.gpkg` and `alerts.pmtiles`.", columns.ALERTS),
}
OF_ALL = (
    "GeoParquet, GeoPackage and vector tiles (PMTiles) of one table have the same columns; vector "
    "tiles write days and times as text (`2024-05-20`, `2024-05-20T10:02:00Z`), for they have no "
    "type for them, and leave out `bbox`, the covering boxes of GeoParquet. Areas are geodesic, "
    "on the WGS 84 ellipsoid. Geometries are in the CRS of the map; in vector tiles in Web "
    "Mercator, cut at the antimeridian, and not beyond 85° of latitude."
)


def reference_pages() -> Iterator[tuple[str, str]]:
    """Names and texts."""
    yield (
        "reference/index",
        f"# Reference\n\nAll of it is made from the code.\n\n{commands_table()}\n",
    )
    yield "reference/exit-codes", _exit_codes()
    yield "reference/products", _products()
    yield "reference/columns", "\n\n".join(["# Columns", OF_ALL, *_column_tables()]) + "\n"
    yield "reference/catalogues", _catalogues()
    yield "reference/python", _python()
    yield "evidence/measurements", _measurements()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(cells) for cells in (head, ["---"] * len(head), *rows)]
    return stacked("\n".join(f"| {line} |" for line in lines))


def _exit_codes() -> str:
    codes = _table(["code", "meaning"], [(str(code), said) for code, said in EXIT_CODES.items()])
    errors = _table(
        ["error", "code", ""],
        [(f"`{one.__name__}`", str(one.exit_code), _first(one)) for one in _errors(Noise2MapError)],
    )
    return (
        f"# Exit codes\n\n{codes}\n\nAn error is one line on stderr; `--debug` shows its "
        f"traceback. It begins with the name of its kind:\n\n{errors}\n"
    )


def _errors(kind: type[Noise2MapError]) -> Iterator[type[Noise2MapError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _errors(one)


def _first(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split())


def _products() -> str:
    """What a map's item says of its files: of a map that is made here."""
    with TemporaryDirectory() as folder:
        output = Path(folder, "map")
        output.mkdir()
        mosaic = write_mosaic(output / "mosaic.zarr", blobs(SIDE_PX, SIDE_PX))
        subject = subject_of(Path(folder, "scenes"), SIDE_PX, SIDE_PX)
        write_products(mosaic, subject, ProductsConfig(evidence=True))
        assets = json.loads((output / "item.json").read_text())["assets"]
    rows = [
        (
            f"`{one['href'].removeprefix('./')}`",
            _untimed(one["title"]),
            one["type"].partition(";")[0],
            _values(one),
        )
        for one in assets.values()
    ]
    table = _table(["file", "what", "media type", "values"], rows)
    return (
        "# Files of a map\n\nWhat the STAC item of a change map with all evidence lists. Of one "
        "date `classes.tif` stands in place of `change.tif`, and there is no `before.tif`; "
        "`valid.tif` and `disagreement.tif` are there if they were asked for. Ledger, manifest "
        "and the rest are in [Formats](../explanations/formats.md), columns of tables in "
        f"[Columns](columns.md).\n\n{table}\n"
    )


def _untimed(title: str) -> str:
    """Of a picture, without its date."""
    return title.partition(", 20")[0]


def _values(asset: dict[str, Any]) -> str:
    """Types, units and meanings of an asset's bands."""
    classes = [f"{one['value']} {one['title']}" for one in asset.get("classification:classes", [])]
    return "; ".join([*map(_band, asset.get("bands", [])), *classes])


def _band(band: dict[str, Any]) -> str:
    kind = band["data_type"] if band["data_type"] != "other" else band["description"]
    said = [f"`{band['name']}` {kind}"]
    if "raster:scale" in band:
        said.append(f"times {band['raster:scale']}, unit {band['unit']}")
    if "nodata" in band:
        said.append(f"{band['nodata']} none")
    return ", ".join(said)


def _column_tables() -> Iterator[str]:
    for title, (where, table) in TABLES.items():
        yield f"## {title}"
        yield where
        yield _columns(table)


def _columns(table: Table) -> str:
    rows = [(f"`{name}`", one.kind, one.unit, one.what) for name, one in table.items()]
    return _table(["column", "type", "unit", "what"], rows)


def _catalogues() -> str:
    about = (
        "STAC APIs of open imagery. `--bands` takes the keys of assets, names of bands within an "
        "asset, or their common names; which there are an item says. Masks of clouds are found by "
        "themselves. How catalogues are asked, and where keys come from: [Catalogues and "
        "secrets](../how-to/catalogues.md)."
    )
    names = dict.fromkeys(one.name for one in CATALOGUES)
    return "\n\n".join(["# Catalogues", about, *map(_catalogue, names)]) + "\n"


def _catalogue(name: str) -> str:
    """The collections of one API."""
    found = [one for one in CATALOGUES if one.name == name]
    head = ["`--collection`", "imagery", "`--bands`", "mask", "access"]
    rows = [
        (f"`{one.collection}`", one.imagery, one.bands, one.mask or "none", one.access)
        for one in found
    ]
    return f"## {name}\n\n`--catalog {found[0].address}`\n\n{_table(head, rows)}"


def _python() -> str:
    """Public names, with the modules that they come from."""
    homes = noise2map_core._HOMES
    names = "\n\n".join(f"::: {homes[name]}.{name}" for name in noise2map_core.__all__)
    said = "`from noise2map_core import …`; each is imported when it is first used."
    return f"# Python\n\n{said}\n\n{names}\n"


def _measurements() -> str:
    """Every script that measures, with what it says of itself."""
    rows = [(f"`{path.name}`", _about(path)) for path in sorted(BENCHMARKS.glob("*.py"))]
    return (
        "# Measurements\n\n`python tests/benchmarks/NAME` prints what it measures and asserts "
        f"nothing; `make bench` runs all.\n\n{_table(['script', 'what it measures'], rows)}\n"
    )


def _about(script: Path) -> str:
    """The first paragraph of its docstring."""
    said = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return " ".join(said.partition("\n\n")[0].split()).replace("|", "\\|")
