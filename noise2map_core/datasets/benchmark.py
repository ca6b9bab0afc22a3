"""The data sets by their settings."""

from noise2map_core.datasets.folders import open_folders, open_published
from noise2map_core.datasets.sample import Benchmark
from noise2map_core.datasets.spacenet7 import open_spacenet7
from noise2map_core.datasets.whu import open_whu
from noise2map_core.datasets.xview2 import open_xview2
from noise2map_core.settings.datasets import (
    DatasetConfig,
    FoldersConfig,
    Protocol,
    PublishedConfig,
    SpaceNet7Config,
    WhuConfig,
    XView2Config,
)


def open_benchmark(config: DatasetConfig, protocol: Protocol) -> Benchmark:
    """The samples of a data set. Raises ConfigError naming the folder or file that is missing."""
    match config:
        case SpaceNet7Config():
            return open_spacenet7(config, protocol)
        case WhuConfig():
            return open_whu(config, protocol)
        case XView2Config():
            return open_xview2(config, protocol)
        case PublishedConfig():
            return open_published(config, protocol)
        case FoldersConfig():
            return open_folders(config, protocol)
