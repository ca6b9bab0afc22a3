"""Write a config for an area of your own: `noise2map init map|train|nightly`.

The YAML says of each setting what it is. In a terminal, what is needed and not given is asked for.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from noise2map_core.cli.commented import commented
from noise2map_core.runtime.errors import ConfigError, OutputError, explained
from noise2map_core.settings.detector import Kind
from noise2map_core.settings.places import placed
from noise2map_core.settings.reading import Settings, build_config, flag_of, parse_yaml
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.run_nightly import AreaConfig, NightlyConfig
from noise2map_core.workflows.tools.configs.catalogues import known_collection
from noise2map_core.workflows.tools.configs.init import OPEN_IMAGERY, InitConfig
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig

DETECTOR: Kind = "mad"
QUESTIONS = {
    "aoi": "Area, a file of polygons or a box west,south,east,north in degrees",
    "before": "Before: a date, a range 2023-06-01/2023-08-31, or best and a range",
    "after": "After: the same, later",
    "baseline": "Baseline: dates that every new image is compared with, 2023-06-01/2023-08-31",
    "since": "First day to be mapped, 2025-01-01",
    "labels": "Labels: polygons or a raster of what changed, or a folder of image pairs",
    "resolution": "Metres a pixel of the images",
}
HOW_TO_READ = "# A name behind a # is a setting at its default: take the # away to set it."
RASTERS = (".tif", ".tiff", ".vrt")


@dataclass(frozen=True)
class Draft:
    """A config that is to be written."""

    name: str
    """Of the file."""
    command: str
    config: type[BaseModel]
    settings: Settings
    offered: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The YAML. Raises ConfigError where the command would not take it."""
        text = f"# noise2map {self.command} {self.name}\n{HOW_TO_READ}\n\n{self._body()}"
        build_config(self.config, parse_yaml(text), {})
        return text

    def _body(self) -> str:
        return commented(self.config, self.settings, self.offered)


@dataclass(frozen=True)
class NightlyDraft(Draft):
    """The same of nights, whose areas have settings of their own."""

    def _body(self) -> str:
        """The area's settings, with what is said of them, as the first of the list."""
        (area,) = self.settings["areas"]
        build_config(AreaConfig, {}, area)
        around = commented(self.config, {**self.settings, "areas": None})
        lines = commented(AreaConfig, area, self.offered).splitlines()
        listed = "\n".join(f"  {'- ' if n == 0 else '  '}{line}" for n, line in enumerate(lines))
        return f"{around}areas:\n{listed}\n"


@dataclass(frozen=True)
class InitResult:
    """What was written."""

    files: list[Path]
    next_commands: list[str]

    def summary(self) -> list[str]:
        """Lines for people."""
        return [
            *(f"written   {file}" for file in self.files),
            *(f"next      {command}" for command in self.next_commands),
        ]


def run(config: InitConfig) -> InitResult:
    """Ask for what is missing, and write the config; nothing is written if it would not be taken.

    Raises OutputError if a file is there already, ConfigError naming the flags that are needed.
    """
    drafts = {"map": _map, "train": _train, "nightly": _nightly}[config.what](_Answers(config))
    texts = {config.folder / draft.name: draft.text for draft in drafts}
    for file in texts:
        if file.exists():
            raise OutputError(f"{file} is there already; nothing was written. Set another folder.")
    for file, text in texts.items():
        _write(file, text)
    commands = [f"noise2map {one.command} {config.folder / one.name}" for one in drafts]
    first = {
        "map": [f"noise2map plan {config.folder / drafts[0].name}"],
        "nightly": [f"{commands[0]} --dry-run"],
    }
    return InitResult(list(texts), [*first.get(config.what, []), *commands])


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {explained(error)}") from error


@dataclass(frozen=True)
class _Answers:
    """What is given, and what is asked for."""

    config: InitConfig

    def of(self, field: str, question: str = "") -> Any:
        """A setting that is needed. Raises ConfigError if nobody can be asked."""
        if (given := getattr(self.config, field)) is not None:
            return str(given) if isinstance(given, Path) else given
        if not sys.stdin.isatty():
            raise ConfigError(
                f"{self.config.what} needs {flag_of(field)}: {QUESTIONS[question or field]}."
            )
        return input(f"{QUESTIONS[question or field]}: ").strip()

    def search(self) -> Settings:
        """Where the imagery is; of a checkpoint, the bands are its own."""
        of = self.config
        catalog, collection = OPEN_IMAGERY[of.imagery]
        found = {"catalog": of.catalog or catalog, "collection": of.collection or collection}
        named = of.checkpoint is not None and str(of.checkpoint) not in ("mad", "irmad", "cva")
        if named and of.bands is None:
            return found
        known = known_collection(**found) or known_collection(catalog, collection)
        bands = known.bands.split() if known is not None and of.bands is None else of.bands or ()
        return found | {"bands": list(bands)}

    def placed(self, config_type: type[BaseModel], settings: Settings) -> Settings:
        """Settings with paths relative to the folder that the YAML lies in."""
        return placed(config_type, settings, self._from_folder)

    def _from_folder(self, text: str, or_name: bool) -> str:
        if or_name and not Path(text).exists():
            return text
        return os.path.relpath(text, self.config.folder)


def _map(answers: _Answers) -> list[Draft]:
    settings = answers.placed(
        InferRegionConfig,
        {
            "aoi": answers.of("aoi"), "search": answers.search(), "before": answers.of("before"),
            "after": answers.of("after"), "checkpoint": str(answers.config.checkpoint or DETECTOR),
        },
    )  # fmt: skip
    offered = (
        "task", "grid.resolution", "composite.kind", "mask.use", "detector.false_alarms",
        "products.threshold", "products.min_area_px",
    )  # fmt: skip
    return [Draft("map.yaml", "infer-region", InferRegionConfig, settings | {"output": "./map"},
                  offered)]  # fmt: skip


def _train(answers: _Answers) -> list[Draft]:
    labels = answers.of("labels")
    chips = _of_folders if Path(labels).is_dir() else _of_region
    offered = (
        "task", "model.preset", "training.epochs", "training.batch", "training.learning_rate",
        "resources.num_cpus",
    )  # fmt: skip
    settings = {"chips": "./chips.zarr", "output": "./training"}
    return [
        chips(answers, labels),
        Draft("train.yaml", "finetune-maps", FinetuneMapsConfig, settings, offered),
    ]


def _of_folders(answers: _Answers, folder: str) -> Draft:
    dataset = {"kind": "folders", "root": folder, "resolution": float(answers.of("resolution"))}
    settings = answers.placed(IngestDatasetConfig, {"dataset": dataset})
    return Draft(
        "chips.yaml", "ingest-dataset", IngestDatasetConfig, settings | {"output": "./chips.zarr"},
        ("chip_px", "protocol"),
    )  # fmt: skip


def _of_region(answers: _Answers, labels: str) -> Draft:
    kind = "raster" if labels.lower().endswith(RASTERS) else "polygons"
    settings = answers.placed(
        IngestRegionConfig,
        {
            "aoi": answers.of("aoi"), "search": answers.search(), "before": answers.of("before"),
            "after": answers.of("after"), "labels": {"kind": kind, "path": labels},
        },
    )  # fmt: skip
    own = {"output": "./chips.zarr", "split": {"blocks": {"side_px": 256}}}
    offered = ("chips.chip_px", "chips.stride_px", "grid.resolution", "composite.kind", "mask.use")
    return Draft("chips.yaml", "ingest-region", IngestRegionConfig, settings | own, offered)


def _nightly(answers: _Answers) -> list[Draft]:
    area = {
        "id": "area-1", "aoi": answers.of("aoi"), "sensor": answers.config.imagery,
        "checkpoint": str(answers.config.checkpoint or DETECTOR),
        "since": str(answers.of("after", "since")),
        "pair": {"kind": "fixed", "baseline": answers.of("before", "baseline")},
        "window_days": 1,
    }  # fmt: skip
    settings = answers.placed(
        NightlyConfig, {"sensors": {answers.config.imagery: answers.search()}, "areas": [area]}
    )
    offered = ("mask.use", "detector.false_alarms", "alerts.k", "alerts.n", "keep_last")
    return [NightlyDraft("nightly.yaml", "run-nightly", NightlyConfig,
                         settings | {"output": "./nights"}, offered)]  # fmt: skip
