"""Change of the shipped `buildings`: its head for change, beside its maps of two dates compared.

No label is used for anything but the score. AUC: area under the ROC curve over all pixels; best F1:
at the best threshold, which only labels could tell; F1 and called: at the threshold of maps (the
head's own; 0.5 where maps are compared), and the share of pixels that it calls changed. total
variation is what `inference.compare maps` writes; independent: 1 − Σ p₁ p₂; after − before: what
was built, without what went. DSIFN's labels are of any change, and its pixels of 2 m; Guangzhou's
pixels are of 0.55 m.

    python tests/benchmarks/two_maps.py [--data ../shared/data] [--checkpoint buildings]
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import precision_recall_curve, roc_auc_score

from noise2map_core.detectors.compared import DECIDED_FROM
from noise2map_core.detectors.transitions import compare
from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.inference.networks.predictor import MAP, Predictor
from noise2map_core.inference.numeric_path import resolve_numeric_path
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.network import Task
from noise2map_core.testing.town import draw_town

TOWNS, TOWN_PX = 3, 512
EVERY = 10
"""Of Guangzhou's pairs."""

Floats = NDArray[np.float32]
Pair = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""Image [date, band, H, W], and where it changed [H, W]."""


def main(data: Path = Path("../shared/data"), checkpoint: str = "buildings") -> None:
    """Print a table for each set.

    Args:
        data: folder with `change/`.
        checkpoint: one of RGB that knows both tasks.
    """
    model = load_checkpoint(checkpoint)
    lattice = ChipLattice(model.spec.chip_px, model.spec.stride_px)
    path = resolve_numeric_path(InferenceConfig(), 0)
    tasks: tuple[Task, ...] = ("change", "segment")
    networks = {
        task: Predictor(model, path, lattice, model.spec.tasks[task].inference_timesteps, task)
        for task in tasks
    }
    limit = model.spec.tasks["change"].decided_from
    for name, pairs in sets(data).items():
        scores: dict[str, list[Floats]] = {}
        truth = []
        for image, changed in pairs:
            for method, score in _scores(networks, lattice, image).items():
                scores.setdefault(method, []).append(score.ravel())
            truth.append(changed.ravel())
        _print(name, scores, truth, limit)


def sets(data: Path) -> dict[str, Iterator[Pair]]:
    """Pairs by the name of their set."""
    return {
        "invented town": (_town(seed) for seed in range(TOWNS)),
        "DSIFN": _pairs(data / "change" / "dsifn"),
        "Guangzhou": islice(_pairs(data / "change" / "gz_cd"), 0, None, EVERY),
    }


def _town(seed: int) -> Pair:
    before, after = draw_town(np.random.default_rng(seed), TOWN_PX)
    return np.stack([before.picture, after.picture]), before.buildings != after.buildings


def _pairs(folder: Path) -> Iterator[Pair]:
    for path in sorted((folder / "A").iterdir()):
        image = [np.asarray(Image.open(folder / d / path.name).convert("RGB")) for d in "AB"]
        (label,) = (folder / "label").glob(f"{path.stem}.*")
        yield np.moveaxis(np.stack(image), -1, 1), np.asarray(Image.open(label).convert("L")) > 127


def _scores(
    networks: dict[Task, Predictor], lattice: ChipLattice, image: NDArray[np.uint8]
) -> dict[str, Floats]:
    """Scores [H, W] by method."""
    head = _predicted(networks["change"], lattice, image)[1]
    before, after = (_predicted(networks["segment"], lattice, image[[d]]) for d in (0, 1))
    return {
        "head": head,
        "total variation": compare(before, after)[0][1],
        "independent": 1 - (before * after).sum(axis=0),
        "after − before": after[1] - before[1],
    }


def _predicted(network: Predictor, lattice: ChipLattice, image: NDArray[np.uint8]) -> Floats:
    """Class probabilities of all of an image; beyond its edges nothing is observed."""
    height, width = image.shape[-2:]
    core = Window(0, 0, height, width)
    cover = lattice.cover(core)
    around = [(-cover.row, cover.row_stop - height), (-cover.col, cover.col_stop - width)]
    valid = np.pad(np.ones((len(image), height, width), bool), [(0, 0), *around])
    padded = np.pad(image, [(0, 0), (0, 0), *around])
    found, _ = network.passes(padded, valid, core, np.ones((height, width), bool))
    return found[MAP].numpy()


def _print(
    name: str, scores: dict[str, list[Floats]], truth: list[NDArray[np.bool_]], limit: float
) -> None:
    changed = np.concatenate(truth)
    print(f"{name}: {len(truth)} pairs, {changed.mean():.1%} changed")
    print(f"  {'':16} {'AUC':>6} {'best F1':>8} {'F1':>6} {'called':>7}")
    for method, parts in scores.items():
        score = np.concatenate(parts)
        precision, recall, _ = precision_recall_curve(changed, score)
        best = (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()
        called = score >= (limit if method == "head" else DECIDED_FROM)
        f1 = 2 * (called & changed).sum() / (called.sum() + changed.sum())
        area = roc_auc_score(changed, score)
        row = f"{area:6.3f} {best:8.3f} {f1:6.3f} {called.mean():7.1%}"
        print(f"  {method:16} {row}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
