"""Rasters of alerts: against the arrays, rasterio and Python's calendar."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np
import odc.geo.xr  # noqa: F401  (the accessor .odc)
import pytest
import rasterio
import rioxarray
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rio_cogeo.cogeo import cog_validate

from noise2map_core.alert_products.ageing import aged
from noise2map_core.alert_products.export import export_alerts
from noise2map_core.runtime.errors import ConfigError, OutputError, OutputMismatchError
from tests.alert_product_factories import AS_OF, number, random_state, write_area

EPOCH = date(1970, 1, 1)
SHAPE = (150, 210)


@pytest.fixture
def area(tmp_path: Path) -> Path:
    write_area(tmp_path / "farm", random_state(*SHAPE))
    return tmp_path / "farm"


def exported(area: Path, to: str, output: Path, as_of: date | None = None) -> Path:
    """The raster; beside it lie its styles, and nothing else."""
    files = export_alerts(area, to, output, as_of)
    styles = [output.with_suffix(suffix) for suffix in (".qml", ".sld")]
    assert set(files) == {output, *styles} and set(output.parent.glob(f"{output.stem}.*")) >= {
        *files
    }
    return output


def pixels(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def scalar(to: str, status: int, first: int) -> int:
    """One pixel, by Python's own dates."""
    if status not in (1, 2):
        return 0
    day = EPOCH + timedelta(days=first)
    if to == "gfw":
        return {1: 20_000, 2: 30_000}[status] + (day - date(2014, 12, 31)).days
    return int(f"{day:%y%j}") if to == "radd" else (day - date(2020, 12, 31)).days


@pytest.mark.parametrize(
    ("to", "dtype"), [("gfw", "uint16"), ("radd", "uint16"), ("dist", "int16")]
)
def test_each_encoding_is_that_of_a_loop_over_pixels(
    area: Path, tmp_path: Path, to: str, dtype: str
) -> None:
    path = exported(area, to, tmp_path / "out" / "a.tif")
    state = random_state(*SHAPE)
    expected = [
        scalar(to, status, first)
        for status, first in zip(
            state["status"].ravel().tolist(), state["first"].ravel().tolist(), strict=True
        )
    ]
    found = pixels(path)
    assert found.dtype == dtype and found.ravel().tolist() == expected
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid, (errors, warnings)


def test_it_lies_where_the_grid_does_and_says_its_units(area: Path, tmp_path: Path) -> None:
    grid = write_area(tmp_path / "again", random_state(*SHAPE))
    path = exported(area, "radd", tmp_path / "a.tif")
    with rioxarray.open_rasterio(path) as opened:
        geobox = opened.odc.geobox
    assert geobox == grid.geobox(grid.region)
    with rasterio.open(path) as file:
        tags = file.tags()
        assert file.nodata == 0 and tags["as_of"] == str(AS_OF) and "YYDOY" in tags["units"]


def test_a_later_day_leaves_out_old_provisional_alerts_and_touches_no_state(
    area: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in area.rglob("*") if path.is_file()}
    state, day = random_state(*SHAPE), AS_OF + timedelta(days=20)
    export_alerts(area, "status", tmp_path / "a.tif", day)
    found = pixels(tmp_path / "a.tif")
    for row, col in np.ndindex(SHAPE):
        status, first = int(state["status"][row, col]), int(state["first"][row, col])
        old = status == 1 and ((day - EPOCH).days - first) > 180
        expected = 255 if not state["seen"][row, col] else 0 if old else status
        assert found[row, col] == expected
    assert {path: path.read_bytes() for path in area.rglob("*") if path.is_file()} == before
    assert (tmp_path / "a.tif.aux.xml").is_file()


@given(st.integers(0, 3), st.integers(1, 60_000), st.integers(0, 400), st.integers(0, 366))
def test_only_provisional_alerts_age_and_only_after_t_days(
    status: int, first: int, days: int, t_days: int
) -> None:
    pixel = (np.array([status], np.uint8), np.array([first], np.uint16))
    gone = status == 1 and days > t_days
    assert int(aged(*pixel, first + days, t_days)[0]) == (0 if gone else status)


def test_a_day_that_an_encoding_has_not_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    state = random_state(*SHAPE)
    state["first"][100, 100], state["status"][100, 100] = number("2042-05-18"), 2
    write_area(tmp_path / "farm", state)
    output = tmp_path / "out" / "a.tif"
    with pytest.raises(ConfigError, match=r"encoding gfw has days .* begins on 2042-05-18"):
        export_alerts(tmp_path / "farm", "gfw", output)
    assert not list(output.parent.iterdir())
    state["status"][100, 100] = 3  # ended: not handed on
    write_area(tmp_path / "farm", state)
    export_alerts(tmp_path / "farm", "gfw", output)


def test_what_cannot_be_exported_is_named(area: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.tif"
    (tmp_path / "bare").mkdir()
    with pytest.raises(OutputMismatchError, match="bare has no alerts"):
        export_alerts(tmp_path / "bare", "gfw", output)
    with pytest.raises(ConfigError, match="as_of 2025-06-19 lies before 2025-06-20"):
        export_alerts(area, "gfw", output, AS_OF - timedelta(days=1))
    with pytest.raises(ConfigError, match=r"let its name end with \.tif"):
        export_alerts(area, "gfw", tmp_path / "a.png")
    output.write_text("mine")
    with pytest.raises(OutputMismatchError, match="is there already; nothing was touched"):
        export_alerts(area, "gfw", output)
    assert output.read_text() == "mine"


@pytest.mark.parametrize("version", [0, 2, "<b>9</b>", None])
def test_a_state_of_another_version_is_refused(tmp_path: Path, version: Any) -> None:
    write_area(tmp_path / "farm", random_state(*SHAPE), algorithm=version)
    with pytest.raises(OutputMismatchError, match=r"of version .* of the alerts"):
        export_alerts(tmp_path / "farm", "gfw", tmp_path / "a.tif")


def test_a_state_that_lacks_what_it_should_say_is_damaged(area: Path, tmp_path: Path) -> None:
    del zarr.open_group(area / "alerts" / "alerts.zarr").attrs["looks"]
    with pytest.raises(OutputError, match=r"is damaged .*looks.* Delete it and run"):
        export_alerts(area, "gfw", tmp_path / "a.tif")


@pytest.mark.parametrize("to", ["gfw", "radd", "dist"])
def test_a_style_names_the_days_that_the_numbers_stand_for(
    area: Path, tmp_path: Path, to: str
) -> None:
    style = exported(area, to, tmp_path / "a.tif").with_suffix(".qml")
    stops = [one.attrib for one in Xml.parse(style).iter("item")]
    codes = {"provisional": 1, "confirmed": 2}
    for stop in stops:
        day, _, status = stop["label"].partition(" ")
        first = (date.fromisoformat(day) - EPOCH).days
        assert float(stop["value"]) == scalar(to, codes[status or "confirmed"], first)
    assert len(stops) == (10 if to == "gfw" else 5)
