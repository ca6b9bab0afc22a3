"""Samples on disk: what interpreters get, and what comes back."""

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio

from noise2map_core.assessment.sample_files import (
    MISSING,
    UNSURE,
    SampledClass,
    SampleDesign,
    _meaning,
    read_design,
    read_references,
    require_unfilled,
    write_sample,
)
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from tests.raster_factories import CRS, ORIGIN

UNITS = tuple((row, 3 * row % 17, row % 2) for row in range(14))
TRUTH = np.array([row % 3 == 0 for row in range(14)], np.int64)


def design_of(seed: int = 0, sha: str = "a" * 64) -> SampleDesign:
    return SampleDesign(
        map="change.tif",
        map_sha256=sha,
        crs=rasterio.CRS.from_string(CRS).to_wkt(),
        transform=(10.0, 0.0, ORIGIN[0], 0.0, -10.0, ORIGIN[1]),
        seed=seed,
        target_error=0.01,
        classes=(
            SampledClass(value=0, name="unchanged", pixels=900, area_m2=9e4, samples=7),
            SampledClass(value=1, name="changed", pixels=100, area_m2=1e4, samples=7),
        ),
        units=UNITS,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sample(tmp_path, design_of())
    return tmp_path


Change = Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame]


def filled(path: Path, change: Change = lambda table: table) -> Path:
    """The sample with every reference filled in, then changed, as a GIS would save it."""
    table = gpd.read_file(path, layer="sample").assign(reference=TRUTH)
    path.unlink()
    change(table).to_file(path)
    return path


def test_interpreters_see_places_and_nothing_that_the_map_says(folder: Path) -> None:
    for name, epsg in (("sample.gpkg", 32633), ("sample.geojson", 4326)):
        table = gpd.read_file(folder / name, layer="sample")
        assert list(table.columns) == [
            "sample_id", "row", "col", "design", "reference", "geometry",
        ]  # fmt: skip
        assert table.crs.to_epsg() == epsg
        assert table["reference"].isna().all()
        found = table.to_crs(CRS).geometry
        rows, cols, _ = np.array(UNITS).T
        np.testing.assert_allclose(found.x, ORIGIN[0] + 10 * cols + 5, atol=1e-2)
        np.testing.assert_allclose(found.y, ORIGIN[1] - 10 * rows - 5, atol=1e-2)


def test_a_design_reads_back(folder: Path) -> None:
    assert read_design(folder / "strata.json") == design_of()


@pytest.mark.parametrize("name", ["sample.gpkg", "sample.geojson"])
def test_references_come_back_in_the_order_of_the_design(folder: Path, name: str) -> None:
    path = filled(folder / name, lambda table: table.sample(frac=1, random_state=0))
    np.testing.assert_array_equal(read_references(path, design_of()), TRUTH)


def test_references_typed_as_text_and_points_in_another_crs_are_understood(folder: Path) -> None:
    path = filled(
        folder / "sample.gpkg",
        lambda table: table.assign(reference=[f" {value}" for value in TRUTH]).to_crs(3857),
    )
    np.testing.assert_array_equal(read_references(path, design_of()), TRUTH)


def with_references(**changes: object) -> Change:
    """References of sample ids (as `id_3`) set to something else."""

    def change(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        values = table["reference"].astype(object)
        for name, value in changes.items():
            values[table["sample_id"] == int(name.removeprefix("id_"))] = value
        texts = [None if pd.isna(value) else str(value) for value in values]
        return table.assign(reference=texts)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            with_references(id_2=7, id_4="water"),
            r"reference 7, water of sample_id 2, 4 is no class of the map\. "
            r"Use unchanged \(0\), changed \(1\) or unsure",
        ),
        (with_references(id_2=0.5), r"reference 0\.5 of sample_id 2 is no class"),
        (with_references(id_2=-1), r"reference -1 of sample_id 2 is no class"),
        (lambda t: t.assign(reference=None), "not one of 14 references is filled in"),
        (lambda t: t[t["sample_id"] != 4], "lacks sample_id 4"),
        (lambda t: t.assign(sample_id=t["sample_id"].replace(4, 99)), "unknown sample_id 99"),
        (lambda t: pd.concat([t, t.iloc[[5]]]), "sample_id 6 more than once"),
        (lambda t: t.drop(columns="reference"), "lacks reference"),
        (lambda t: t.set_crs(32634, allow_override=True), "lie outside their pixels"),
        (lambda t: t.set_geometry(t.translate(0, 10)), "lie outside their pixels"),
        (lambda t: t.set_crs(None, allow_override=True), "has no CRS"),
    ],
)
@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_what_cannot_be_used_is_named(folder: Path, change: Change, message: str) -> None:
    path = filled(folder / "sample.gpkg", change)
    with pytest.raises(ConfigError, match=message) as raised:
        read_references(path, design_of())
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("other", [design_of(sha="b" * 64), design_of(seed=1)])
def test_a_sample_of_another_map_or_draw_is_refused(folder: Path, other: SampleDesign) -> None:
    path = filled(folder / "sample.gpkg")
    with pytest.raises(ConfigError, match="is of another map or another draw"):
        read_references(path, other)


def test_files_that_are_no_sample_are_refused(folder: Path) -> None:
    (folder / "notes.gpkg").write_text("points")
    with pytest.raises(ConfigError, match=r"notes\.gpkg cannot be read"):
        read_references(folder / "notes.gpkg", design_of())
    with pytest.raises(ConfigError, match=r"none\.json does not exist"):
        read_design(folder / "none.json")
    (folder / "strata.json").write_text('{"seed": 1}')
    with pytest.raises(ConfigError, match=r"is not the strata\.json of a sample"):
        read_design(folder / "strata.json")


def test_an_empty_sample_is_overwritten_and_a_filled_one_is_not(folder: Path) -> None:
    require_unfilled(folder)
    write_sample(folder, design_of(seed=1))
    filled(folder / "sample.geojson", with_references(**{f"id_{n}": None for n in range(2, 15)}))
    with pytest.raises(OutputMismatchError, match="has 1 references filled in; nothing was touch"):
        require_unfilled(folder)
    (folder / "sample.geojson").write_text("half a f")
    with pytest.raises(OutputMismatchError, match="is not a sample that can be read"):
        require_unfilled(folder)


def test_references_are_named_doubted_or_left_out(folder: Path) -> None:
    words = {"id_1": "Changed ", "id_2": "unchanged", "id_3": None, "id_4": " ", "id_5": "unsure"}
    path = filled(folder / "sample.gpkg", with_references(**words))
    expected = [1, 0, MISSING, MISSING, UNSURE, *TRUTH[5:]]
    np.testing.assert_array_equal(read_references(path, design_of()), expected)


def test_names_go_before_values_and_case_counts_where_it_must() -> None:
    named = ("1", "Water", "water")
    classes = tuple(
        SampledClass(value=value, name=name, pixels=9, area_m2=9.0, samples=3)
        for value, name in enumerate(named)
    )
    meaning = _meaning(design_of().model_copy(update={"classes": classes}))
    assert [meaning(word) for word in ("1", 1.0, "Water", "water", 2, "snow")] == [
        0, 0, 1, 2, 2, None,
    ]  # fmt: skip
