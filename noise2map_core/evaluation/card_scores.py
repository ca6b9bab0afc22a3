"""The table of scores in a model card: evaluate-maps adds to it what it measured."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from noise2map_core.evaluation.scores import MapScores
from noise2map_core.learning.skill import NO_BETTER
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import CARD_NAME
from noise2map_core.report.cards import SCORES
from noise2map_core.report.pages import render
from noise2map_core.runtime.atomic import write_atomically

NO_SCORES = "None yet: `noise2map evaluate-maps --add_to_card` adds those of a part held out."

HEAD = """| data | class | method | F1 (95 % block bootstrap) | IoU | ROC AUC | pixels |
| --- | --- | --- | --- | --- | --- | --- |"""


def score_rows(
    data: str, model: MapScores, baseline: MapScores | None
) -> Iterator[tuple[str, ...]]:
    """A row for each class that is sought, of the model and of change vector analysis."""
    for method, scores in (("this model", model), ("change vector analysis", baseline)):
        if scores is not None:
            sought = list(scores.classes)[1:] if len(scores.classes) == 2 else list(scores.classes)
            yield from (_row(data, name, method, scores) for name in sought)


def _row(data: str, name: str, method: str, scores: MapScores) -> tuple[str, ...]:
    one = scores.classes[name]
    doubts = f", {NO_BETTER}" if scores.doubts else ""
    return (
        data, name, method, f"{one.f1:.3f} ({one.f1_low:.3f}–{one.f1_high:.3f}){doubts}",
        f"{one.iou:.3f}", f"{scores.roc_auc:.3f}" if scores.roc_auc is not None else "",
        f"{scores.num_pixels:,}, {one.support:,} of the class",
    )  # fmt: skip


def add_to_card(checkpoint: Path, rows: Sequence[tuple[str, ...]]) -> None:
    """Write rows into the card of a checkpoint, or of one that ships."""
    path = checkpoint_folder(checkpoint) / CARD_NAME
    write_atomically(path, with_scores(path.read_text(encoding="utf-8"), rows))


def with_scores(card: str, rows: Sequence[tuple[str, ...]]) -> str:
    """A card whose table has `rows`, in place of those of the same data, class and method."""
    before, _, rest = card.partition(f"{SCORES}\n")
    section, mark, after = rest.partition("\n## ")
    added = render("score_rows.md", rows=rows).splitlines()
    new = {_key(line) for line in added}
    kept = [
        line for line in section.splitlines()
        if line.startswith("| ") and line not in HEAD and _key(line) not in new
    ]  # fmt: skip
    table = "\n".join([HEAD, *kept, *added])
    return f"{before.rstrip()}\n\n{SCORES}\n\n{table}\n{mark}{after}"


def _key(row: str) -> tuple[str, ...]:
    """Data, class and method of a row."""
    return tuple(row.split(" | ")[:3])
