"""Unlabelled images to pretrain on: chips of a store, or image files."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.order import CACHE_BYTES, Int64
from noise2map_core.chips.spread import band_spread
from noise2map_core.chips.store import CHIPS_PER_SHARD, ChipStore, open_store
from noise2map_core.datasets.unlabelled import ImageFiles, find_images
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.imagery.moments import Moments
from noise2map_core.models.spec import Normalisation
from noise2map_core.runtime.errors import ChipStoreError, ConfigError
from noise2map_core.settings.learning import ImagesConfig

HELD_OUT = 20
"""Where there is no validation part, every so many-th image is kept for it."""

CENTRE = 0.5
"""Of the draws in [0, 1): the middle of an image, a middle date."""

SAMPLED_IMAGES = 512
"""Image files behind mean and spread."""

RGB = ("red", "green", "blue")

Pixels = tuple[NDArray[Any], NDArray[np.bool_]]
"""Raw numbers [B, band, y, x] and where they were observed [B, y, x]."""


class UnlabelledImages(Protocol):
    """A numbered set of images of one chip size."""

    bands: tuple[str, ...]
    chip_px: int
    train: Int64
    """Numbers to train on."""
    val: Int64
    """Numbers to judge by."""
    shard_bytes: int
    """Of `CHIPS_PER_SHARD` images that are read together; 0 if each is read alone."""

    def read(self, numbers: Int64, draws: NDArray[np.float64]) -> Pixels:
        """Images of these numbers; `draws` [B, 2] in [0, 1) choose which part of each is shown."""
        ...

    def keep(self, num_bytes: int) -> None:
        """Keep so much of what was read."""
        ...

    def release(self, shards: Iterable[int]) -> None:
        """The images of these shards are not needed soon."""
        ...

    def normalisation(self) -> Normalisation:
        """Mean and spread of the training images, as one date."""
        ...


class StoreImages:
    """The chips of a store, a date of each; the draw chooses which.

    Training takes the part `train`, or all chips of a store without parts.
    """

    def __init__(self, store: ChipStore) -> None:
        self._store = store
        self._reader = ChipReader(store, ())
        self.bands = tuple(store.bands)
        self.chip_px = int(store.attributes["chip_px"])
        self.train = store.chips_of("train")
        if "val" in store.splits:
            self.val = store.chips_of("val")
        else:
            self.train, self.val = _held_out(self.train)
        self.shard_bytes = self._reader.shard_bytes

    def read(self, numbers: Int64, draws: NDArray[np.float64]) -> Pixels:
        """See `UnlabelledImages`."""
        batch = self._reader.read(numbers)
        return shown(batch.image, batch.valid, draws)

    def keep(self, num_bytes: int) -> None:
        """See `UnlabelledImages`."""
        self._reader.cache_bytes = num_bytes

    def release(self, shards: Iterable[int]) -> None:
        """See `UnlabelledImages`."""
        self._reader.release(shards)

    def normalisation(self) -> Normalisation:
        """See `UnlabelledImages`. Raises ChipStoreError if a band is constant."""
        moments = self._store.statistics("train").over_dates()
        return _normalisation(moments, band_spread(self._store, moments))


def shown(image: NDArray[Any], valid: NDArray[np.bool_], draws: NDArray[np.float64]) -> Pixels:
    """A date of each chip; `draws` [B, 2] choose which."""
    date, chosen = (draws[:, 0] * valid.shape[1]).astype(np.int64), np.arange(len(valid))
    return _finite(image[chosen, date], valid[chosen, date])


class FileImages:
    """Squares of image files; the draws choose where they lie."""

    def __init__(self, files: ImageFiles, bands: tuple[str, ...], chip_px: int) -> None:
        self._files, self._held = files, OrderedDict[int, Pixels]()
        self._bytes, self._kept = 0, CACHE_BYTES
        self.bands, self.chip_px = bands, chip_px
        self.train, self.val = _held_out(np.arange(len(files.names)))
        self.shard_bytes = 0

    def read(self, numbers: Int64, draws: NDArray[np.float64]) -> Pixels:
        """See `UnlabelledImages`. Raises AssetReadError."""
        squares = [
            self._square(*self._image(int(number)), draw)
            for number, draw in zip(numbers, draws, strict=True)
        ]
        images, observed = zip(*squares, strict=True)
        return np.stack(images), np.stack(observed)

    def keep(self, num_bytes: int) -> None:
        """See `UnlabelledImages`."""
        self._kept = num_bytes

    def release(self, shards: Iterable[int]) -> None:
        """See `UnlabelledImages`."""
        for number in (
            n
            for shard in shards
            for n in range(shard * CHIPS_PER_SHARD, (shard + 1) * CHIPS_PER_SHARD)
        ):
            if number in self._held:
                self._held.move_to_end(number, last=False)

    def _square(
        self, image: NDArray[Any], observed: NDArray[np.bool_], draw: NDArray[np.float64]
    ) -> Pixels:
        room = np.array(observed.shape) - self.chip_px + 1
        row, col = (draw * room).astype(int)
        window = (..., slice(row, row + self.chip_px), slice(col, col + self.chip_px))
        return image[window], observed[window]

    def _image(self, number: int) -> Pixels:
        if number not in self._held:
            image, observed = self._files.read(number)
            self._held[number] = image, observed
            self._bytes += image.nbytes + observed.nbytes
            while self._bytes > self._kept and len(self._held) > 1:
                _, dropped = self._held.popitem(last=False)
                self._bytes -= sum(part.nbytes for part in dropped)
        return self._held[number]

    def normalisation(self) -> Normalisation:
        """See `UnlabelledImages`; of evenly spread images. Raises ConfigError if a band is
        constant."""
        moments = Moments.none(1, len(self.bands))
        for number in self.train[:: max(1, len(self.train) // SAMPLED_IMAGES)]:
            image, observed = self._files.read(int(number))
            moments = moments.merge(Moments.of(image[None, None], observed[None, None]))
        std = np.sqrt(moments.m2 / np.maximum(moments.count, 1))
        for _, band in np.argwhere(std == 0):
            raise ConfigError(
                f"band {self.bands[band]} has one single value in all images. Use others."
            )
        return _normalisation(moments, std)


@dataclass(frozen=True)
class ImageSource:
    """Where images are: a chip store, or files. Picklable."""

    chips: Path | None
    files: ImageFiles | None
    bands: tuple[str, ...]
    chip_px: int

    @property
    def where(self) -> str:
        """The store, or the first file."""
        return str(self.chips) if self.files is None else f"{self.files.names[0]} and the others"

    def identity(self) -> Any:
        """What the images are, as a plain value: of files, their names and sizes."""
        if self.chips is not None:
            return open_store(self.chips).objects
        assert self.files is not None
        return [list(self.files.names), self.files.bytes, list(self.bands), self.chip_px]

    def open(self) -> UnlabelledImages:
        """The images. Raises ChipStoreError if there are too few."""
        if self.chips is not None:
            return StoreImages(open_store(self.chips))
        assert self.files is not None
        return FileImages(self.files, self.bands, self.chip_px)


def find_source(chips: Path | None, images: ImagesConfig) -> ImageSource:
    """The source of a config. Raises ConfigError unless exactly one of the two is set."""
    if (chips is None) == (images.root is None):
        raise ConfigError("set either chips, a chip store, or images.root, a folder or tar.")
    if chips is not None:
        store = open_store(chips)
        return ImageSource(chips, None, tuple(store.bands), int(store.attributes["chip_px"]))
    assert images.root is not None
    files = find_images(images.root, images.chip_px)
    default = RGB if files.num_bands == len(RGB) else _numbered(files.num_bands)
    bands = images.bands or default
    if len(bands) != files.num_bands:
        raise ConfigError(
            f"images.bands names {len(bands)} bands; the images have {files.num_bands}. Name each."
        )
    return ImageSource(None, files, bands, images.chip_px)


def require_enough(images: UnlabelledImages, where: str, batch_size: int) -> None:
    """Raise ChipStoreError unless there is a whole batch to train on, and something to judge by.

    Reads validation images until one shows something.
    """
    if len(images.train) < batch_size or not len(images.val):
        raise ChipStoreError(
            f"{where} has {len(images.train)} training and {len(images.val)} validation images; a "
            f"batch has {batch_size}. Lower training.batch, or add images."
        )
    for start in range(0, len(images.val), CHIPS_PER_SHARD):
        numbers = images.val[start : start + CHIPS_PER_SHARD]
        if images.read(numbers, np.full((len(numbers), 2), CENTRE))[1].any():
            return
    raise ChipStoreError(
        f"{where}: no pixel of the {len(images.val)} validation images is observed, so there is "
        "nothing to judge by. Add images, or mask less."
    )


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"band_{number}" for number in range(1, count + 1))


def _held_out(numbers: Int64) -> tuple[Int64, Int64]:
    """Numbers to train on, and those kept apart."""
    kept = np.arange(len(numbers)) % HELD_OUT == HELD_OUT - 1
    return numbers[~kept], numbers[kept]


def _finite(image: NDArray[Any], valid: NDArray[np.bool_]) -> Pixels:
    if np.issubdtype(image.dtype, np.floating):
        valid = valid & np.isfinite(image).all(axis=1)
    return image, valid


def _normalisation(moments: Moments, std: NDArray[np.float64]) -> Normalisation:
    mean, spread = (tuple(float(v) for v in values[0]) for values in (moments.mean, std))
    return Normalisation(mean=(mean,), std=(spread,))
