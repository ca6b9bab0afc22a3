"""Image pairs in plain folders, as LEVIR-CD has them."""

import re
from collections.abc import Iterator
from pathlib import Path

from noise2map_core.datasets.sample import (
    CHANGE,
    Benchmark,
    Sample,
    matched,
    require_folder,
    require_no_share,
    split_names,
    with_validation,
)
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.datasets import FoldersConfig, Protocol


def open_folders(config: FoldersConfig, protocol: Protocol) -> Benchmark:
    """All pairs {train,val,test}/{A,B,label}, in the splits of the folders; without such folders,
    those of {A,B,label}, to be tested on. Raises ConfigError."""
    if protocol == "paper":
        raise ConfigError("the paper has no protocol for plain folders. Set --protocol strict.")
    if (config.root / "A").is_dir():
        require_no_share(config.val_share, "where all images are for testing")
        samples = list(_pairs(config.root, "test", config))
    else:
        found = [
            sample
            for split in split_names(config, with_val=True)
            for sample in _pairs(config.root / split, split, config)
        ]
        samples = with_validation(found, config.val_share)
    return Benchmark(
        kind=config.kind,
        task="change",
        protocol=protocol,
        root=config.root,
        gsd=config.resolution,
        attribution=config.attribution,
        samples=tuple(samples),
        classes={"change": CHANGE},
        selected_on="val",
        evaluated_on="test",
    )


def _pairs(folder: Path, split: str, config: FoldersConfig) -> Iterator[Sample]:
    folders = [require_folder(folder / name, config) for name in ("A", "B", "label")]
    for stem, (before, after, mask) in matched(folders).items():
        yield Sample(
            f"{split}/{stem}", split, (before, after), change=(mask,), area=_area_of(stem, config)
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
