"""Unlabelled images of stores, folders and tars."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noise2map_core.chips.store import open_store
from noise2map_core.runtime.errors import AssetReadError, ChipStoreError, ConfigError
from noise2map_core.settings.learning import ImagesConfig
from noise2map_core.training.pretraining_data import find_source, require_enough
from tests.chip_factories import make_store, plan_store


def write_images(folder: Path, count: int = 24, px: int = 20) -> Path:
    """Images whose red says which one it is, and whose green and blue are row and column."""
    for number in range(count):
        rows, cols = np.mgrid[:px, :px]
        pixels = np.stack([np.full((px, px), number), rows, cols], axis=-1).astype(np.uint8)
        path = folder / f"class{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def tar_of(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(folder, arcname="images")
    return path


def images_in(root: Path, chip_px: int = 16) -> ImagesConfig:
    return ImagesConfig(root=root, chip_px=chip_px)


def test_a_folder_and_its_tar_show_the_same_squares(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images")
    draws = np.random.default_rng(0).random((5, 2))
    shown = [
        find_source(None, images_in(root)).open().read(np.arange(5), draws)
        for root in (folder, tar_of(folder))
    ]
    for one, other in zip(*shown, strict=True):
        np.testing.assert_array_equal(one, other)
    image, observed = shown[0]
    assert observed.all()
    corners = (draws * 5).astype(int)  # 20 pixels have room for 16 at five places
    np.testing.assert_array_equal(image[:, 1:, 0, 0], corners)
    assert all(len(np.unique(square[0])) == 1 for square in image)


def test_parts_are_apart_and_whole(tmp_path: Path) -> None:
    images = find_source(None, images_in(write_images(tmp_path / "images", 40))).open()
    assert sorted([*images.train, *images.val]) == list(range(40))
    assert len(images.val) == 2


def test_files_are_normalised_by_their_pixels(tmp_path: Path) -> None:
    images = find_source(None, images_in(write_images(tmp_path / "images"))).open()
    constants = images.normalisation()
    shown, _ = images.read(images.train, np.zeros((len(images.train), 2)))
    reds, places = shown[:, 0, 0, 0], np.arange(20)
    assert constants.mean[0] == pytest.approx((reds.mean(), places.mean(), places.mean()))
    assert constants.std[0] == pytest.approx((reds.std(), places.std(), places.std()))


@pytest.mark.parametrize("date", [0, 1])
def test_a_store_shows_the_date_that_is_drawn(tmp_path: Path, date: int) -> None:
    path = make_store(plan_store(tmp_path / "sources", tmp_path / "chips.zarr", labelled=False))
    images = find_source(path, ImagesConfig()).open()
    numbers = images.train[:3]
    shown, observed = images.read(numbers, np.full((3, 2), date / 2))
    store = open_store(path)
    for index, chip in enumerate(numbers.tolist()):
        stored = store.read_chip(chip, ["image", "valid"])
        np.testing.assert_array_equal(shown[index], stored["image"][date])
        np.testing.assert_array_equal(observed[index], stored["valid"][date])


def test_nothing_or_both_is_refused(tmp_path: Path) -> None:
    for chips, root in ((None, None), (tmp_path, tmp_path)):
        with pytest.raises(ConfigError, match=r"set either chips.* or images\.root"):
            find_source(chips, ImagesConfig(root=root))


def test_what_is_no_image_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no image"):
        find_source(None, images_in(tmp_path / "empty"))
    (tmp_path / "text.tar").write_text("not a tar")
    with pytest.raises(ConfigError, match="neither a folder nor a plain tar"):
        find_source(None, images_in(tmp_path / "text.tar"))


def test_images_of_another_kind_or_too_small_are_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 3)
    with pytest.raises(ConfigError, match=r"000\.png has 20 x 20 pixels, a chip has 32 x 32"):
        find_source(None, images_in(folder, 32))
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(folder / "z.png")
    with pytest.raises(ConfigError, match=r"z\.png has 1 bands of uint8, .*000\.png has 3"):
        find_source(None, images_in(folder))


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 3)
    file = folder / "class0" / "000.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(AssetReadError, match=r"000\.png cannot be read"):
        find_source(None, images_in(folder)).open().normalisation()


def test_a_batch_larger_than_the_images_is_refused(tmp_path: Path) -> None:
    images = find_source(None, images_in(write_images(tmp_path / "images", 3))).open()
    with pytest.raises(ChipStoreError, match="3 training and 0 validation images; a batch has 16"):
        require_enough(images, str(tmp_path), 16)
