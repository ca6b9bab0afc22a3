"""Commands as functions: the same settings in, results as values out.

Each takes a YAML file, a mapping of settings or a config first, if anything, and then settings by
keyword, which go before those: sections as mappings (`search={"catalog": "…"}`), a single setting
of one by its path in a mapping that is unpacked (`**{"training.epochs": 5}`) or by the name of its
short flag (`catalog="…"`). Results show themselves in notebooks; `summary()` has the same lines
as the command prints. A Ray session that runs is used; else each starts one and ends it.
"""

from typing import TYPE_CHECKING, Any

from noise2map_core.cli.start import load
from noise2map_core.functions.settings import Given, config_of, takes
from noise2map_core.settings.reading import ConfigT
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.launch import find_command
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig

if TYPE_CHECKING:
    from noise2map_core.chips.ingest import IngestRegionResult
    from noise2map_core.cli.commands.ingest_dataset import IngestDatasetResult
    from noise2map_core.evaluation.results import EvaluateMapsResult
    from noise2map_core.evaluation.transfer_table import TransferResult
    from noise2map_core.inference.region_result import InferRegionResult
    from noise2map_core.training.results import FinetuneMapsResult, FoldsResult


@takes(InferRegionConfig)
def map_region(config: Given = None, /, **settings: Any) -> "InferRegionResult":
    """Map one area of interest, change between two dates or the classes of one: `infer-region`.

    Raises what the command ends with: ConfigError for settings, NoImageryError, CheckpointError,
    IncompleteRegionError if tiles failed, which the next call makes.
    """
    return _run("infer-region", InferRegionConfig, config, settings)


@takes(IngestRegionConfig)
def ingest(config: Given = None, /, **settings: Any) -> "IngestRegionResult":
    """Make a chip store of one area, or append to one: `ingest-region`.

    Raises what the command ends with: ConfigError for settings, NoImageryError, ChipStoreError.
    """
    return _run("ingest-region", IngestRegionConfig, config, settings)


@takes(IngestDatasetConfig)
def ingest_dataset(config: Given = None, /, **settings: Any) -> "IngestDatasetResult":
    """Make a chip store of image pairs in folders, or of a published data set: `ingest-dataset`.

    Raises what the command ends with: ConfigError for settings and files, ChipStoreError.
    """
    return _run("ingest-dataset", IngestDatasetConfig, config, settings)


@takes(FinetuneMapsConfig)
def finetune(config: Given = None, /, **settings: Any) -> "FinetuneMapsResult | FoldsResult":
    """Train a model on a chip store, or continue: `finetune-maps`; with `places.folds` one each.

    Raises what the command ends with: ConfigError for settings, ChipStoreError, CheckpointError.
    """
    return _run("finetune-maps", FinetuneMapsConfig, config, settings)


@takes(EvaluateMapsConfig)
def evaluate(config: Given = None, /, **settings: Any) -> "EvaluateMapsResult | TransferResult":
    """Score checkpoints on a part of a chip store: `evaluate-maps`; a TransferResult with
    `protocol="transfer"`.

    Raises what the command ends with: ConfigError for settings, ChipStoreError, CheckpointError.
    """
    return _run("evaluate-maps", EvaluateMapsConfig, config, settings)


def _run(name: str, config_type: type[ConfigT], config: Given, settings: dict[str, Any]) -> Any:
    told = config_of(config_type, config, settings)
    return load(find_command(name)).run(told)
