"""Look at alerts and judge them: `noise2map review AREA`.

Writes review.html, a page that needs no network, and review.gpkg, with a form for QGIS. Then
`noise2map review AREA --apply FILE` takes the verdicts in: rejected objects are not told of again,
and `--chips STORE` makes labels of all of them, to learn from.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from noise2map_core.alerts.verdicts import VERDICTS
from noise2map_core.review.labels import LabelFiles, write_labels
from noise2map_core.review.package import require_taken_in, write_package
from noise2map_core.review.page import write_page
from noise2map_core.review.pictures import Album
from noise2map_core.review.precision import precision_of
from noise2map_core.review.queue import alerts_folder, alerts_with_verdicts, in_order, newest_look
from noise2map_core.review.scenes import read_scenes
from noise2map_core.review.verdict_files import read_filled, take_in
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.workflows.launch import find_command
from noise2map_core.workflows.tools.nights.review import ReviewConfig

PAGE, PACKAGE = "review.html", "review.gpkg"
BEGINNING = date(1970, 1, 1)
"""Of a GeoPackage without alerts."""


class IngestFailedError(Noise2MapError):
    """ingest-region ended with another code than 0."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


@dataclass
class Review:
    """What was done."""

    lines: list[str] = field(default_factory=list)

    def summary(self) -> list[str]:
        """Lines for people."""
        return self.lines


def run(config: ReviewConfig) -> Review:
    """Make the page, or take verdicts in, or make labels of them."""
    folder, done = alerts_folder(config.area), Review()
    if config.apply is None and config.labels is None and config.chips is None:
        _write(config, folder, done)
    if config.apply is not None:
        _apply(config, folder, config.apply, done)
    if config.labels is not None or config.chips is not None:
        _label(config, folder, done)
    return done


def _write(config: ReviewConfig, folder: Path, done: Review) -> None:
    output, alerts = config.folder, in_order(alerts_with_verdicts(folder))
    output.mkdir(parents=True, exist_ok=True)
    require_taken_in(output / PACKAGE, alerts)
    album = Album(read_scenes(config.area))
    write_page(output / PAGE, config.area.name, alerts, album, config.most)
    write_package(output / PACKAGE, alerts, newest_look(alerts) or BEGINNING)
    done.lines += [
        f"{len(alerts):,} alerts, {(alerts['verdict'] == '').sum():,} not judged",
        f"page     {output / PAGE}",
        f"package  {output / PACKAGE}: fill in verdict, reject_reason and reviewer",
        f"then     noise2map review {config.area} --apply {output / PACKAGE}",
    ]


def _apply(config: ReviewConfig, folder: Path, path: Path, done: Review) -> None:
    filled = read_filled(path)
    if config.reviewer:
        filled = [replace(one, reviewer=one.reviewer or config.reviewer) for one in filled]
    taken = take_in(folder, filled, path, datetime.now(UTC).date())
    done.lines.append(
        f"{taken.new} new verdicts, {taken.changed} changed, {taken.withdrawn} taken back, "
        f"{taken.same} as before"
    )
    precision = precision_of(folder)
    done.lines += [precision.line()] if precision else []
    done.lines.append(f"verdicts {folder / VERDICTS}")


def _label(config: ReviewConfig, folder: Path, done: Review) -> None:
    output = config.labels or config.area / "review" / "labels"
    store = config.chips or output / "chips.zarr"
    files = write_labels(config.area, alerts_with_verdicts(folder), output, str(store.resolve()))
    for one in files:
        done.lines.append(
            f"labels   {one.polygons}: {one.confirmed} changed, {one.rejected} unchanged"
        )
        if config.chips is not None:
            _ingest(one)
        else:
            done.lines.append(f"then     noise2map ingest-region {one.settings}")
    if not files[0].parted:
        done.lines.append(
            "warning: these verdicts are too few, or lie too near to each other, to be parted: all "
            "are train, and finetune-maps needs val. Judge more alerts, or set split."
        )
    done.lines.append(f"then     noise2map finetune-maps --chips {store}")


def _ingest(labels: LabelFiles) -> None:
    """In a process of its own: applications are no part of the library."""
    script = find_command("ingest-region").path
    code = subprocess.run([sys.executable, str(script), str(labels.settings)], check=False)
    if code.returncode:
        raise IngestFailedError(
            f"noise2map ingest-region {labels.settings} ended with code {code.returncode}. Mend "
            "what it says, and run the same command again.",
            max(1, code.returncode),
        )
