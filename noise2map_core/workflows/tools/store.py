"""Settings of store."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import Location
from noise2map_core.workflows.launch import Workflow


class StoreConfig(BaseModel):
    """What to do with which store: `noise2map store verify STORE`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    action: Literal["info", "verify", "repair"]
    """info: what the store holds: splits, labels, bands, places, sources. verify: read every byte
    and compare it with the manifest; exit code 1 if any is wrong. repair: mend what verify finds:
    metadata from its copies, chips from their sources."""

    store: Location
    """The chip store."""


WORKFLOW = Workflow(StoreConfig, operands=("action", "store"))
