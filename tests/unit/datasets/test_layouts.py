"""Data sets as they are downloaded, in small: what ends in the store is what was drawn."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from noise2map_core.chips.store import open_chips
from noise2map_core.cli.commands.ingest_dataset import IngestDatasetResult, run
from noise2map_core.datasets.layouts import PUBLISHED
from noise2map_core.datasets.spacenet7 import SPLITS
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from noise2map_core.settings.datasets import PublishedConfig
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig
from tests.dataset_factories import picture, save, write_pairs, write_whu_segment, write_xview2
from tests.layout_factories import (
    COLS,
    MINIATURES,
    PX,
    XBD_SUBTYPES,
    drawn,
    write_miniature,
    write_spacenet7_download,
    write_xbd,
)

SPLIT_OF = {"train": "train", "Train": "train", "val": "val", "valid": "val", "": "test"}


def ingest(
    root: Path, kind: str, chip_px: int = PX, protocol: str = "strict", **dataset: Any
) -> IngestDatasetResult:
    """A store beside the data set."""
    output = root.parent / f"{root.name}-{protocol}-{len(list(root.parent.iterdir()))}.zarr"
    found = {"kind": kind, "root": root, **dataset}
    config = {"dataset": found, "output": output, "chip_px": chip_px, "protocol": protocol}
    return run(IngestDatasetConfig.model_validate(config))


def shown(result: IngestDatasetResult, task: str) -> dict[str, int]:
    """Pixels of class 1 by split."""
    counts = result.attributes["counts"]
    return {split: list(part["label_px"][task].values())[1] for split, part in counts.items()}


@pytest.mark.parametrize("name", MINIATURES)
def test_a_data_set_as_published_is_stored_with_its_splits_and_its_pixels(
    name: str, tmp_path: Path
) -> None:
    mini = MINIATURES[name]
    drawn_in = write_miniature(tmp_path / "data", mini)
    result = ingest(tmp_path / "data", mini.kind, **mini.settings)
    counts = result.attributes["counts"]
    expected = {SPLIT_OF.get(split, "test"): n for split, n in mini.counts.items()}
    pixels = {SPLIT_OF.get(split, "test"): px for split, px in drawn_in.items()}
    if "train" in expected and "val" not in expected:  # the last of four is held out
        expected |= {"train": 3, "val": 1}
        pixels |= {"train": pixels["train"] - 5 * COLS, "val": 5 * COLS}
    assert {split: part["chips"] for split, part in counts.items()} == expected
    (task,) = result.attributes["classes"]
    assert task == ("change" if len(mini.images) == 2 else "segment")
    assert shown(result, task) == pixels
    assert not any(result.attributes["dataset"]["dropped"].values())


def test_every_published_kind_has_a_row_and_a_page() -> None:
    assert set(get_args(PublishedConfig.model_fields["kind"].annotation)) == set(PUBLISHED)
    assert all(row.page.startswith("https://") and row.terms for row in PUBLISHED.values())


def test_inria_is_tested_on_the_first_five_tiles_of_a_city(tmp_path: Path) -> None:
    root = tmp_path / "data" / "AerialImageDataset"
    for city in ("austin", "tyrol-w"):
        for number in (1, 5, 6, 11, 36):
            save(root / f"train/images/{city}{number}.tif", picture(PX, PX, number))
            save(root / f"train/gt/{city}{number}.tif", drawn(number % 9))
    save(root / "test/images/bellingham1.tif", picture(PX, PX, 0))
    chips = open_chips(ingest(tmp_path / "data", "inria").output)
    names = [Path(str(one)).stem for one in chips["items"].values[:, 0]]
    tested = {
        name for name, split in zip(names, chips.split.values, strict=True) if split == "test"
    }
    assert tested == {"austin1", "austin5", "tyrol-w1", "tyrol-w5"}
    assert len(names) == 10 and chips.attrs["gsd"] == 0.3


def write_second(root: Path, *, colour: bool) -> None:
    """Three training images and a test image: left what was tree is building, right unchanged."""
    colours = {0: (255, 255, 255), 4: (0, 255, 0), 5: (128, 0, 0)}
    folders = ("im1", "im2", "label1", "label2") if colour else ("A", "B", "labelA", "labelB")
    for split, count in (("train", 3), ("test", 1)):
        for number in range(count):
            for date, (image, label) in enumerate(zip(folders[:2], folders[2:], strict=True)):
                save(root / split / image / f"{number}.png", picture(PX, PX, number + date))
                codes = drawn(number, yes=4 + date)
                if colour:
                    codes = np.array([colours.get(v, (0, 0, 0)) for v in range(6)], np.uint8)[codes]
                save(root / split / label / f"{number}.png", codes)


@pytest.mark.parametrize("colour", [True, False])
def test_second_has_the_classes_that_change_leads_from_and_to(tmp_path: Path, colour: bool) -> None:
    write_second(tmp_path / "data", colour=colour)
    result = ingest(tmp_path / "data", "second")
    chips = open_chips(result.output).load()
    names = [one["name"] for one in result.attributes["classes"]["segment"]]
    assert names == ["water", "ground", "low_vegetation", "tree", "building", "playground"]
    test = chips.isel(chip=np.flatnonzero(chips.split.values == "test")[0])
    changed = drawn(0) > 0
    assert np.array_equal(test.label_change, changed)
    for date, name in enumerate(("tree", "building")):
        expected = np.where(changed, names.index(name), 255)
        assert np.array_equal(test.label_segment[date], expected)
    change = ingest(tmp_path / "data", "second", task="change")
    assert shown(change, "change")["test"] == COLS


def test_lists_of_names_split_a_data_set(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", {"all": 6}) / "all"
    lists = {"train": "1.png\n2.png\n\n", "val": "3\n", "test": "label/5.png\r\n", "trainval": "6"}
    (root / "list").mkdir()
    for name, text in lists.items():
        (root / "list" / f"{name}.txt").write_text(text)
    result = ingest(root, "levir-cd")
    chips = open_chips(result.output)
    found = [Path(str(one)).stem for one in chips["items"].values[:, 0]]
    assert dict(zip(found, chips.split.values.tolist(), strict=True)) == {
        "1": "train", "2": "train", "3": "val", "5": "test",
    }  # fmt: skip
    assert "2 samples left out (in no list)" in result.summary()[0]
    (root / "list" / "test.txt").write_text("5.png\n77.png\n78.png\n")
    with pytest.raises(ConfigError, match=r"2 names of files that are not there in test.txt: 77,"):
        ingest(root, "levir-cd")
    (root / "list" / "test.txt").write_text("5.png\n1.png\n")
    with pytest.raises(ConfigError, match=r"test.txt names '1', which the list of another split"):
        ingest(root, "levir-cd")
    for name in ("train", "val", "test"):
        (root / "list" / f"{name}.txt").unlink()
    with pytest.raises(ConfigError, match=r"trainval.txt is no list of a split"):
        ingest(root, "levir-cd")


def test_a_layout_that_is_unknown_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", {"train": 1}, label="truth")
    with pytest.raises(ConfigError) as told:
        ingest(tmp_path / "data", "s2looking")
    assert "\n" not in str(told.value)
    for said in ("holds train, train/A, train/B, train/truth", "{split}/{Image1,Image2,label}"):
        assert said in str(told.value)
    write_miniature(tmp_path / "other", MINIATURES["SYSU-CD"])
    with pytest.raises(ConfigError, match=r"looks like: sysu-cd, clcd, folders; set dataset.kind"):
        ingest(tmp_path / "other", "s2looking")


def test_two_data_sets_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_miniature(tmp_path / "data" / name, MINIATURES["LEVIR-CD"])
    with pytest.raises(ConfigError, match=r"holds several data sets.*data/one, .*data/two"):
        ingest(tmp_path / "data", "levir-cd")
    result = ingest(tmp_path / "data" / "one", "levir-cd")
    assert result.attributes["counts"]["test"]["chips"] == 3


def test_files_that_archives_of_macos_bring_along_are_no_images(tmp_path: Path) -> None:
    write_miniature(tmp_path / "data" / "LEVIR", MINIATURES["LEVIR-CD"])
    for folder in ("LEVIR", "__MACOSX/LEVIR"):
        for name in ("A", "B", "label"):
            path = tmp_path / "data" / folder / "train" / name / "._train1.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"Mac OS X")
    counts = ingest(tmp_path / "data", "levir-cd").attributes["counts"]
    assert {split: part["chips"] for split, part in counts.items()} == {
        "train": 4, "val": 2, "test": 3,
    }  # fmt: skip


def test_a_task_without_masks_is_refused(tmp_path: Path) -> None:
    write_miniature(tmp_path / "data", MINIATURES["LEVIR-CD"])
    with pytest.raises(ConfigError, match="levir-cd has no masks for segment; it has them for"):
        ingest(tmp_path / "data", "levir-cd", task="both")


def test_all_masks_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    write_miniature(tmp_path / "data", MINIATURES["WHU-CD of the reference"])
    root = tmp_path / "data"
    save(root / "train/OUT/train1.png", drawn(1, yes=2))
    both = drawn(2)
    both[-1] = 1
    save(root / "train/OUT/train2.png", both)
    save(root / "test/OUT/test1.png", drawn(1)[:12])
    (root / "test/B/test2.png").unlink()
    with pytest.raises(ConfigError, match=r"has 1 names without partner: test/A/test2.png"):
        ingest(root, "whu")
    save(root / "test/B/test2.png", picture(PX, PX, 1))
    with pytest.raises(ConfigError) as told:
        ingest(root, "whu")
    for said in (
        r"2 masks whose values are not known (known are 0, 1 and nothing else, or 0 and 255): "
        "train/OUT/train1.png (2), train/OUT/train2.png (1, 255)",
        "1 files of another size than their image: test/OUT/test1.png (test1.png 12x16, test1.png",
    ):
        assert said in str(told.value)
    result = ingest(root, "whu", protocol="paper")
    assert result.attributes["counts"]["train"]["chips"] == 2
    assert result.attributes["counts"]["test"]["chips"] == 2
    dropped = result.attributes["dataset"]["dropped"]
    assert sorted(dropped.values()) == [0, 1, 2]


@pytest.mark.parametrize(
    "names", [("before", "after", "change label"), ("2012", "2016", "change_label")]
)
def test_the_one_pair_of_whu_is_split_by_rows(tmp_path: Path, names: tuple[str, ...]) -> None:
    root = tmp_path / "whu"
    tall = picture(10 * PX + 4, PX, 5)
    label = np.zeros(tall.shape[:2], np.uint8)
    label[: 5 * PX : PX], label[7 * PX, :3], label[9 * PX + 1 :, 0] = 1, 1, 1
    for name in names[:2]:
        save(root / name / f"{name}.tif", tall)
    save(root / names[2] / "change_label.tif", label)
    result = ingest(root, "whu")
    counts = result.attributes["counts"]
    assert {split: part["chips"] for split, part in counts.items()} == {
        "train": 7, "val": 1, "test": 3,
    }  # fmt: skip
    assert shown(result, "change") == {"train": 5 * PX, "val": 3, "test": PX - 1 + 4}
    chips = open_chips(result.output).load()
    assert np.array_equal(chips.image.values[9, 0], tall[9 * PX : 10 * PX].transpose(2, 0, 1))
    assert "the upper 70 % of its rows" in result.summary()[1]
    with pytest.raises(
        ConfigError, match="has not both train and test, which protocol paper takes"
    ):
        ingest(root, "whu", protocol="paper")


def test_masks_of_other_values_are_said_by_settings(tmp_path: Path) -> None:
    mini = MINIATURES["folders of pairs without split"]
    write_miniature(tmp_path / "data", mini)
    mask = np.ones((PX, PX), np.uint8)
    mask[:2], mask[2] = 2, 255
    for path in (tmp_path / "data" / "label").iterdir():
        save(path, mask)
    with pytest.raises(ConfigError, match=r"3 masks whose values .*label/1.png \(2\)"):
        ingest(tmp_path / "data", "folders", resolution=1)
    said = ingest(tmp_path / "data", "folders", resolution=1, mask_yes=2, mask_unlabelled=255)
    assert said.attributes["counts"]["test"]["label_px"]["change"] == {
        "unchanged": 3 * PX * (PX - 3), "changed": 3 * PX * 2,
    }  # fmt: skip
    everything = {"resolution": 1, "mask_yes": 2}
    with pytest.raises(OutputMismatchError):
        run(IngestDatasetConfig.model_validate({
            "dataset": {"kind": "folders", "root": tmp_path / "data", **everything},
            "output": said.output, "chip_px": PX,
        }))  # fmt: skip
    save(tmp_path / "data" / "label" / "1.png", np.minimum(mask, 1))
    half = ingest(tmp_path / "data", "folders", resolution=1, mask_yes=1, mask_unlabelled=255)
    assert shown(half, "change")["test"] == PX * PX + 2 * PX * (PX - 3)


AREAS = (SPLITS["train"][0], SPLITS["val"][3], SPLITS["test"][1])


def test_spacenet7_as_downloaded_is_burnt_and_some_areas_are_enough(tmp_path: Path) -> None:
    months = ((2018, 1), (2018, 2), (2018, 4))
    root = write_spacenet7_download(
        tmp_path / "SN7", {AREAS[0]: months, AREAS[2]: months[:2]}, outside=2
    )
    result = ingest(root, "spacenet7", task="both")
    counts = result.attributes["counts"]
    assert {split: part["chips"] for split, part in counts.items()} == {"train": 2, "test": 1}
    assert shown(result, "change") == {"train": 2 * COLS, "test": COLS}
    assert shown(result, "segment") == {"train": (1 + 2 + 2 + 3) * COLS, "test": 3 * COLS}
    told = "\n".join(result.summary())
    assert "1 of the 30 areas of train are here" in told and "0 of the 15 areas of val" in told
    assert "1 pairs reach over months that are missing" in told
    assert "10 polygons lie outside of their image and are not burnt; the first: train/L15" in told
    single = ingest(root, "spacenet7", task="segment")
    assert shown(single, "segment") == {"train": (1 + 3) * COLS, "test": COLS}  # without clouds


def test_spacenet7_polygons_on_the_map_are_refused(tmp_path: Path) -> None:
    root = write_spacenet7_download(tmp_path / "SN7", {AREAS[1]: ((2018, 1), (2018, 2))})
    for path in root.rglob("*.geojson"):
        path.write_text(path.read_text().replace("[5, ", "[-500, ").replace("[0, ", "[-505, "))
    with pytest.raises(ConfigError, match="2 files of polygons that all lie outside of"):
        ingest(root, "spacenet7")
    with pytest.raises(ConfigError, match="is left"):
        ingest(root, "spacenet7", protocol="paper")


SANTA_ROSA = "santa-rosa-wildfire_"


def xbd(root: Path, **sources: bool) -> Path:
    images = {
        "train": {
            f"{SANTA_ROSA}0000000{n}": XBD_SUBTYPES for n in range(2)
        } | {"mexico-earthquake_00000000": ("destroyed",)},
        "tier3": {f"{SANTA_ROSA}00000007": ("no-damage",)},
        "hold": {f"{SANTA_ROSA}00000008": ("destroyed",)},
        "test": {f"{SANTA_ROSA}00000004": XBD_SUBTYPES, f"{SANTA_ROSA}00000005": ()},
    }  # fmt: skip
    return write_xbd(root, images, **sources)


BUILDING = 16 * 16
"""Pixels of a building of 64 px in an image of 1024 px as of 256."""


@pytest.mark.parametrize("labels", [True, False])
def test_damage_is_the_change_of_xbd(tmp_path: Path, labels: bool) -> None:
    root = xbd(tmp_path / "xbd", labels=labels)
    result = ingest(root, "xview2", 256)
    counts = result.attributes["counts"]
    assert {split: part["chips"] for split, part in counts.items()} == {
        "train": 3, "val": 1, "test": 2,
    }  # fmt: skip
    assert shown(result, "change") == {
        "train": 2 * 3 * BUILDING, "val": BUILDING, "test": 3 * BUILDING,
    }  # fmt: skip
    chips = open_chips(result.output).load()
    first = chips.isel(chip=0).label_change.values
    column = first[::32, 0][:5].tolist()
    assert column == [0, 1, 1, 1, 255 if labels else 0]  # in the order of XBD_SUBTYPES
    every = ingest(root, "xview2", 256, event="all")
    assert shown(every, "change")["train"] == (2 * 3 + 1) * BUILDING
    buildings = ingest(root, "xview2", 256, task="segment")
    assert shown(buildings, "segment")["test"] == 5 * BUILDING
    with pytest.raises(ConfigError, match="no image of guatemala; it has mexico-earthquake, santa"):
        ingest(root, "xview2", 256, event="guatemala")


def test_change_of_the_paper_is_the_buildings_before_and_says_so(tmp_path: Path) -> None:
    root = xbd(tmp_path / "xbd")
    result = ingest(root, "xview2", 256, "paper")
    counts = result.attributes["counts"]
    assert {split: part["chips"] for split, part in counts.items()} == {"train": 3, "test": 1}
    assert shown(result, "change") == {"train": 11 * BUILDING, "test": 5 * BUILDING}
    assert [one["name"] for one in result.attributes["classes"]["change"]][1] == "building_before"
    told = "\n".join(result.summary())
    assert "1 samples left out (no buildings)" in told and "not damage" in told


def test_a_mask_that_is_missing_is_refused_or_left_out(tmp_path: Path) -> None:
    root = xbd(tmp_path / "xbd")
    name = f"test/labels/{SANTA_ROSA}00000004_{{}}_disaster.json"
    for when in ("pre", "post"):
        (root / name.format(when)).unlink()
    said = "1 images whose mask is missing: " + name.format("post")
    with pytest.raises(ConfigError, match=said):
        ingest(root, "xview2", 256)
    (root / f"test/labels/{SANTA_ROSA}00000005_pre_disaster.json").write_bytes(
        (root / f"train/labels/{SANTA_ROSA}00000000_pre_disaster.json").read_bytes()
    )
    result = ingest(root, "xview2", 256, "paper")
    assert any("mask is missing" in why for why in result.attributes["dataset"]["dropped"])


def test_images_without_buildings_are_true_negatives_outside_of_the_paper(tmp_path: Path) -> None:
    root = write_xview2(tmp_path / "xview2", px=64)
    strict = ingest(root, "xview2", 256, task="segment")
    chips = open_chips(strict.output).load()
    assert chips.sizes["chip"] == 15
    empty = [not label.any() for label in chips.label_segment.values]
    assert sum(empty) == 9 and (chips.label_segment.values <= 1).all()
    with pytest.raises(ConfigError, match=r"no labels/ or targets/ .*nothing says what changed"):
        ingest(root, "xview2", 256)


def pil(path: Path) -> Image.Image:
    return Image.open(path)


def test_masks_of_whu_in_the_paper_are_shrunk_and_truncated_as_by_pillow(tmp_path: Path) -> None:
    root = write_whu_segment(tmp_path / "whu", {"train": 2, "test": 1})
    chips = {
        protocol: open_chips(ingest(root, "whu", 256, protocol, task="segment").output).load()
        for protocol in ("paper", "strict")
    }
    paper: xr.Dataset = chips["paper"]
    for number in range(3):
        path = root / str(paper["items"].values[number, 0])
        small = np.asarray(pil(path).resize((256, 256), Image.Resampling.BILINEAR))
        assert np.array_equal(paper.image.values[number, 0], small.transpose(2, 0, 1))
        mask = pil(path.parents[1] / "Mask" / path.name)
        share = np.asarray(mask.resize((256, 256), Image.Resampling.BILINEAR)) / 255
        assert np.array_equal(paper.label_segment.values[number, 0], share.astype(np.int64))
    more = chips["strict"].label_segment.values.mean() / paper.label_segment.values.mean()
    assert more > 1.1  # what the border of buildings is
