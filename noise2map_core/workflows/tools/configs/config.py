"""Settings of config."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.workflows.launch import Workflow


class ConfigConfig(BaseModel):
    """Show what a command would make of configs and flags:
    `noise2map config show [COMMAND] [CONFIG ...] [--flags]`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    action: Literal["show"]
    """show: print all settings, defaults too, as a YAML that means the same in any folder."""

    configs: tuple[str, ...] = Field(min_length=1)
    """The command, if the settings alone do not say which, and YAML files or names of those that
    ship, each over those before it."""

    flags: tuple[str, ...] = ()
    """Flags of that command, as it takes them itself, over all configs."""


WORKFLOW = Workflow(ConfigConfig, operands=("action", "configs"), unseen=("flags",), rest="flags")
