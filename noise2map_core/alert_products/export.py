"""A raster of alerts for another program, written whole or not at all."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from noise2map_core.alert_products.ageing import AgedState, view_on
from noise2map_core.alert_products.encodings import ENCODINGS, Encoding
from noise2map_core.alert_products.rasters import seen_status, status_spec
from noise2map_core.alert_products.source import open_state
from noise2map_core.geo.window import Window
from noise2map_core.products.rasters import QML, SLD, RasterSpec, Read, write_raster
from noise2map_core.products.styles.attribute_table import SIDE_CAR
from noise2map_core.runtime.atomic import put_in_place
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from noise2map_core.runtime.storage import PARTIAL

STATUS = "status"
SUFFIXES = (".tif", ".tiff")


def export_alerts(area: Path, to: str, output: Path, as_of: date | None = None) -> list[Path]:
    """Write the alerts of an area's folder as `status` or in an encoding; the files.

    Raises ConfigError for days that the encoding has not, OutputMismatchError if `output` exists or
    the area has no alerts that can be read.
    """
    _require_new(output)
    view = view_on(open_state(area), as_of)
    spec, read = _raster(view, to, output.name)
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output.parent, prefix=f".export{PARTIAL}.") as folder:
        write_raster(view.state.grid, spec, read, Path(folder))
        files = sorted(path for path in Path(folder).iterdir() if path.is_file())
        for file in files:
            put_in_place(file, output.parent / file.name)
    return [output.parent / file.name for file in files]


def _require_new(output: Path) -> None:
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"output {output} is to be a GeoTIFF: let its name end with .tif.")
    side_cars = [output.with_name(output.name + SIDE_CAR), *map(output.with_suffix, (QML, SLD))]
    for path in (output, *side_cars):
        if path.exists():
            raise OutputMismatchError(
                f"{path} is there already; nothing was touched. Set another output, or remove it."
            )


def _raster(view: AgedState, to: str, file: str) -> tuple[RasterSpec, Read]:
    if to == STATUS:
        return status_spec(_facts(view), file), lambda window: _status(view, window)
    encoding = ENCODINGS[to]
    return _spec(view, encoding, file), lambda window: _encoded(view, encoding, window)


def _status(view: AgedState, window: Window) -> NDArray[Any]:
    seen = view.state.read("seen", window)
    return seen_status(view.status(window), seen).astype("uint8")


def _encoded(view: AgedState, encoding: Encoding, window: Window) -> NDArray[Any]:
    return encoding.of(view.status(window), view.state.read("first", window))


def _spec(view: AgedState, encoding: Encoding, file: str) -> RasterSpec:
    return RasterSpec(
        encoding.name, file, encoding.title, "mode", 0, dtype=encoding.dtype,
        tags={**_facts(view), **encoding.tags, "encoding": encoding.name},
        ramp=encoding.legend(view.state.about.looks[0].day, view.day),
    )  # fmt: skip


def _facts(view: AgedState) -> dict[str, str]:
    return {"epoch": str(view.state.facts["epoch"]), "as_of": str(view.day)}
