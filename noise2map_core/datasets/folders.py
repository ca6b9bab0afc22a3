"""Plain folders, and the published data sets that come as such."""

import re
from dataclasses import replace
from typing import Any

from noise2map_core.datasets.found import Found, find_samples
from noise2map_core.datasets.layouts import FOLDERS, PUBLISHED, Published
from noise2map_core.datasets.sample import (
    BUILDINGS,
    CHANGE,
    Benchmark,
    MaskRule,
    about,
    with_validation,
)
from noise2map_core.labels import IGNORE
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.datasets import FoldersConfig, Protocol, PublishedConfig

CLASSES = {"segment": BUILDINGS, "change": CHANGE}


def open_folders(config: FoldersConfig, protocol: Protocol) -> Benchmark:
    """The pairs with masks of change, or the images with masks, of a folder. Raises ConfigError."""
    _require_strict(protocol)
    found = find_samples(config.root, FOLDERS, protocol, about(config))
    samples = [
        replace(sample, area=_area_of(sample.place.partition("/")[2], config))
        for sample in found.samples
    ]
    task = "change" if found.layout.change else "segment"
    return Benchmark(
        kind=config.kind,
        task=task,
        protocol=protocol,
        root=found.root,
        gsd=config.resolution,
        attribution=config.attribution,
        samples=tuple(with_validation(samples, config.val_share)),
        classes={task: CLASSES[task]},
        selected_on="val",
        evaluated_on="test",
        dropped=found.dropped,
        masks=_masks(config),
    )


def _masks(config: FoldersConfig) -> MaskRule:
    """What the settings say of masks; nothing: what masks usually are."""
    if config.mask_yes is None and config.mask_unlabelled is None:
        return MaskRule()
    usual = {0: 0, 1: 1, 255: 1}
    said = {value: int(value == config.mask_yes) for value in range(256)}
    table = usual if config.mask_yes is None else said
    if config.mask_unlabelled is not None:
        table = table | {config.mask_unlabelled: IGNORE}
    return MaskRule(table=table)


def open_published(config: PublishedConfig, protocol: Protocol) -> Benchmark:
    """A data set of the table. Raises ConfigError."""
    _require_strict(protocol)
    published = PUBLISHED[config.kind]
    found = find_samples(config.root, published.layouts, protocol, published.attribution)
    tasks = _tasks(config, found)
    samples = [
        replace(
            sample,
            segment=sample.segment if "segment" in tasks else (),
            change=sample.change if "change" in tasks else (),
        )
        for sample in found.samples
    ]
    return Benchmark(
        kind=config.kind,
        task="both" if len(tasks) > 1 else tasks[0],
        protocol=protocol,
        root=found.root,
        gsd=published.gsd,
        attribution=published.attribution,
        samples=tuple(with_validation(samples, config.val_share)),
        selected_on="val",
        evaluated_on="test",
        dropped=found.dropped,
        **_meaning(published, found, tasks),
    )


def _meaning(published: Published, found: Found, tasks: list[str]) -> dict[str, Any]:
    """What masks say, and what people must know."""
    return {
        "classes": {task: published.classes[task] for task in tasks},
        "masks": published.segment,
        "change_masks": published.change,
        "release": found.layout.release,
    }


def _tasks(config: PublishedConfig, found: Found) -> list[str]:
    """The tasks that are to be stored. Raises ConfigError for one without masks."""
    labelled = [task for task in ("segment", "change") if getattr(found.layout, task)]
    wanted = {None: labelled, "both": ["segment", "change"]}.get(config.task, [str(config.task)])
    if missing := [task for task in wanted if task not in labelled]:
        raise ConfigError(
            f"{config.kind} has no masks for {missing[0]}; it has them for "
            f"{' and '.join(labelled)}. Leave dataset.task out."
        )
    return wanted


def _require_strict(protocol: Protocol) -> None:
    if protocol == "paper":
        raise ConfigError(
            "the paper has no protocol for this data set; it has for spacenet7, whu and xview2. "
            "Set --protocol strict."
        )


def _area_of(stem: str, config: FoldersConfig) -> str:
    """The city or scene of an image; empty: nobody said how to tell."""
    if config.area_pattern is None:
        return ""
    found = re.match(config.area_pattern, stem)
    if found is None:
        raise ConfigError(
            f"dataset.area_pattern {config.area_pattern!r} does not fit image {stem!r}. Set one "
            "that fits all, or leave it out."
        )
    return found[1]
