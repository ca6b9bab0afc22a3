"""The report of a training says what scikit-learn says, in one page that holds all it needs."""

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve

from noise2map_core.evaluation.calibration_tally import CalibrationTally
from noise2map_core.evaluation.chip_tally import ChipTally
from noise2map_core.evaluation.counting import SplitPixels, model_logits, probability_of
from noise2map_core.models.spec import ClassSpec
from noise2map_core.training.report.facts import average_precision
from noise2map_core.training.report.page import write_page
from tests.factories import task_spec
from tests.training_factories import HOSTILE, SECRET, FinishedTraining, finished_training


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> FinishedTraining:
    return finished_training(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def page(training: FinishedTraining, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_page(path, training.page())
    return path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Elements and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_page_holds_all_it_needs_and_is_small(page: str) -> None:
    found = Reader(page)
    assert len(page) < 2e6
    assert not found.all("script") and not found.all("link")
    sources = [str(image["src"]) for image in found.all("img")]
    assert len(sources) > 10 and all(source.startswith("data:image/") for source in sources)
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    (policy,) = (m["content"] for m in found.all("meta") if "http-equiv" in m)
    assert f"'sha256-{digest}'" in str(policy) and "script" not in str(policy)
    assert not [tag for tag, attributes in found.tags if "style" in attributes]


def pixels_of(training: FinishedTraining) -> tuple[np.ndarray, np.ndarray]:
    """Probability of change and truth of all validation pixels that count."""
    logits_of = model_logits(training.model, (999,), "change")
    probabilities, truths = [], []
    for batch, truth in SplitPixels.of(training.store, "val", "change", 8).batches():
        probabilities.append(probability_of(logits_of(batch), 1.0)[:, 1][truth != 255])
        truths.append(truth[truth != 255])
    return np.concatenate(probabilities), np.concatenate(truths)


def test_curve_and_matrix_are_those_of_scikit_learn(training: FinishedTraining) -> None:
    probability, truth = pixels_of(training)
    (task,) = training.page().tasks
    assert task.confusion == confusion_matrix(truth, probability >= 0.5).tolist()
    # The report's curve has thresholds k / 200, scikit-learn's every probability that occurs.
    precision, recall, thresholds = precision_recall_curve(truth, probability)
    drawn = task.curve.series[0].points
    for step in range(1, 200):
        if step / 200 <= thresholds[-1]:
            at = np.searchsorted(thresholds, step / 200 - 1e-6)
            assert drawn[step] == pytest.approx((recall[at], precision[at]), abs=1e-4)
    (mark,) = task.curve.marks
    assert (mark.x, mark.y) == pytest.approx(drawn[100], abs=1e-4)


def test_average_precision_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    classes = tuple(
        ClassSpec(value=value, name=name, color="#000000")
        for value, name in enumerate(("field", "road", "house"))
    )
    truth = generator.integers(0, 3, (4, 40, 40)).astype(np.uint8)
    logits = generator.normal(0, 1, (1, 4, 3, 40, 40)) + 2 * np.moveaxis(np.eye(3)[truth], -1, 1)
    tally = CalibrationTally(task_spec("segment", classes=classes, threshold={}))
    tally.add(logits.astype(np.float32), truth)
    for entry in classes:
        expected = average_precision_score(
            (truth == entry.value).ravel(), softmax(logits[0], axis=1)[:, entry.value].ravel()
        )
        found = average_precision(tally.result().precision_recall[entry.name])
        assert found == pytest.approx(expected, abs=5e-3)


def test_the_worst_and_the_best_chips_are_told_apart_by_f1_and_do_not_overlap(
    training: FinishedTraining,
) -> None:
    tally = ChipTally(training.store, "change")
    pixels = SplitPixels.of(training.store, "val", "change", 8)
    generator = np.random.default_rng(0)
    for batch, _ in pixels.batches():
        # Each chip is wrong in a share of its own.
        wrong = generator.random(batch.truth("change").shape) < generator.random(
            (len(batch.chip), 1, 1)
        )
        tally.add(batch, (batch.truth("change") == 1) ^ wrong)
    worst, best = tally.extremes(3)
    assert len(worst) >= len(best) >= 1
    assert [score.f1 for score in worst] == sorted(score.f1 for score in worst)
    assert max(score.f1 for score in worst) <= min(score.f1 for score in best)
    corners = np.column_stack([training.store.read("row"), training.store.read("col")])
    chosen = corners[[score.chip for score in (*worst, *best)]]
    apart = np.abs(chosen[:, None] - chosen[None]).max(axis=2)
    assert (apart[~np.eye(len(chosen), dtype=bool)] >= 16).all()


def test_each_chip_is_shown_with_images_label_prediction_and_probability(
    training: FinishedTraining,
) -> None:
    (task,) = training.page().tasks
    for chip in (*task.worst, *task.best):
        names = [name for name, _ in chip.panels]
        assert names == ["before", "after", "label", "prediction", "probability"]
    assert "data:image/png" in task.timesteps


def test_a_report_of_several_classes_shows_each_of_them(tmp_path: Path) -> None:
    names = ("other", "forest", "water", "building")
    training = finished_training(tmp_path, classes=names)
    (task,) = training.page().tasks
    assert np.shape(task.confusion) == (4, 4)
    assert [series.name for series in task.curve.series] == list(names)
    assert [row[0] for row in task.scores] == list(names)
    for chip in (*task.worst, *task.best):
        assert [name for name, _ in chip.panels] == ["image", "label", "prediction", "probability"]
    picture = Image.open(BytesIO(base64.b64decode(task.timesteps.partition(",")[2])))
    shown = {color for _, color in picture.convert("RGB").getcolors(1 << 24) or ()}
    assert {tuple(bytes.fromhex(color[1:])) for color, _ in task.classes} <= shown
    write_page(tmp_path / "report.html", training.page())
    assert "Segmentation: validation" in (tmp_path / "report.html").read_text()


def test_the_picture_of_labels_has_the_colours_of_the_classes(training: FinishedTraining) -> None:
    (task,) = training.page().tasks
    chip = task.worst[0]
    number = int(chip.caption.split()[1].rstrip(":"))
    columns = training.store.read_chip(number, ("label_change", "valid"))
    url = dict(chip.panels)["label"]
    picture = Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))
    shown = np.asarray(picture.convert("RGBA"))
    known = columns["valid"].all(axis=0) & (columns["label_change"] != 255)
    assert (shown[..., 3] > 0).tolist() == known.tolist()
    changed = known & (columns["label_change"] == 1)
    assert (shown[changed][:, :3] == (0xD7, 0x19, 0x1C)).all()


def test_hostile_names_and_secrets_stay_out(tmp_path: Path) -> None:
    training = finished_training(tmp_path, names=HOSTILE)
    write_page(tmp_path / "report.html", training.page())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    found = Reader(text)
    assert not found.all("script")
    assert all(str(image["src"]).startswith("data:") for image in found.all("img"))
    assert len(found.all("style")) == 1
    assert unescape(text).count(f"changed{HOSTILE}") > 5
    assert SECRET not in text and "mlflow.example.org" in text


def test_cost_is_what_the_workers_held(page: str) -> None:
    words = " ".join(Reader(page).words)
    # 360 s of two workers with half a processor each.
    assert "CPU hours 0.1" in words
    assert "2 × 0.5 CPU (a processor)" in words
