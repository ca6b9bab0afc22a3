"""Change without labels, on real scenes: how detectors rank pixels, decide, and keep their word.

Every labelled pixel of a set is scored; no label is used for anything else. AUC: area under the
ROC curve, mean over places; best F1: at the best threshold of each place, which only labels could
tell, mean; F1: of all places' pixels at the threshold for 1 % false alarms; alarms: share of the
pixels labelled unchanged that this threshold calls changed, median over places; ECE: calibration
error over all pixels. Sets whose labels are of one kind of change (buildings, floods) count any
other change as false.

Behind them: alarms on pairs without change, where any alarm is false.

    python tests/benchmarks/detectors.py [--data ../shared/data] [--kinds mad irmad cva]
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import tyro
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from sklearn.metrics import precision_recall_curve, roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.detectors.detector import Detector
from noise2map_core.settings.detector import Kind
from tests.unchanged_pairs import Pair, unchanged_pairs

LANDSAT = ("blue", "green", "red", "nir08", "swir16", "swir22")
SENTINEL = ("blue", "green", "red", "nir", "swir16", "swir22")
ALARMS = 0.01
ASKED = (0.01, 0.05)
"""Shares of false alarms that are asked for where nothing changed."""
UNCHANGED_CITIES = ("abudhabi", "beihai")
UNLABELLED = 255
NUM_BINS = 15


class Place(NamedTuple):
    """A pair with labels."""

    image: NDArray[Any]
    """[date, band, H, W]"""
    labels: NDArray[np.uint8]
    """[H, W]: 1 changed, 0 not, 255 not labelled."""


class Scored(NamedTuple):
    """A place's labelled pixels."""

    probability: NDArray[np.float32]
    changed: NDArray[np.bool_]
    called: NDArray[np.bool_]
    """Changed by the threshold."""


def main(
    data: Path = Path("../shared/data"), kinds: tuple[Kind, ...] = ("mad", "irmad", "cva")
) -> None:
    """Print a table for each set.

    Args:
        data: folder with `stac/` and `change/`.
        kinds: detectors.
    """
    for name, places in sets(data).items():
        print(f"{name}: {len(places)} places")
        print(f"  {'':6} {'AUC':>6} {'best F1':>8} {'F1':>6} {'alarms':>7} {'ECE':>6}")
        for kind in kinds:
            print(f"  {kind:6} {_row([_score(kind, place) for place in places])}", flush=True)
    _print_false_alarms(data, kinds)


def _print_false_alarms(data: Path, kinds: tuple[Kind, ...]) -> None:
    """Shares of pixels without change that are called changed, mean over pairs and the widest."""
    cities = {row["city"]: place for row, place in _oscd_by_row(data / "stac" / "oscd")}
    pairs = unchanged_pairs(data) | {
        f"OSCD {city}, no urban change": [(cities[city].image, cities[city].labels == 0)]
        for city in UNCHANGED_CITIES
    }
    rates = "".join(f"{f'{kind} at {asked:.0%}':>22}" for kind in kinds for asked in ASKED)
    print(f"false alarms where nothing changed: mean (least to most)\n{'':32}{rates}")
    for name, found in pairs.items():
        cells = "".join(_alarms(kind, found) for kind in kinds)
        print(f"{name:32}{cells}", flush=True)


def _alarms(kind: Kind, pairs: list[Pair]) -> str:
    shares = []
    for image, counted in pairs:
        everywhere = np.ones(counted.shape, bool)
        detector = Detector.fit(kind, [(image, everywhere)])
        found = detector.probability(image, everywhere)[counted]
        shares.append([(found >= detector.threshold(asked)).mean() for asked in ASKED])
    columns = 100 * np.array(shares).T
    return "".join(f"{f'{of.mean():.2f} ({of.min():.2f} to {of.max():.2f})':>22}" for of in columns)


def sets(data: Path) -> dict[str, list[Place]]:
    """The sets that there are, by name."""
    return {
        "Taizhou (Landsat 7)": [_taizhou(data / "stac" / "landsat-taizhou")],
        "OSCD (Sentinel-2, urban change)": list(_oscd(data / "stac" / "oscd")),
        "OMBRIA (Sentinel-2, false colour, floods)": list(_pairs(data / "change" / "ombria")),
        "Guangzhou (RGB, buildings)": list(_pairs(data / "change" / "gz_cd")),
    }


def _taizhou(folder: Path) -> Place:
    dates = ("landsat-taizhou-20000317", "landsat-taizhou-20030206")
    image = np.stack([[_read(folder / date / f"{band}.tif") for band in LANDSAT] for date in dates])
    (labels,) = folder.glob("landsat-taizhou-change-*/*.tif")
    return Place(image, _read(labels))


def _oscd(folder: Path) -> Iterator[Place]:
    return (place for _, place in _oscd_by_row(folder))


def _oscd_by_row(folder: Path) -> Iterator[tuple[dict[str, str], Place]]:
    for row in csv.DictReader((folder / "index.csv").open()):
        shape = int(row["height"]), int(row["width"])
        days = (row[date].replace("-", "") for date in ("before", "after"))
        image = np.stack(
            [
                [_read(folder / f"oscd-{row['city']}-{day}" / f"{band}.tif", shape)
                 for band in SENTINEL]
                for day in days
            ]
        )  # fmt: skip
        (labels,) = (folder / f"oscd-{row['city']}-change").glob("*.tif")
        yield row, Place(image, _read(labels))


def _pairs(folder: Path) -> Iterator[Place]:
    for path in sorted((folder / "A").iterdir()):
        image = np.stack([_picture(folder / date / path.name) for date in ("A", "B")])
        (labels,) = (folder / "label").glob(f"{path.stem}.*")
        yield Place(image, (np.asarray(Image.open(labels).convert("L")) > 127).astype(np.uint8))


def _read(path: Path, shape: tuple[int, int] | None = None) -> NDArray[Any]:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1, out_shape=shape, resampling=Resampling.bilinear))


def _picture(path: Path) -> NDArray[np.uint8]:
    return np.moveaxis(np.asarray(Image.open(path).convert("RGB")), -1, 0)


def _score(kind: Kind, place: Place) -> Scored:
    everywhere = np.ones(place.labels.shape, bool)
    detector = Detector.fit(kind, [(place.image, everywhere)])
    known = place.labels != UNLABELLED
    probability = detector.probability(place.image, everywhere)[known]
    changed = place.labels[known] == 1
    return Scored(probability, changed, probability >= detector.threshold(ALARMS))


def _row(scored: list[Scored]) -> str:
    both = [one for one in scored if 0 < one.changed.sum() < one.changed.size]
    auc = np.mean([roc_auc_score(one.changed, one.probability) for one in both])
    best = np.mean([_best_f1(one) for one in both])
    everything = Scored(*map(np.concatenate, zip(*scored, strict=True)))
    called, changed = everything.called, everything.changed
    f1 = 2 * (called & changed).sum() / (called.sum() + changed.sum())
    alarms = np.median([one.called[~one.changed].mean() for one in both])
    return f"{auc:6.3f} {best:8.3f} {f1:6.3f} {alarms:7.3f} {_calibration(everything):6.3f}"


def _best_f1(one: Scored) -> float:
    precision, recall, _ = precision_recall_curve(one.changed, one.probability)
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-9)).max())


def _calibration(one: Scored) -> float:
    bins = np.minimum((one.probability * NUM_BINS).astype(int), NUM_BINS - 1)
    parts = [bins == number for number in np.unique(bins)]
    off = (abs(float(one.probability[p].mean()) - float(one.changed[p].mean())) for p in parts)
    return sum(part.mean() * distance for part, distance in zip(parts, off, strict=True))


if __name__ == "__main__":
    tyro.cli(main)
