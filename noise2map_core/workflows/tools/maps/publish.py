"""Settings of publish."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from noise2map_core.runtime.storage import Location
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.workflows.launch import Workflow


def _web_address(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s?#@\"<>]+", text):
        raise ValueError("must be an address such as https://maps.example.org/farm, and no more")
    return text


class PublishConfig(BaseModel):
    """Which map is published, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output: Location
    """Directory that infer-region wrote, or that of an area of run-nightly."""

    to: Location
    """Where it is copied to: s3://bucket/prefix, gs://bucket/prefix or a directory, which holds
    nothing else."""

    base_url: Annotated[str, AfterValidator(_web_address)] = ""
    """Web address of what lies there: links to the whole become absolute, and it is tried whether
    it answers by ranges. Without one all links are relative."""

    prune: bool = False
    """Delete files of earlier versions at the end. Readers who have just begun with these lose
    them."""

    resources: ClusterConfig = ClusterConfig()
    """The cluster that looks at the tiles of a large output before it is sent."""


WORKFLOW = Workflow(PublishConfig, operands=("output",))
