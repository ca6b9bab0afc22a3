"""Pairs made of chips of one date, against these chips."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from noise2map_core.chips.parts import PART_COLUMNS, join_parts, require_free, write_parts
from noise2map_core.chips.store import open_chips, open_store
from noise2map_core.chips.writer import StoreHeader
from noise2map_core.cli.commands import draw_worlds, ingest_dataset, pair_chips
from noise2map_core.datasets.mask_pairs import PIXELS
from noise2map_core.runtime.errors import ChipStoreError, OutputMismatchError
from noise2map_core.settings.datasets import WhuConfig
from noise2map_core.workflows.tools.draw_worlds import DrawWorldsConfig
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig
from noise2map_core.workflows.tools.pair_chips import PairChipsConfig
from tests.dataset_factories import write_whu_segment


@pytest.fixture(scope="module")
def singles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chips of one date with masks, in three splits."""
    root = tmp_path_factory.mktemp("singles")
    write_whu_segment(root / "whu", {"train": 2, "val": 1, "test": 1}, px=64)
    dataset = WhuConfig(root=root / "whu", task="segment")
    output = root / "chips.zarr"
    ingest_dataset.run(IngestDatasetConfig(dataset=dataset, output=output, chip_px=64))
    return output


def make(chips: tuple[Path, ...], output: Path, paste: float, per_chip: int = 2) -> xr.Dataset:
    pair_chips.run(PairChipsConfig(chips=chips, output=output, paste=paste, per_chip=per_chip))
    return open_chips(output).load()


@pytest.fixture(scope="module", params=[0.0, 1.0], ids=["places", "pasted"])
def pairs(
    request: pytest.FixtureRequest, singles: Path, tmp_path_factory: pytest.TempPathFactory
) -> xr.Dataset:
    return make((singles,), tmp_path_factory.mktemp("pairs") / "chips.zarr", request.param)


def test_change_is_where_the_dates_show_other_classes(pairs: xr.Dataset) -> None:
    one, two = pairs["label_segment"].values.swapaxes(0, 1)
    assert (pairs["label_change"].values == (one ^ two)).all()
    assert 0 < (one != two).mean() < 1


def test_a_pixel_differs_only_where_something_was_pasted(singles: Path, tmp_path: Path) -> None:
    pairs = make((singles,), tmp_path / "pairs.zarr", paste=1.0)
    same = (pairs["image"][:, 0] == pairs["image"][:, 1]).all("band").values
    assert (pairs["label_change"].values[~same] == 1).all()


def test_two_places_are_two_chips_of_one_split(singles: Path, tmp_path: Path) -> None:
    found, pairs = open_chips(singles).load(), make((singles,), tmp_path / "pairs.zarr", paste=0.0)
    owner: dict[bytes, set[str]] = {}
    for image, split in zip(found["image"].values, found["split"].values, strict=True):
        owner.setdefault(image[0].tobytes(), set()).add(str(split))
    for image, split in zip(pairs["image"].values, pairs["split"].values, strict=True):
        assert all(str(split) in owner[date.tobytes()] for date in image)
        assert image[0].tobytes() != image[1].tobytes()


def test_every_chip_is_first_and_second_as_often_as_asked(singles: Path, tmp_path: Path) -> None:
    found, pairs = open_chips(singles).load(), make((singles,), tmp_path / "pairs.zarr", paste=0.0)
    for date in (0, 1):
        drawn = sorted(image[date].tobytes() for image in pairs["image"].values)
        assert drawn == sorted(2 * [image[0].tobytes() for image in found["image"].values])


def test_stores_are_joined_and_the_same_again_to_the_byte(singles: Path, tmp_path: Path) -> None:
    first = make((singles, singles), tmp_path / "one.zarr", paste=0.5, per_chip=1)
    assert first.sizes["chip"] == 2 * open_store(singles).num_chips
    make((singles, singles), tmp_path / "two.zarr", paste=0.5, per_chip=1)
    assert open_store(tmp_path / "one.zarr").objects == open_store(tmp_path / "two.zarr").objects


def test_chips_of_one_item_and_of_several_are_joined(singles: Path, tmp_path: Path) -> None:
    store = open_store(singles)
    header, columns = StoreHeader.of(store), {name: store.read(name) for name in PART_COLUMNS}
    columns["items"] = np.pad(columns["items"], ((0, 0), (0, 0), (0, 2)), constant_values=-1)
    pixels = [store.read_shard(shard, PIXELS) for shard in range(store.num_shards)]
    columns |= {name: np.concatenate([part[name] for part in pixels]) for name in PIXELS}
    require_free(several := tmp_path / "several.zarr")
    join_parts(several, header, write_parts(several, header, [columns]))
    make((singles, several), tmp_path / "pairs.zarr", paste=0.5, per_chip=1)
    items = open_store(tmp_path / "pairs.zarr").read("items")
    assert items.shape == (2 * store.num_chips, 2, 3)
    assert (items[..., 0] >= 0).all() and (items[..., 1:] == -1).all()


def test_a_store_of_pairs_says_how_they_were_made(singles: Path, tmp_path: Path) -> None:
    pairs = make((singles,), tmp_path / "pairs.zarr", paste=0.5, per_chip=1)
    assert pairs.attrs["made_pairs"] == {"per_chip": 1, "paste": 0.5, "seed": 0}


def test_what_cannot_be_paired_is_refused(singles: Path, tmp_path: Path) -> None:
    make((singles,), tmp_path / "pairs.zarr", paste=0.5)
    with pytest.raises(ChipStoreError, match=r"has 2 date\(s\) and labels of: segment, change"):
        make((tmp_path / "pairs.zarr",), tmp_path / "other.zarr", paste=0.5)
    with pytest.raises(OutputMismatchError, match="is there already"):
        make((singles,), tmp_path / "pairs.zarr", paste=0.5)


@pytest.fixture(scope="module")
def worlds(singles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Invented pairs with the classes and the pixel size of `singles`."""
    output = tmp_path_factory.mktemp("worlds") / "chips.zarr"
    alike = open_store(singles).attributes
    draw_worlds.run(
        DrawWorldsConfig(
            output=output,
            count=3,
            chip_px=alike["chip_px"],
            resolution=alike["gsd"],
            val_share=0.34,
        )
    )
    return output


def test_pairs_of_another_store_are_taken_over_as_they_are(
    singles: Path, worlds: Path, tmp_path: Path
) -> None:
    output = tmp_path / "pairs.zarr"
    pair_chips.run(PairChipsConfig(chips=(singles,), pairs=(worlds,), output=output, per_chip=1))
    theirs, joined = open_chips(worlds).load(), open_chips(output).load()
    rows = {image.tobytes(): row for row, image in enumerate(joined["image"].values)}
    found = joined.isel(chip=[rows[image.tobytes()] for image in theirs["image"].values])
    for name in ("label_segment", "label_change", "valid", "split"):
        assert (found[name].values == theirs[name].values).all()
    assert joined.sizes["chip"] == open_chips(singles).sizes["chip"] + theirs.sizes["chip"]


def test_single_dates_are_no_pairs_to_take_over(singles: Path, tmp_path: Path) -> None:
    config = PairChipsConfig(chips=(singles,), pairs=(singles,), output=tmp_path / "pairs.zarr")
    with pytest.raises(ChipStoreError, match=r"has 1 date.s. and labels of: segment"):
        pair_chips.run(config)
    assert not config.output.exists()
