"""Which samples each data set has under each protocol."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noise2map_core.datasets.benchmark import open_benchmark
from noise2map_core.datasets.sample import Benchmark, natural
from noise2map_core.datasets.spacenet7 import SPLITS
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.datasets import (
    DatasetConfig,
    FoldersConfig,
    Protocol,
    SpaceNet7Config,
    WhuConfig,
    XView2Config,
)
from tests.dataset_factories import (
    mask,
    save,
    write_pairs,
    write_spacenet7,
    write_whu_segment,
    write_xview2,
)


def names(benchmark: Benchmark, split: str) -> list[str]:
    return [sample.place for sample in benchmark.samples if sample.split == split]


@pytest.fixture(scope="module")
def spacenet7(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spacenet7(tmp_path_factory.mktemp("spacenet7"), 8, 8)


def test_the_spacenet7_split_is_the_published_one(real_data: Path) -> None:
    published = json.loads((real_data / "protocols.json").read_text())["spacenet7"]["splits"]
    assert published == SPLITS
    areas = [area for split in SPLITS.values() for area in split]
    assert len(areas) == len(set(areas)) == 59


@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_spacenet7_change_pairs_months_that_follow_each_other_and_are_labelled(
    spacenet7: Path, protocol: Protocol
) -> None:
    found = open_benchmark(SpaceNet7Config(root=spacenet7, task="change"), protocol)
    for split, areas in SPLITS.items():
        mine = [sample for sample in found.samples if sample.split == split]
        months = [tuple(f"{when:%Y-%m}" for when in sample.datetimes) for sample in mine]
        assert months == [("2018-11", "2018-12"), ("2018-12", "2019-01")] * len(areas)
        assert [sample.place for sample in mine[::2]] == areas
    assert found.dropped == {"no footprints": 59}
    assert found.evaluated_on == {"paper": "val", "strict": "test"}[protocol]
    assert all(path.is_file() for s in found.samples for path in (*s.images, *s.change))


def test_spacenet7_segmentation_takes_labelled_months_without_clouds(spacenet7: Path) -> None:
    found = open_benchmark(SpaceNet7Config(root=spacenet7, task="segment"), "strict")
    months = [f"{sample.datetimes[0]:%Y-%m}" for sample in found.samples]
    assert months == ["2018-11", "2019-01"] * 59
    assert list(found.dropped.values()) == [2 * 59]
    assert list(found.classes) == ["segment"]


def test_spacenet7_areas_or_metadata_that_are_missing_are_named(tmp_path: Path) -> None:
    config = SpaceNet7Config(root=tmp_path / "none")
    with pytest.raises(ConfigError, match=r"none does not exist.*spacenet\.ai.*CC BY-SA"):
        open_benchmark(config, "strict")
    config = SpaceNet7Config(root=tmp_path)
    with pytest.raises(ConfigError, match=r"holds nothing: no train/<area>/images_ma.*spacenet"):
        open_benchmark(config, "strict")
    area = tmp_path / "train" / "L15-0331E-1257N_1327_3160_13"
    (area / "images_masked").mkdir(parents=True)
    (tmp_path / "metadata_train.json").write_text("{}")
    with pytest.raises(ConfigError, match="lacks 'L15-0331E-1257N_1327_3160_13'"):
        open_benchmark(config, "strict")
    (tmp_path / "metadata_train.json").write_text("{")
    with pytest.raises(ConfigError, match="not readable metadata"):
        open_benchmark(config, "strict")


def test_whu_change_drops_pairs_without_change_in_the_paper_and_none_in_strict(
    tmp_path: Path,
) -> None:
    empty = ["train/3", "test/2", "test/10"]
    root = write_pairs(tmp_path, {"train": 20, "test": 11}, label="OUT", empty=empty, suffix="tif")
    config = WhuConfig(root=root, task="change")
    paper = open_benchmark(config, "paper")
    changed = [
        f"{n}" for n in range(1, 12) if Image.open(root / f"test/OUT/{n}.tif").getextrema()[1]
    ]
    assert names(paper, "test") == [f"test/{n}" for n in changed]
    assert len(names(paper, "train")) == 19 and not names(paper, "val")
    assert paper.dropped == {"no change": 3} and paper.selected_on == "test"
    strict = open_benchmark(config, "strict")
    assert names(strict, "test") == [f"test/{n}" for n in range(1, 12)]
    assert names(strict, "train") == [f"train/{n}" for n in range(1, 19)]
    assert names(strict, "val") == ["train/19", "train/20"]
    assert strict.selected_on == "val" and strict.dropped == {"no change": 0}


def test_a_pair_that_is_changed_all_over_drops_out_of_the_paper_as_in_the_reference(
    tmp_path: Path,
) -> None:
    root = write_pairs(tmp_path, {"train": 2, "test": 2}, label="OUT")
    save(root / "test" / "OUT" / "1.png", np.full((16, 16), 255, np.uint8))
    found = open_benchmark(WhuConfig(root=root), "paper")
    assert names(found, "test") == ["test/2"]


def test_validation_that_is_given_is_taken(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": 4, "val": 2, "test": 2})
    found = open_benchmark(FoldersConfig(root=root, resolution=0.5), "strict")
    assert names(found, "val") == ["val/1", "val/2"] and len(names(found, "train")) == 4


def test_whu_segmentation_has_no_validation_in_the_paper(tmp_path: Path) -> None:
    root = write_whu_segment(tmp_path, {"train": 4, "test": 2}, px=32)
    paper = open_benchmark(WhuConfig(root=root, task="segment"), "paper")
    assert names(paper, "val") == []
    config = WhuConfig(root=root, task="segment", val_share=0.5)
    with pytest.raises(ConfigError, match=r"dataset\.val_share is not used by protocol paper"):
        open_benchmark(config, "paper")
    strict = open_benchmark(config, "strict")
    assert names(strict, "val") == ["train/3", "train/4"]
    assert all(len(s.images) == len(s.segment) == 1 and not s.change for s in strict.samples)


@pytest.mark.parametrize("prefix", ["", "santa-rosa-wildfire_"])
@pytest.mark.parametrize("task", ["change", "segment"])
def test_xview2_in_the_paper_leaves_out_the_published_numbers_and_learns_the_mask_of_before(
    tmp_path: Path, prefix: str, task: str
) -> None:
    root = write_xview2(tmp_path, prefix, px=32)
    config = XView2Config.model_validate({"root": root, "task": task})
    paper = open_benchmark(config, "paper")
    three = [f"{prefix}{number}" for number in ("00000001", "00000002", "00000010")]
    assert names(paper, "train") == [f"train/{name}" for name in three]
    assert names(paper, "test") == [f"test/{name}" for name in three]
    assert paper.dropped == {"no buildings": 9}
    for sample in paper.samples:
        (found,) = sample.change if task == "change" else sample.segment
        assert (found.parent.name, found.name) == ("masks", sample.images[0].name)
        assert [p.name.rsplit("_", 2)[1] for p in sample.images] == (
            ["pre", "post"] if task == "change" else ["pre"]
        )


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (WhuConfig(root=Path("x"), task="change"), r"x does not exist.*gpcv\.whu\.edu\.cn"),
        (WhuConfig(root=Path("x"), task="segment"), r"x does not exist.*gpcv\.whu\.edu\.cn"),
        (XView2Config(root=Path("x")), r"x does not exist.*xview2\.org.*CC BY"),
        (FoldersConfig(root=Path("x"), resolution=1), r"x does not exist.*LEVIR"),
    ],
)
def test_a_folder_that_is_missing_is_named_with_where_to_get_it(
    config: DatasetConfig, missing: str
) -> None:
    with pytest.raises(ConfigError, match=missing):
        open_benchmark(config, "strict")


def test_a_pair_without_partner_is_named(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": 2, "test": 2})
    (root / "test" / "B" / "2.png").unlink()
    with pytest.raises(ConfigError, match=r"has 1 names without partner: test/A/2\.png"):
        open_benchmark(FoldersConfig(root=root, resolution=1), "strict")


def test_an_image_after_the_fire_that_is_missing_is_named(tmp_path: Path) -> None:
    root = write_xview2(tmp_path, px=32)
    images = root / "test" / "xBD" / "santa-rosa-wildfire" / "images"
    (images / "00000010_post_disaster.png").unlink()
    with pytest.raises(ConfigError, match=r"partner: .*/00000010_pre_disaster\.png"):
        open_benchmark(XView2Config(root=root), "strict")


def test_plain_folders_have_no_paper_protocol(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Set --protocol strict"):
        open_benchmark(FoldersConfig(root=tmp_path, resolution=1), "paper")


def test_one_training_image_cannot_be_split(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": 1, "test": 1})
    with pytest.raises(ConfigError, match="less than two images"):
        open_benchmark(FoldersConfig(root=root, resolution=1), "strict")


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": 1, "test": 1})
    (root / "train" / "B" / "1.png").unlink()
    (root / "train" / "B" / "Thumbs.db").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"train/B does not exist or holds no image"):
        open_benchmark(FoldersConfig(root=root, resolution=1), "strict")


def test_names_sort_by_their_numbers() -> None:
    assert sorted(["t_10_2", "t_9_11", "t_9_2", "a"], key=natural) == [
        "a",
        "t_9_2",
        "t_9_11",
        "t_10_2",
    ]


def test_masks_of_the_factory_hold_both_values() -> None:
    assert set(np.unique(mask(32, 32, 1))) == {0, 255}
