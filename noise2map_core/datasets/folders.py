"""Image pairs in plain folders, as LEVIR-CD has them."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from noise2map_core.datasets.sample import (
    CHANGE,
    Benchmark,
    Sample,
    matched,
    require_file,
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
        gsd=config.gsd,
        attribution=config.attribution,
        samples=tuple(samples),
        classes={"change": CHANGE},
        selected_on="val",
        evaluated_on="test",
    )


def _pairs(folder: Path, split: str, config: FoldersConfig) -> Iterator[Sample]:
    folders = [require_folder(folder / name, config) for name in ("A", "B", "label")]
    area_of = _areas(config)
    for stem, (before, after, mask) in matched(folders).items():
        yield Sample(f"{split}/{stem}", split, (before, after), change=(mask,), area=area_of(stem))


def _areas(config: FoldersConfig) -> Callable[[str], str]:
    """The city or scene of an image, by its stem; raises ConfigError if the table lacks it."""
    if config.areas is None:
        return lambda stem: ""
    found = read_areas(config.areas, config.area_column)

    def area_of(stem: str) -> str:
        if stem not in found:
            raise ConfigError(f"table {config.areas} has no row for image {stem!r}. Add it.")
        return found[stem]

    return area_of


def read_areas(path: Path, column: str) -> dict[str, str]:
    """Which area each image is of, by its stem: the table's first column says which image."""
    with require_file(path).open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        names = rows.fieldnames or ()
        if column not in names:
            raise ConfigError(
                f"table {path} has no column {column!r}; it has: {', '.join(names) or 'none'}. Set "
                "dataset.area_column."
            )
        return {Path(row[names[0]]).stem: row[column] for row in rows}
