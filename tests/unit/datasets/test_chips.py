"""Chips of data sets against the files as PIL reads them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from noise2map_core.chips.store import iter_shards, open_chips, open_store, shard_key
from noise2map_core.cli.commands.ingest_dataset import IngestDatasetResult, run
from noise2map_core.datasets.spacenet7 import SPLITS
from noise2map_core.runtime.errors import AssetReadError, ConfigError, OutputMismatchError
from noise2map_core.settings.datasets import (
    DatasetConfig,
    FoldersConfig,
    Protocol,
    SpaceNet7Config,
    WhuConfig,
    XView2Config,
)
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig
from tests.dataset_factories import (
    picture,
    save,
    smooth,
    write_pairs,
    write_spacenet7,
    write_whu_segment,
    write_xview2,
)


def ingest(
    dataset: DatasetConfig, output: Path, chip_px: int, protocol: Protocol = "strict"
) -> IngestDatasetResult:
    config = IngestDatasetConfig(dataset=dataset, output=output, chip_px=chip_px, protocol=protocol)
    return run(config)


def pil(path: Path) -> NDArray[Any]:
    """[band, H, W], or [H, W] of one band."""
    pixels = np.asarray(Image.open(path))
    return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels


@pytest.fixture(scope="module")
def spacenet7(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spacenet7(tmp_path_factory.mktemp("spacenet7"), 24, 20)


@pytest.fixture(scope="module")
def both(spacenet7: Path, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    output = tmp_path_factory.mktemp("both") / "chips.zarr"
    ingest(SpaceNet7Config(root=spacenet7, task="both"), output, 16)
    return open_chips(output).load()


def files_of(root: Path, chip: xr.Dataset) -> tuple[list[Path], list[Path]]:
    """Images and footprints of the two months of a chip."""
    images = [root / str(name) for name in chip["items"].values]
    masks = [path.parents[1] / "labels_raster" / f"{path.stem}_Buildings.tif" for path in images]
    return images, masks


def test_chips_of_both_tasks_hold_the_pixels_of_the_files(
    spacenet7: Path, both: xr.Dataset
) -> None:
    assert both.sizes["chip"] == 59 * 2 * 4
    for number in range(0, both.sizes["chip"], 7):
        chip = both.isel(chip=number)
        images, masks = files_of(spacenet7, chip)
        row, col = int(chip.row), int(chip.col)
        place = np.s_[..., row : row + 16, col : col + 16]
        pad = [(0, 8), (0, 12)]
        image = np.stack([np.pad(pil(path), [(0, 0), *pad])[place] for path in images])
        truth = np.stack([np.pad(pil(path) > 0, pad, constant_values=255)[place] for path in masks])
        inside = np.pad(np.ones((24, 20), bool), pad)[place]
        label = np.stack(
            [np.where(inside, np.pad(pil(path) // 255, pad)[place], 255) for path in masks]
        )
        assert truth.shape == label.shape
        assert np.array_equal(chip.image, image[:, :3])
        assert np.array_equal(chip.valid, image[:, 3] == 255)
        assert np.array_equal(chip.label_segment, label)
        change = np.where(inside, label[0] != label[1], 255)
        assert np.array_equal(chip.label_change, change)


def test_every_pixel_of_the_images_is_in_one_chip(both: xr.Dataset) -> None:
    known = (both.label_change != 255).sum().item()
    assert known == 59 * 2 * 24 * 20
    counts = both.attrs["counts"]
    assert counts["test"]["px"] == 14 * 2 * 24 * 20
    assert counts["test"]["valid_px"] == [14 * 2 * 19 * 20] * 2
    seen = {"segment": both.valid.values, "change": both.valid.values.all(axis=1)}
    for task, array in (("segment", both.label_segment), ("change", both.label_change)):
        mine = np.where(seen[task], array.values, 255)[both.split.values == "test"]
        assert list(counts["test"]["label_px"][task].values()) == [
            int((mine == value).sum()) for value in (0, 1)
        ]


def test_places_have_a_plane_of_their_own_and_one_split(both: xr.Dataset) -> None:
    seen: dict[str, set[str]] = {}
    for crs, split in zip(both.crs.values, both.split.values, strict=True):
        seen.setdefault(str(crs), set()).add(str(split))
    assert len(seen) == 59
    for split, areas in SPLITS.items():
        for area in areas:
            assert seen[f'LOCAL_CS["{area}",UNIT["metre",1]]'] == {split}
    assert pyproj.CRS(next(iter(seen))).name == SPLITS["train"][0]
    assert both.attrs["gsd"] == 4.0
    west, _, _, north = both.footprint.values.T
    assert np.array_equal(west, both.col * 4.0) and np.array_equal(north, both.row * -4.0)


def test_months_are_dated(both: xr.Dataset) -> None:
    months = np.unique(both.datetime.values.astype("datetime64[M]").astype(str), axis=0)
    assert months.tolist() == [["2018-11", "2018-12"], ["2018-12", "2019-01"]]


def test_the_paper_ignores_transparency_and_leaves_out_what_is_less_than_a_chip(
    spacenet7: Path, tmp_path: Path
) -> None:
    config = SpaceNet7Config(root=spacenet7, task="change")
    result = ingest(config, tmp_path / "chips.zarr", 16, "paper")
    chips = open_chips(result.output)
    assert chips.sizes["chip"] == 59 * 2 and chips.valid.values.all()
    assert "label_segment" not in chips
    origin = chips.attrs["dataset"]
    assert (origin["protocol"], origin["evaluated_on"]) == ("paper", "val")
    assert "scores on val; 59 samples left out (no footprints)" in result.summary()[0]


def test_a_store_of_segmentation_has_one_date(spacenet7: Path, tmp_path: Path) -> None:
    config = SpaceNet7Config(root=spacenet7, task="segment")
    store = open_store(ingest(config, tmp_path / "chips.zarr", 32).output)
    assert store.tasks == ["segment"] and store.num_dates == 1
    assert store.has_labels_of("segment") and not store.has_labels_of("change")
    assert store.pixel_arrays == ["image", "valid", "label_segment"]
    shard = next(iter_shards(store.path, "test"))
    assert shard["label_segment"].shape == (len(shard["chip"]), 1, 32, 32)
    assert shard["image"].shape[1:] == (1, 3, 32, 32)
    assert store.statistics("train").mean.shape == (1, 3)


def test_pairs_of_plain_folders_are_stored_as_they_are(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "levir", {"train": 4, "val": 2, "test": 12})
    chips = open_chips(
        ingest(FoldersConfig(root=root, resolution=0.5), tmp_path / "chips.zarr", 16).output
    ).load()
    assert np.isnat(chips.datetime.values).all()
    for number, name in enumerate(chips["items"].values):
        before, after = (root / str(one) for one in name)
        assert (before.parent.name, after.parent.name) == ("A", "B")
        chip = chips.isel(chip=number)
        assert before.relative_to(root).parts[0] == chip.split.item()
        assert np.array_equal(chip.image, np.stack([pil(before), pil(after)]))
        label = before.parents[1] / "label" / before.name
        assert np.array_equal(chip.label_change, pil(label) // 255)
    assert chips.valid.all()
    assert chips.attrs["counts"]["test"]["chips"] == 12


def test_pairs_that_no_folder_splits_are_all_for_testing(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", {"test": 3}) / "test"
    config = FoldersConfig(root=root, resolution=2, attribution="Somebody (licence: not stated)")
    store = open_store(ingest(config, tmp_path / "chips.zarr", 16).output)
    assert set(store.splits) == {"test"} and store.num_chips == 3
    assert {item["attribution"] for item in store.attributes["items"]} == {config.attribution}


def test_images_of_one_city_are_one_place(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", {"test": 3}) / "test"
    for path in sorted(root.glob("*/*.*")):
        path.rename(path.with_stem(f"rome-{path.stem}"))
    config = FoldersConfig(root=root, resolution=2, area_pattern="(.+)-[0-9]+$")
    store = open_store(ingest(config, tmp_path / "chips.zarr", 16).output)
    assert set(store.places.tolist()) == {"rome"}
    assert len(store.attributes["crs_table"]) == 3  # each on pixels of its own
    assert store.read("light").shape == (2, 2, 3)
    with pytest.raises(ConfigError, match="does not fit image"):
        ingest(config.model_copy(update={"area_pattern": "(x)"}), tmp_path / "other.zarr", 16)
    for wrong, why in (("a", "a group"), ("(", "no regular expression")):
        with pytest.raises(ValueError, match=why):
            FoldersConfig(root=root, resolution=2, area_pattern=wrong)


def test_whu_images_are_halved_as_pil_halves_them(tmp_path: Path) -> None:
    root = write_whu_segment(tmp_path / "whu", {"train": 2, "test": 1})
    config = WhuConfig(root=root, task="segment")
    chips = open_chips(ingest(config, tmp_path / "chips.zarr", 256).output).load()
    assert chips.sizes["chip"] == 3 and chips.attrs["gsd"] == 0.6
    for number in range(3):
        chip = chips.isel(chip=number)
        path = root / str(chip["items"].values[0])
        halved = np.asarray(Image.open(path).resize((256, 256), Image.Resampling.BILINEAR))
        difference = np.abs(chip.image.values[0].astype(int) - halved.transpose(2, 0, 1))
        assert difference.max() <= 1
        truth = Image.open(path.parents[1] / "Mask" / path.name)
        nearest = np.asarray(truth.resize((256, 256), Image.Resampling.NEAREST))
        assert np.array_equal(chip.label_segment.values[0], nearest // 255)


def test_xview2_is_resized_between_nearest_pixels_and_its_masks_cut_at_one_half(
    tmp_path: Path,
) -> None:
    root = write_xview2(tmp_path / "xview2", px=1024)
    grey = root / "test" / "xBD" / "santa-rosa-wildfire" / "masks" / "00000001_pre_disaster.png"
    levels = np.repeat(np.array([0, 255, 0, 255], np.uint8), [256, 256, 258, 254])
    save(grey, np.broadcast_to(levels, (1024, 1024)).copy())
    result = ingest(XView2Config(root=root), tmp_path / "chips.zarr", 256, "paper")
    chips = open_chips(result.output)
    chip = chips.isel(chip=np.flatnonzero(chips.split.values == "test")[0]).load()
    assert chip["items"].values[0].endswith("test/xBD/santa-rosa-wildfire/images/" + grey.name)
    expected = np.repeat(np.array([0, 1, 0, 1], np.uint8), 64)
    # column 192 lies between 769 and 770, no and yes: 127.5 is rounded to 128, more than a half
    assert (chip.label_change.values == expected).all()
    after = pil(root / str(chip["items"].values[1])).astype(int)
    four = sum(after[:, row::4, col::4] for row in (1, 2) for col in (1, 2))
    assert np.array_equal(chip.image.values[1], (four + 2) // 4)


def test_a_rerun_adds_nothing_and_a_broken_run_is_continued(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "levir", {"train": 40, "test": 3})
    config, output = FoldersConfig(root=root, resolution=0.5), tmp_path / "chips.zarr"
    first = ingest(config, output, 16)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in output.rglob("*") if p.is_file()}
    again = ingest(config, output, 16)
    assert (first.written, again.written, again.shards) == (2, 0, 2)
    assert again.summary()[-1] == f"nothing new: {output} is complete and current"
    assert before == {
        p: (p.stat().st_mtime_ns, p.read_bytes()) for p in output.rglob("*") if p.is_file()
    }
    (output / "manifest.json").unlink()
    (output / shard_key("image", 1)).unlink()
    assert ingest(config, output, 16).written == 2  # its records are gone with the first finish
    assert {p: body for p, (_, body) in before.items()} == {p: p.read_bytes() for p in before}


def test_another_data_set_or_other_pixels_do_not_overwrite_a_store(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "levir", {"train": 3, "test": 1})
    config, output = FoldersConfig(root=root, resolution=0.5), tmp_path / "chips.zarr"
    ingest(config, output, 16)
    with pytest.raises(OutputMismatchError, match="other scenes or settings"):
        ingest(config, output, 8)
    save(root / "test" / "A" / "1.png", picture(16, 16, 999))
    with pytest.raises(OutputMismatchError, match="other scenes or settings"):
        ingest(config, output, 16)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "levir", {"train": 3, "test": 1})
    config, output = FoldersConfig(root=root, resolution=0.5), tmp_path / "chips.zarr"
    path = root / "test" / "B" / "1.png"
    save(path, picture(16, 12, 0))
    with pytest.raises(ConfigError, match=r"1 files of another size .*test/B/1\.png \(.*16x12, "):
        ingest(config, output, 16)
    save(path, picture(16, 16, 0)[..., 0])
    with pytest.raises(ConfigError, match=r"B/1\.png has 1 band"):
        ingest(config, output, 16)
    assert not output.exists()


def test_a_mask_of_more_than_yes_and_no_is_named(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "levir", {"train": 3, "test": 1})
    save(root / "test" / "label" / "1.png", np.arange(256, dtype=np.uint8).reshape(16, 16))
    with pytest.raises(ConfigError, match=r"1 masks whose .*label/1\.png \(2, 3, 4,"):
        ingest(FoldersConfig(root=root, resolution=0.5), tmp_path / "chips.zarr", 16)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_truncated_image_is_named_and_no_store_is_finished(tmp_path: Path, suffix: str) -> None:
    root = write_pairs(tmp_path / "levir", {"train": 3, "test": 1}, suffix=suffix, px=64)
    path = root / "test" / "B" / f"1.{suffix}"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(AssetReadError, match=rf"B/1\.{suffix} cannot be read"):
        ingest(FoldersConfig(root=root, resolution=0.5), tmp_path / "chips.zarr", 16)
    assert not (tmp_path / "chips.zarr" / "manifest.json").exists()


def test_footprints_that_the_metadata_promise_are_missed_by_name(
    spacenet7: Path, tmp_path: Path
) -> None:
    root = write_spacenet7(tmp_path / "spacenet7", 8, 8)
    name = "global_monthly_2018_12_mosaic_L15-1848E-0793N_7394_5018_13_Buildings.tif"
    next(root.rglob(name)).unlink()
    said = f"1 files that the metadata promise missing: {name}"
    with pytest.raises(ConfigError, match=said):
        ingest(SpaceNet7Config(root=root), tmp_path / "chips.zarr", 8)
    paper = ingest(SpaceNet7Config(root=root), tmp_path / "chips.zarr", 8, "paper")
    assert paper.attributes["dataset"]["dropped"] == {"no footprints": 59, said[2:]: 1}


def test_images_smaller_than_a_chip_leave_the_paper_without_any(
    spacenet7: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no image .* is as large as a chip of 64 pixels"):
        ingest(SpaceNet7Config(root=spacenet7), tmp_path / "chips.zarr", 64, "paper")


def test_the_factory_s_images_are_smooth() -> None:
    steps = np.abs(np.diff(smooth(512, 0).astype(int), axis=0))
    assert 0 < steps.max() < 40
