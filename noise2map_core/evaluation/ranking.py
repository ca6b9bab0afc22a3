"""The rank of models over several data sets: average F1 decides, average IoU breaks ties."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from noise2map_core.runtime.documents import parse_json, read_text
from noise2map_core.runtime.errors import ConfigError

DIGITS = 9
"""Averages that are equal to so many digits are equal: sums of decimals differ in the last bits."""

COLUMNS = ("model", "dataset", "task", "f1", "iou")


@dataclass(frozen=True, slots=True)
class Score:
    """What one model reaches on one data set."""

    model: str
    dataset: str
    task: str
    f1: float
    iou: float
    protocol: str = ""
    """paper or strict; empty: not said."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model's place among those of its task."""

    task: str
    rank: int
    """1 is best; models that are equal in both share the best of their places."""
    model: str
    mean_f1: float
    mean_iou: float
    num_datasets: int


def rank_models(scores: Iterable[Score]) -> list[Ranked]:
    """The models of each task, best first. A score that several tables repeat counts once.

    Raises ConfigError if scores cannot be compared: several protocols, a model that lacks a data
    set of its task, a model with two scores on one, or shares mixed with percent.
    """
    # Every table of evaluate-maps repeats the baseline's.
    ordered = sorted(set(scores), key=lambda score: (score.task, score.model, score.dataset))
    if not ordered:
        raise ConfigError("there are no scores to rank.")
    _require_comparable(ordered)
    tasks = groupby(ordered, lambda score: score.task)
    return [ranked for task, group in tasks for ranked in _rank_task(task, list(group))]


def read_scores(path: Path) -> list[Score]:
    """The scores of a CSV, or of a JSON that evaluate-maps wrote. Raises ConfigError."""
    try:
        text = read_text(path)
        found = list(_of_csv(text) if path.suffix == ".csv" else _of_document(parse_json(text)))
    except OSError as error:
        raise ConfigError(f"table {path} cannot be read: {error}.") from error
    except KeyError as error:
        raise ConfigError(
            f"table {path} lacks {error}. Give a CSV with columns {', '.join(COLUMNS)}, and "
            "protocol if you like, or a JSON of evaluate-maps."
        ) from error
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ConfigError(f"table {path} is no table of scores: {error}.") from error
    return found


def _of_csv(text: str) -> Iterator[Score]:
    rows = csv.DictReader(text.splitlines())
    for name in COLUMNS:
        if name not in (rows.fieldnames or ()):
            raise KeyError(name)
    for row in rows:
        yield Score(
            model=row["model"].strip(),
            dataset=row["dataset"].strip(),
            task=row["task"].strip(),
            f1=float(row["f1"]),
            iou=float(row["iou"]),
            protocol=(row.get("protocol") or "").strip(),
        )


def _of_document(document: dict[str, Any]) -> Iterator[Score]:
    """Model and baseline of an evaluation, scored by their classes other than the first."""
    dataset = document.get("dataset") or {}
    name = dataset.get("kind") or Path(document["chips"]).stem
    task, protocol = document.get("task", "change"), dataset.get("protocol", "")
    # Seeds of one model stand for it by their mean.
    models = {document["name"]: [document["model"], *document.get("more_models", [])]}
    if baseline := document.get("baseline"):
        models[baseline["kind"]] = [baseline]
    for model, runs in models.items():
        classes = [one for scores in runs for one in list(scores["classes"].values())[1:]]
        f1, iou = (fmean(one[key] for one in classes) for key in ("f1", "iou"))
        yield Score(model, name, task, f1, iou, protocol)


def _require_comparable(scores: list[Score]) -> None:
    protocols = sorted({score.protocol or "none" for score in scores})
    if len(protocols) > 1:
        raise ConfigError(
            f"scores of protocols {' and '.join(protocols)} cannot stand in one rank. Rank the "
            "tables of one protocol."
        )
    for key, group in groupby(scores, lambda score: (score.task, score.model, score.dataset)):
        if len(list(group)) > 1:
            raise ConfigError(f"{key[1]} has two scores of {key[0]} on {key[2]}. Leave one out.")
    values = [value for score in scores for value in (score.f1, score.iou)]
    if not all(0 <= value <= 100 for value in values):
        raise ConfigError("a score is below 0 or above 100. F1 and IoU are shares or percent.")
    if len({max(s.f1, s.iou) > 1 for s in scores if max(s.f1, s.iou) > 0}) > 1:
        raise ConfigError("some scores are shares of 1 and some percent. Give all in one of them.")
    _require_same_datasets(scores)


def _require_same_datasets(scores: list[Score]) -> None:
    for task in sorted({score.task for score in scores}):
        mine = [score for score in scores if score.task == task]
        datasets = {score.dataset for score in mine}
        for model in sorted({score.model for score in mine}):
            if missing := datasets - {score.dataset for score in mine if score.model == model}:
                raise ConfigError(
                    f"{model} has no score of {task} on {', '.join(sorted(missing))}, where others "
                    "have one. Add it, or leave the model or the data set out."
                )


def _rank_task(task: str, scores: list[Score]) -> list[Ranked]:
    means = {}
    for model, group in groupby(scores, lambda score: score.model):
        mine = list(group)
        means[model] = fmean(s.f1 for s in mine), fmean(s.iou for s in mine), len(mine)
    keys = {model: (round(f1, DIGITS), round(iou, DIGITS)) for model, (f1, iou, _) in means.items()}
    best_first = sorted(keys, key=lambda model: keys[model], reverse=True)
    return [
        Ranked(task, 1 + sum(other > keys[model] for other in keys.values()), model, *means[model])
        for model in best_first
    ]


def rank_table(ranked: Iterable[Ranked]) -> list[str]:
    """Lines for people."""
    rows = list(ranked)
    width = max(len(row.model) for row in rows)
    head = f"{'task':8} {'rank':>4}  {'model':{width}}  {'mean F1':>8} {'mean IoU':>8}  data sets"
    return [head] + [
        f"{row.task:8} {row.rank:4}  {row.model:{width}}  {row.mean_f1:8.4f} {row.mean_iou:8.4f}  "
        f"{row.num_datasets}"
        for row in rows
    ]


def rank_document(ranked: Iterable[Ranked]) -> list[dict[str, Any]]:
    """The same as plain values, for JSON."""
    return [asdict(row) for row in ranked]
