"""Image pairs in plain folders, as LEVIR-CD has them."""

from noise2map_core.datasets.config import FoldersConfig, Protocol
from noise2map_core.datasets.sample import (
    CHANGE,
    Benchmark,
    Sample,
    matched,
    require_folder,
    split_names,
    with_validation,
)
from noise2map_core.errors import ConfigError


def open_folders(config: FoldersConfig, protocol: Protocol) -> Benchmark:
    """All pairs {train,val,test}/{A,B,label}, in the splits of the folders. Raises ConfigError."""
    if protocol == "paper":
        raise ConfigError("the paper has no protocol for plain folders. Set --protocol strict.")
    samples = []
    for split in split_names(config, with_val=True):
        folders = [
            require_folder(config.root / split / name, config) for name in ("A", "B", "label")
        ]
        for stem, (before, after, mask) in matched(folders).items():
            samples.append(Sample(f"{split}/{stem}", split, (before, after), change=(mask,)))
    return Benchmark(
        kind=config.kind,
        task="change",
        protocol=protocol,
        root=config.root,
        gsd=config.gsd,
        attribution="",
        samples=tuple(with_validation(samples, config.val_share)),
        classes={"change": CHANGE},
        selected_on="val",
        evaluated_on="test",
    )
