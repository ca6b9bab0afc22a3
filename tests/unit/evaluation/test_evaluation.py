import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.metrics import confusion_matrix

from noise2map_core.chips.store import ChipStore, open_chips, open_store
from noise2map_core.evaluation.batches import ChipBatch, ChipReader
from noise2map_core.evaluation.counting import (
    PixelOwners,
    SplitPixels,
    block_counts,
    model_logits,
    probability_of,
    score_histogram,
    threshold_decider,
)
from noise2map_core.evaluation.object_tally import ObjectTally
from noise2map_core.learning.objects import ObjectCounts
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.settings.labels import SplitConfig
from tests.chip_factories import BOX, CHIPS, make_store, plan_store, scenery
from tests.factories import checkpoint_spec

PX = CHIPS.chip_px


def bounds(top: int, left: int, bottom: int, right: int) -> tuple[float, float, float, float]:
    west, north = BOX.affine @ (left, top)
    east, south = BOX.affine @ (right, bottom)
    return west, south, east, north


SPLIT = SplitConfig(boxes={"train": (bounds(0, 0, 30, 50),), "val": (bounds(46, 0, 90, 50),)})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    job = plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT)
    return open_store(make_store(job))


@pytest.fixture(scope="module")
def chips(store: ChipStore) -> xr.Dataset:
    return open_chips(store.path).load()


def scorer(batch: ChipBatch) -> np.ndarray:
    """A score that follows from the pixel alone, so that its chip does not matter."""
    return (batch.image[:, 0, 0].astype(np.float32) % 97) / 97


def ground_truth(top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and score of every labelled, observed pixel of the scene in rows top … bottom."""
    pixels = scenery()
    window = slice(top, bottom), slice(0, 50)
    observed = (pixels.images != 0).all(axis=(0, 1))[window]
    truth = np.where(observed, pixels.labels[window], 255)
    score = (pixels.images[0, 0][window].astype(np.float32) % 97) / 97
    return truth, score


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_pixel_is_owned_by_the_chip_with_the_nearest_centre(
    store: ChipStore, chips: xr.Dataset, split: str
) -> None:
    chosen = store.chips_of(split)
    owners = PixelOwners(store, split)
    row, col = chips["row"].values[chosen], chips["col"].values[chosen]
    owned = np.stack([owners.owned(chip) for chip in chosen.tolist()])
    for y in range(row.min(), row.max() + PX):
        for x in range(col.min(), col.max() + PX):
            inside = (row <= y) & (y < row + PX) & (col <= x) & (x < col + PX)
            candidates = [
                (max(abs(y + 0.5 - r - PX / 2), abs(x + 0.5 - c - PX / 2)), r, c, index)
                for index, (r, c) in enumerate(zip(row, col, strict=True))
                if inside[index]
            ]
            mine = [i for _, r, c, i in candidates if owned[i, y - r, x - c]]
            assert mine == ([min(candidates)[3]] if candidates else [])


def test_every_labelled_pixel_of_a_split_is_counted_once(store: ChipStore) -> None:
    for split, rows in (("train", (0, 30)), ("val", (46, 90))):
        truth, score = ground_truth(*rows)
        pixels = SplitPixels.of(store, split, "change", 8)
        found = block_counts(pixels, threshold_decider(scorer, 0.5), 2, 16).sum(axis=0)
        known = truth != 255
        assert (found == confusion_matrix(truth[known], score[known] >= 0.5)).all()
        histogram = score_histogram(pixels, scorer, 1000)
        assert histogram.counts.sum() == known.sum()


def test_blocks_are_anchored_to_the_grid(store: ChipStore) -> None:
    truth, _ = ground_truth(0, 30)
    chips = open_chips(store.path)
    top = int(chips["row"].min()), int(chips["col"].min())
    origin = scenery_corner()
    rows, cols = np.nonzero(truth != 255)
    blocks = {
        ((origin[0] + r) // 16, (origin[1] + c) // 16) for r, c in zip(rows, cols, strict=True)
    }
    found = block_counts(
        SplitPixels.of(store, "train", "change", 8), threshold_decider(scorer, 0.5), 2, 16
    )
    assert len(found) == len(blocks), top


def scenery_corner() -> tuple[int, int]:
    """Row and column on the grid of the scenery's first pixel."""
    return round(-BOX.affine.f / 10), round(BOX.affine.c / 10)


def test_parts_of_several_workers_add_up(store: ChipStore) -> None:
    whole = SplitPixels.of(store, "val", "change", 8)
    total = score_histogram(whole, scorer, 1000)
    parts = [score_histogram(whole.part(rank, 3), scorer, 1000) for rank in range(3)]
    assert (sum(part.counts for part in parts) == total.counts).all()


def test_objects_are_those_of_the_whole_split_whatever_the_chips(store: ChipStore) -> None:
    truth, score = ground_truth(0, 30)
    expected = ObjectCounts.of(truth, (score >= 0.5).astype(np.uint8), 1)
    pixels = SplitPixels.of(store, "train", "change", 8)
    tally = ObjectTally(pixels, value=1)
    for batch, known in pixels.batches():
        tally.add(batch, known, threshold_decider(scorer, 0.5)(batch))
    assert tally.counts == expected
    assert expected.matched > 0


def test_a_model_scores_in_the_steps_of_the_map(store: ChipStore) -> None:
    torch.manual_seed(0)
    model = Noise2Map(checkpoint_spec(chip_px=16, temperature=2.0)).eval()
    batch = ChipReader(store, ("change",)).read(np.arange(5))
    score = probability_of(model_logits(model, (999, 0), "change")(batch), 2.0)[:, 1]
    image, valid = batch.inputs("change")
    with torch.inference_mode():
        logits = (model.logits(image, 999, valid) + model.logits(image, 0, valid)) / 2
    expected = torch.sigmoid((logits[:, 1] - logits[:, 0]) / 2)
    np.testing.assert_allclose(score, expected, atol=0.5001e-4)
    np.testing.assert_allclose(score * 10_000, np.rint(score * 10_000), atol=1e-3)
