import json
from pathlib import Path

import pytest

from noise2map_core.cli.commands.rank import run
from noise2map_core.evaluation.ranking import Score, rank_models, read_scores
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.tools.rank import RankConfig

TABLE = """\
model,dataset,task,f1,iou,protocol
A,one,change,70.1,54.0,strict
A,two,change,70.3,54.2,strict
B,one,change,70.2,55.0,strict
B,two,change,70.2,54.0,strict
C,one,change,70.3,54.1,strict
C,two,change,70.1,54.1,strict
D,one,change,90.0,30.0,strict
D,two,change,40.0,20.0,strict
E,one,change,80.0,10.0,strict
E,two,change,62.0,10.0,strict
A,one,segment,50.0,40.0,strict
D,one,segment,60.0,30.0,strict
"""
"""By hand: E 71.0 leads; A, B and C have 70.2 in F1, B the higher IoU (54.5), A and C both 54.1;
D has 65.0."""


def scores(table: str, folder: Path) -> list[Score]:
    path = folder / "table.csv"
    path.write_text(table)
    return read_scores(path)


def test_average_f1_decides_iou_breaks_ties_and_equals_share_a_rank(tmp_path: Path) -> None:
    ranked = rank_models(scores(TABLE, tmp_path))
    places = [(one.task, one.rank, one.model) for one in ranked]
    assert places == [
        ("change", 1, "E"), ("change", 2, "B"), ("change", 3, "A"), ("change", 3, "C"),
        ("change", 5, "D"), ("segment", 1, "D"), ("segment", 2, "A"),
    ]  # fmt: skip
    assert ranked[0].mean_f1 == 71.0 and ranked[1].mean_iou == 54.5
    assert [one.num_datasets for one in ranked] == [2] * 5 + [1] * 2


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    head, *rows = TABLE.splitlines()
    turned = "\n".join([head, *reversed(rows)])
    assert rank_models(scores(turned, tmp_path)) == rank_models(scores(TABLE, tmp_path))


def test_a_score_that_several_tables_repeat_counts_once(tmp_path: Path) -> None:
    found = scores(TABLE, tmp_path)
    assert rank_models([*found, *found]) == rank_models(found)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("54.2,strict", "54.2,paper"), "protocols paper and strict cannot stand in one rank"),
        (("54.2,strict", "54.2,"), "protocols none and strict"),
        (("E,two,change,62.0,10.0,strict\n", ""), "E has no score of change on two"),
        (("E,two", "E,one"), "E has two scores of change on one"),
        (("80.0,10.0", "0.8,0.1"), "some scores are shares of 1 and some percent"),
        (("80.0", "180.0"), "above 100"),
        (("80.0", "nan"), "above 100"),
        (("80.0", "high"), "is no table of scores: could not convert"),
        (("f1,iou", "f1,jaccard"), "lacks 'iou'"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        rank_models(scores(TABLE.replace(*change, 1), tmp_path))


def test_tables_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv cannot be read"):
        read_scores(tmp_path / "none.csv")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(ConfigError, match=r"a\.json is no table"):
        read_scores(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"b\.json lacks 'chips'"):
        read_scores(tmp_path / "b.json")
    (tmp_path / "c.csv").write_text("model,dataset,task,f1,iou\n")
    with pytest.raises(ConfigError, match="no scores to rank"):
        run(RankConfig(tables=(tmp_path / "c.csv",)))


def evaluation(folder: Path, model: str, dataset: str, f1: float) -> Path:
    def scored(f1: float) -> dict[str, object]:
        zero = {"f1": 0.99, "iou": 0.98}
        return {"classes": {"unchanged": zero, "changed": {"f1": f1, "iou": f1 / (2 - f1)}}}

    path = folder / f"{model}-{dataset}.json"
    document = {
        "name": model, "chips": f"stores/{dataset}.zarr", "model": scored(f1),
        "dataset": {"kind": dataset, "protocol": "strict"}, "task": "change",
    }  # fmt: skip
    path.write_text(json.dumps(document))
    return path


def test_evaluations_and_a_csv_stand_in_one_rank(tmp_path: Path) -> None:
    files = [evaluation(tmp_path, "tiny", dataset, 0.6) for dataset in ("levir", "whu")]
    rows = "published,whu,change,0.7,0.55,strict\npublished,levir,change,0.5,0.4,strict\n"
    (tmp_path / "t.csv").write_text("model,dataset,task,f1,iou,protocol\n" + rows)
    tables = (*files, tmp_path / "t.csv")
    lines = run(RankConfig(tables=tables, output=tmp_path / "out" / "rank.json")).summary()
    assert [line.split()[:5] for line in lines[1:3]] == [
        ["change", "1", "published", "0.6000", "0.4750"],
        ["change", "2", "tiny", "0.6000", "0.4286"],
    ]
    written = json.loads((tmp_path / "out" / "rank.json").read_text())
    assert [(one["rank"], one["model"]) for one in written] == [(1, "published"), (2, "tiny")]


def test_the_baseline_of_an_evaluation_is_ranked_beside_the_model(tmp_path: Path) -> None:
    path = evaluation(tmp_path, "tiny", "levir", 0.6)
    document = json.loads(path.read_text())
    document["baseline"] = {**document["model"], "kind": "change_vector_analysis"}
    path.write_text(json.dumps(document))
    found = {score.model: score.f1 for score in read_scores(path)}
    assert found == {"tiny": 0.6, "change_vector_analysis": 0.6}
