"""Settings of ingest-dataset."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.datasets import DatasetConfig, Protocol
from noise2map_core.settings.numbers import SidePx
from noise2map_core.workflows.launch import Workflow


class IngestDatasetConfig(BaseModel):
    """Make a chip store of a published data set."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dataset: DatasetConfig
    """Which data set, which task, and where its folder is."""

    output: LocalPath
    """The chip store, a Zarr directory; a rerun continues it."""

    protocol: Protocol = "strict"
    """paper: the filters and splits behind the published table, whose scores are not those of the
    whole test part. strict: every test image counts, and validation is never test."""

    chip_px: SidePx = 256
    """Side of a chip, pixels; chips do not overlap."""


WORKFLOW = Workflow(IngestDatasetConfig)
