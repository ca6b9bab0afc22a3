"""The alarm on implausible nights: how often it is false, and what it hits.

    python tests/benchmarks/night_alarm.py [--nights 300] [--seeds 3]

Nights over an invented landscape, told by a detector that was fitted once, as a network is trained
once. A plain night has its own noise, haze and light, follows the season, and is cloudy over 0 to
90 %. Every tenth night after the first ten has a fault, each kind in turn; nights with a fault are
compared with the last ten, but are not among them for others, as if seen to at once.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.detectors.detector import Detector
from noise2map_core.nightly.alarm import alarms_of
from noise2map_core.nightly.scores import NightScore
from noise2map_core.settings.alerts import AlarmConfig
from noise2map_core.testing.exposure import expose, is_cloud
from noise2map_core.testing.landscape import build_landscape

SIDE = 384
FIRST = date(2025, 1, 1)
NUM_PLAIN = 10
CLOUD_DN = 6000
KINDS = {"hidden": "recorded is hidden", "changed": "are changed", "drift": "spread unlike"}

Image = NDArray[Any]


def main(nights: int = 300, seeds: int = 3) -> None:
    """Print false alarms of plain nights, and hits by fault."""
    plain: Counter[str] = Counter()
    hits: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(seeds):
        for fault, said in _season(np.random.default_rng(seed), nights):
            (hits[fault] if fault else plain).update(["nights", *said, *(["any"] if said else [])])
    print(f"{'':24}{'nights':>8}{'any':>8}" + "".join(f"{kind:>9}" for kind in KINDS))
    for name, found in (("plain", plain), *hits.items()):
        cells = "".join(f"{found[kind]:9d}" for kind in KINDS)
        print(f"{name:24}{found['nights']:8d}{found['any']:8d}{cells}")


def _season(rng: Generator, nights: int) -> Iterator[tuple[str, list[str]]]:
    """Each night behind the first ten: its fault, and by what the alarm was raised."""
    pictures, classes = expose(rng, build_landscape(rng, SIDE))
    before, after = pictures.astype(np.float64)
    clear = np.asarray(~is_cloud(classes).any(axis=0))
    detector = Detector.fit("mad", [(np.stack([before, after]), clear)])
    threshold, faults, number = detector.threshold(0.01), _faults(), 0
    known: list[NightScore] = []
    for night in range(nights):
        fault = ""
        image, valid = _plain_night(rng, after, night)
        if night >= NUM_PLAIN and night % 10 == 0:
            fault, number = list(faults)[number % len(faults)], number + 1
            image, valid = faults[fault](rng, image, valid)
        score = _score(detector, threshold, before, image, valid, clear, night)
        if night >= NUM_PLAIN:
            texts = alarms_of(score, known[-AlarmConfig().nights :], AlarmConfig())
            yield fault, [kind for kind, words in KINDS.items() if any(words in t for t in texts)]
        if not fault:
            known.append(score)


def _plain_night(rng: Generator, after: Image, night: int) -> tuple[Image, Image]:
    """Light, haze and noise of its own, a season of a hundred nights, cloud over 0 to 90 %."""
    season = np.array([0, 0.02, 0.04, -0.06, 0.03]) * np.sin(2 * np.pi * night / 100)
    gain = 1 + season + rng.normal(0, 0.01, 5)
    haze = max(0.0, float(rng.normal(0.01, 0.01)))
    image = after * gain[:, None, None] * (1 - haze) + 2300 * haze
    image = image * (1 + rng.normal(0, 0.012, image.shape))
    return image, ~_clouds(rng, float(rng.uniform(0, 0.9)))


def _clouds(rng: Generator, share: float) -> Image:
    """Blobs over a share of the area."""
    rough = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), SIDE / 16)
    return np.asarray(rough > np.quantile(rough, 1 - share))


Fault = Callable[[Generator, Image, Image], tuple[Image, Image]]


def _faults() -> dict[str, Fault]:
    return {
        "haze of 30 %": lambda _, image, valid: (image * 0.7 + 2300 * 0.3, valid),
        "numbers 25 % higher": lambda _, image, valid: (image * 1.25, valid),
        "offset of 1,000": lambda _, image, valid: (image + 1000, valid),
        "shifted by 3 pixels": lambda _, image, valid: (np.roll(image, 3, axis=2), valid),
        "red for near infrared": lambda _, image, valid: (image[[0, 1, 3, 2, 4]], valid),
        "mask lost, cloud 30 %": _mask_lost,
        "overcast by 98 %": lambda rng, image, _: (image, ~_clouds(rng, 0.98)),
        "a flood over 60 %": _flooded,
    }


def _mask_lost(rng: Generator, image: Image, valid: Image) -> tuple[Image, Image]:
    return np.where(_clouds(rng, 0.3), CLOUD_DN, image), np.ones_like(valid)


def _flooded(rng: Generator, image: Image, valid: Image) -> tuple[Image, Image]:
    return np.where(_clouds(rng, 0.6), image * 0.15 + 100, image), valid


def _score(
    detector: Detector, threshold: float, before: Image, image: Image, valid: Image,
    clear: Image, night: int,
) -> NightScore:  # fmt: skip
    """What a slice of this night would hold."""
    decided = valid & clear
    probability = detector.probability(np.stack([before, image]), decided)[decided]
    percents = np.bincount(np.rint(probability * 100).astype(np.int64), minlength=101)
    changed, hidden = int((probability >= threshold).sum()), int((~valid & clear).sum())
    return NightScore(
        FIRST + timedelta(days=night), len(probability), changed, hidden, tuple(percents.tolist())
    )


if __name__ == "__main__":
    tyro.cli(main)
