"""Rank models over several data sets: average F1 decides, IoU breaks ties."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from noise2map_core.evaluation.ranking import rank_document, rank_models, rank_table, read_scores
from noise2map_core.runtime.atomic import write_atomically


def main() -> None:
    """The command `noise2map rank`."""
    args = _parser().parse_args(sys.argv[1:])
    for line in run(args.tables, args.output):
        print(line)


def run(tables: Sequence[Path], output: Path | None = None) -> list[str]:
    """The table of ranks in lines; written to `output` as JSON, too. Raises ConfigError."""
    ranked = rank_models(score for path in tables for score in read_scores(path))
    if output is None:
        return rank_table(ranked)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, json.dumps(rank_document(ranked), indent=2) + "\n")
    return [*rank_table(ranked), f"ranks  {output}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("noise2map rank", description=__doc__)
    parser.add_argument(
        "tables",
        nargs="+",
        type=Path,
        metavar="TABLE",
        help="JSON that evaluate-maps wrote, or CSV with columns model, dataset, task, f1, iou "
        "and, if it is said, protocol. Each task is ranked by itself.",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file for the ranks.")
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    return parser
