"""Two maps judged by one sample, against maps whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import Resampling, reproject
from scipy.stats import binomtest

from noise2map_core.assessment.comparison import compare_maps
from noise2map_core.assessment.design import draw_design
from noise2map_core.assessment.sample_files import MISSING, UNSURE, SampleDesign
from noise2map_core.assessment.sampling import measure_strata
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.tools.interpreted.sample import SampleConfig
from tests.raster_factories import frame, write_tif

SHAPE = (120, 160)
SIZES = {0: 120, 1: 80}


def truth() -> np.ndarray:
    classes = np.zeros(SHAPE, np.uint8)
    classes[30:90, 40:100] = 1
    return classes


def with_errors(share: float, seed: int) -> np.ndarray:
    wrong = np.random.default_rng(seed).random(SHAPE) < share
    return np.where(wrong, 1 - truth(), truth()).astype(np.uint8)


def written(folder: Path, classes: np.ndarray, names: dict[int, str] | None = None) -> Path:
    folder.mkdir(parents=True)
    write_tif(folder / "change.tif", classes, frame(*SHAPE), nodata=255)
    if names:
        table = [{"value": value, "name": name} for value, name in names.items()]
        asset = {"href": "./change.tif", "classification:classes": table}
        (folder / "item.json").write_text(json.dumps({"assets": {"change": asset}}))
    return folder / "change.tif"


def design_of(path: Path, seed: int = 0) -> SampleDesign:
    config = SampleConfig(map=path, output=path.parent / "sample", seed=seed)
    return draw_design(config, path, measure_strata(path), SIZES)


def seen(design: SampleDesign) -> np.ndarray:
    rows, cols, _ = np.array(design.units).T
    return truth()[rows, cols].astype(np.int64)


@pytest.fixture
def maps(tmp_path: Path) -> tuple[Path, Path]:
    return (
        written(tmp_path / "a", with_errors(0.25, 1)),
        written(tmp_path / "b", with_errors(0.05, 2)),
    )


def test_the_better_map_is_told_and_how_much_better(maps: tuple[Path, Path]) -> None:
    design = design_of(maps[0])
    found = compare_maps(maps, design, seen(design))
    (one,) = found.differences
    assert one.verdict == "the second is better"
    assert one.low < 0.2 < one.high
    accuracy = [float((rasterio.open(path).read(1) == truth()).mean()) for path in maps]
    assert (one.first, one.second) == pytest.approx(accuracy, abs=0.07)
    turned = compare_maps((maps[1], maps[0]), design, seen(design)).differences[0]
    assert (turned.low, turned.high) == pytest.approx((-one.high, -one.low))
    assert turned.verdict == "the first is better"
    same = compare_maps((maps[0], maps[0]), design, seen(design)).differences[0]
    assert same.first == same.second and same.verdict == "the sample cannot tell"
    assert any("the second is better" in line for line in found.summary())


def test_the_pair_is_told_apart_where_two_accuracies_are_not(tmp_path: Path) -> None:
    worse = with_errors(0.2, 1)
    slightly = np.where(np.random.default_rng(5).random(SHAPE) < 0.5, truth(), worse)
    maps = written(tmp_path / "a", worse), written(tmp_path / "b", slightly.astype(np.uint8))
    design = design_of(maps[0])
    one = compare_maps(maps, design, seen(design)).differences[0]
    assert one.low > 0
    rights = [round(share * 200) for share in (one.first, one.second)]
    first, second = (binomtest(right, 200).proportion_ci(method="exact") for right in rights)
    assert first.high > second.low


def test_units_that_nobody_knows_do_not_count_and_no_decision_is_not_right(
    maps: tuple[Path, Path],
) -> None:
    design = design_of(maps[0])
    reference = seen(design)
    reference[:7], reference[7:10] = MISSING, UNSURE
    holes = truth()
    holes[:, :80] = 255
    half = written(maps[0].parent / "holes", holes)
    found = compare_maps((maps[0], half), design, reference)
    assert (found.units, found.unanswered) == (190, 10)
    left = np.array([col < 80 for _, col, _ in design.units])[reference >= 0]
    assert found.undecided == (0, int(left.sum()))
    assert found.differences[0].second < 0.7
    assert json.loads(json.dumps(found.document(), allow_nan=False))["unanswered"] == 10


def test_a_map_on_another_grid_with_other_numbers_is_read_by_its_names(
    maps: tuple[Path, Path], tmp_path: Path
) -> None:
    named = written(tmp_path / "named", with_errors(0.25, 1), {0: "unchanged", 1: "changed"})
    design = design_of(named)
    other = tmp_path / "other"
    with rasterio.open(maps[1]) as file:
        turned = np.choose(file.read(1), [7, 3]).astype(np.uint8)
        transform, width, height = rasterio.warp.calculate_default_transform(
            file.crs, "EPSG:4326", file.width, file.height, *file.bounds, resolution=2e-5
        )
        moved = np.full((height, width), 255, np.uint8)
        reproject(
            turned, moved, src_transform=file.transform, src_crs=file.crs, dst_crs="EPSG:4326",
            dst_transform=transform, resampling=Resampling.nearest, dst_nodata=255,
        )  # fmt: skip
    names = {7: "unchanged", 3: "changed"}
    path = written(other, np.zeros(SHAPE, np.uint8), names)
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=1, dtype="uint8",
        crs="EPSG:4326", transform=transform, nodata=255,
    ) as file:  # fmt: skip
        file.write(moved, 1)
    expected = compare_maps((named, maps[1]), design, seen(design)).differences[0]
    assert compare_maps((named, path), design, seen(design)).differences[0] == expected
    strange = written(tmp_path / "strange", truth(), {0: "unchanged", 1: "flooded"})
    with pytest.raises(
        ConfigError, match=r"has class 1 \(flooded\), which the sample does not kno"
    ):
        compare_maps((named, strange), design, seen(design))
