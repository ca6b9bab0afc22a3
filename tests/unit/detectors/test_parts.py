"""Regions whose scenes change: statistics of each pair of overpasses, and jumps where they meet."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from noise2map_core.catalog.overpasses import PassPairs
from noise2map_core.detectors.detector import Detector
from noise2map_core.detectors.part_edges import PartEdge, part_edges, summed_edges
from noise2map_core.detectors.parts import NOWHERE, OTHERS, part_numbers
from noise2map_core.detectors.spec import load_detector
from noise2map_core.inference.doubts import edge_doubts
from noise2map_core.mapping.ledger import TileRecord
from noise2map_core.testing.landscape import fractal_noise
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines import infer_region
from tests.pair_factories import BANDS, SceneOf, write_pair
from tests.raster_factories import frame, scene_of, write_tif
from tests.region_in_process import in_process

SIDE, SEAM = 320, 170
"""Pixels of the region, and the column where the later date's scenes meet."""
FALSE_ALARMS = 0.01


def ground() -> np.ndarray:
    """[band, H, W]: bands of one pattern and of their own."""
    rng = np.random.default_rng(7)
    shared = fractal_noise(rng, SIDE, 30, 1.2)
    own = np.stack([fractal_noise(rng, SIDE, 12, 1.0) for _ in BANDS])
    return np.asarray(4000 + 500 * shared + 300 * own)


def region() -> np.ndarray:
    """[date, band, H, W] where nothing changed, but the east of the later date was recorded on
    another day: darker, hazier and with more noise."""
    rng = np.random.default_rng(8)
    land = ground()
    before = land + rng.normal(0, 40, land.shape)
    west = 1.2 * land + 300 + rng.normal(0, 40, land.shape)
    mixture = land.mean(axis=0) * np.array([0.5, 0.3, 0.1, 0.0])[:, None, None]
    east = 0.7 * land + mixture + 900 + rng.normal(0, 120, land.shape)
    after = np.where(np.arange(SIDE) < SEAM, west, east)
    return np.stack([before, after]).round().astype(np.uint16)


def pairs() -> np.ndarray:
    return np.broadcast_to((np.arange(SIDE) >= SEAM).astype(np.int32), (SIDE, SIDE))


def alarms(called: np.ndarray, width: int = 40) -> tuple[float, float]:
    """Shares of alarms of strips to the west and to the east of the seam."""
    return float(called[:, SEAM - width : SEAM].mean()), float(called[:, SEAM:][:, :width].mean())


@pytest.mark.parametrize("kind", ["mad", "irmad", "cva"])
def test_no_share_of_change_jumps_where_scenes_meet(kind: Any) -> None:
    image, seen = region(), np.ones((SIDE, SIDE), bool)
    whole = Detector.fit(kind, [(image, seen)])
    one = whole.probability(image, seen) >= whole.threshold(FALSE_ALARMS)
    apart = Detector.fit_by_pairs(kind, [(image, seen, pairs())])
    part = part_numbers(apart.parts, pairs(), seen)
    each = apart.probability(image, seen, part) >= apart.threshold(FALSE_ALARMS)
    jump_of_one = abs(np.subtract(*alarms(one)))
    assert jump_of_one > 0.05
    west, east = alarms(each)
    assert abs(west - east) < 0.01 and max(west, east) < 3 * FALSE_ALARMS
    print(f"{kind}: one {alarms(one)}, each its own {west:.4f}, {east:.4f}")


def test_of_one_pair_the_statistics_are_those_of_all() -> None:
    image, seen = region(), np.ones((SIDE, SIDE), bool)
    same = Detector.fit_by_pairs("mad", [(image, seen, np.zeros((SIDE, SIDE), np.int32))])
    assert same == Detector.fit("mad", [(image, seen)]) and not same.parts


def test_a_small_part_and_what_was_not_sampled_have_the_statistics_of_all() -> None:
    image, seen, three = region(), np.ones((SIDE, SIDE), bool), pairs().copy()
    three[:30, :30] = 2
    seen[0, 0] = False
    fitted = Detector.fit_by_pairs("mad", [(image, seen, three)])
    assert [part.pair for part in fitted.parts] == [-1, 0, 1]
    three[40, 40] = 9
    found = part_numbers(fitted.parts, three, seen)
    assert found[0, 0] == NOWHERE and found[1, 1] == found[40, 40] == OTHERS
    assert set(np.unique(found[100:]).tolist()) == {1, 2}


def test_a_pixel_is_the_same_in_any_window_of_several_parts() -> None:
    image, seen = region(), np.ones((SIDE, SIDE), bool)
    fitted = Detector.fit_by_pairs("cva", [(image, seen, pairs())])
    part = part_numbers(fitted.parts, pairs(), seen)
    whole = fitted.probability(image, seen, part)
    window = np.s_[40:120, SEAM - 30 : SEAM + 40]
    found = fitted.probability(image[:, :, *window], seen[window], part[window])
    inner = np.s_[fitted.halo_px : -fitted.halo_px, fitted.halo_px : -fitted.halo_px]
    np.testing.assert_array_equal(found[inner], whole[window][inner])


def test_scenes_of_one_overpass_belong_together(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", np.ones((64, 64), np.uint8), frame(64, 64))
    start = datetime(2020, 6, 1, 23, 55, tzinfo=UTC)

    def at(minutes: float) -> Any:
        one = scene_of(path, geobox=frame(64, 64))
        return replace(one, datetime=start + timedelta(minutes=minutes))

    before, after = [at(0)], [at(98), at(10), at(0)]
    found = PassPairs.of(before, after)
    assert found.shape == (1, 2) and found.several
    assert found.key((before, after)) == [[0], [1, 0, 0]]
    sources = np.zeros((1, 3), np.int32), np.array([[0, 1, 2]], np.int32)
    np.testing.assert_array_equal(found.at((before, after), sources), [[1, 0, 0]])
    assert found.name(1) == "2020-06-01 → 2020-06-02"
    np.testing.assert_array_equal(found.at((before, []), sources[:1] * 2), [[0, 0, 0]])


def edge(changed: tuple[int, int], decided: int = 20_000) -> PartEdge:
    return PartEdge(("a", "b"), (decided, decided), changed)


def test_a_jump_is_said_if_it_is_large_and_no_accident() -> None:
    (said,) = edge_doubts([edge((4000, 400)), edge((3000, 500)), edge((500, 400))])
    assert "scenes of a meet those of b, 20.0% of the one side changed and 2.0%" in said
    assert "1 more edges jump, too. Set dates" in said
    assert not edge_doubts([edge((500, 400)), edge((80, 8), decided=400)])


def test_edges_are_counted_alike_however_the_region_is_cut() -> None:
    part = np.full((96, 96), 1, np.uint8)
    part[:, 32:], part[10:20, 40:60] = 2, NOWHERE
    classes = np.random.default_rng(0).integers(0, 2, (96, 96)).astype(np.uint8)
    classes[part == NOWHERE] = 255
    found = []
    for side in (32, 96):
        records = []
        for row in range(0, 96, side):
            for col in range(0, 96, side):
                top, left = max(row - 8, 0), max(col - 8, 0)
                core = np.s_[row - top : row - top + side, col - left : col - left + side]
                cover = part[top : row + side + 8, left : col + side + 8]
                text = part_edges(cover, core, classes[row : row + side, col : col + side])
                records.append(TileRecord(row, col, "k", "done", part_edges=text))
        found.append(summed_edges(records, ["others", "a", "b"]))
    assert found[0] == found[1] and found[0][0].decided_px == (96 * 8, 96 * 8)
    assert part_edges(np.ones((9, 9), np.uint8), np.s_[0:9, 0:9], classes[:9, :9]) == ""


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a region whose later date is an item in the west and, a day later, one in the
    east."""
    folder, image = tmp_path_factory.mktemp("two days"), region()
    scenes = [
        SceneOf("2020-06-01", image[0]),
        SceneOf("2022-06-01", image[1, :, :, :SEAM]),
        SceneOf("2022-06-03", image[1, :, :, SEAM:], first_col=SEAM),
    ]
    return write_pair(folder, scenes, frame(SIDE, SIDE))


def mapped(two_days: dict[str, Any], output: Path, tile_px: int, kind: str = "mad") -> Any:
    made = {**two_days, "output": str(output), "grid": {"tile_px": tile_px}, "checkpoint": kind}
    with in_process():
        return infer_region.run(InferRegionConfig.model_validate(made))


def test_a_region_of_two_days_is_mapped_without_a_seam(
    two_days: dict[str, Any], tmp_path: Path
) -> None:
    for tile_px in (64, 512):
        result = mapped(two_days, tmp_path / str(tile_px), tile_px)
    assert not any("meet" in line for line in result.summary())
    pixels, manifests = [], []
    for side in ("64", "512"):
        with rasterio.open(tmp_path / side / "probability.tif") as file:
            pixels.append(file.read())
        manifests.append(json.loads((tmp_path / side / "manifest.json").read_text()))
    np.testing.assert_array_equal(*pixels)
    assert manifests[0]["scene_edges"] == manifests[1]["scene_edges"]
    (found,) = manifests[0]["scene_edges"]
    assert sorted(found["parts"]) == ["2020-06-01 → 2022-06-01", "2020-06-01 → 2022-06-03"]
    assert found["jump"] < 0.02 and min(found["decided_px"]) > 2000
    text = (tmp_path / "64" / "detector.json").read_text()
    key = json.loads(text)["key"]
    fitted = load_detector(text, key)
    assert fitted is not None and len(fitted.parts) == 3
    assert load_detector(text.replace('"pair"', '"pear"'), key) is None
    assert "2 pairs of overpasses apart" in (tmp_path / "64" / "report.html").read_text()
    assert mapped(two_days, tmp_path / "64", 64).predicted == 0
