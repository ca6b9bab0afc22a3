"""Show what a command would make of its configs: `noise2map config show [COMMAND] CONFIG ...`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.redact import redacted
from noise2map_core.settings.places import placed
from noise2map_core.settings.reading import Settings, build_config, section_of
from noise2map_core.workflows.configs import read_configs
from noise2map_core.workflows.launch import Command, find_applications, find_tools
from noise2map_core.workflows.tools.configs.config import ConfigConfig


@dataclass(frozen=True)
class ResolvedConfig:
    """What a command would do."""

    command: str
    configs: Sequence[str]
    settings: Settings
    """All of them; what no config sets has its default. Paths are absolute."""
    missing: list[str]
    """Settings that are needed besides."""

    def summary(self) -> list[str]:
        """The YAML."""
        left = [f"# still needed: {', '.join(self.missing)}"] if self.missing else []
        body = yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True)
        head = f"# noise2map {self.command} {' '.join(self.configs)}"
        return [head, *left, redacted(body).rstrip("\n")]


def run(config: ConfigConfig) -> ResolvedConfig:
    """Put the configs together, with defaults. Raises ConfigError for what the command refuses."""
    commands = {one.name: one for one in (*find_applications(), *find_tools())}
    if config.configs[0] in commands:
        command, words = commands[config.configs[0]], config.configs[1:]
    else:
        command, words = _meant(list(commands.values()), config.configs), config.configs
    given = read_configs(command.workflow.config, words)
    missing = _missing(command.workflow.config, given)
    if missing is None:
        build_config(command.workflow.config, given, {})  # which says what is wrong
    whole = placed(command.workflow.config, _whole(command.workflow.config, given), _absolute)
    return ResolvedConfig(command.name, words, whole, missing or [])


def _meant(commands: list[Command], words: Sequence[str]) -> Command:
    """The command that takes all settings, and needs the fewest besides; plan takes whatever
    infer-region does, which comes first."""
    fit = list[tuple[int, Command]]()
    for command in commands:
        given = read_configs(command.workflow.config, words)
        missing = _missing(command.workflow.config, given)
        fit += [] if missing is None else [(len(missing), command)]
    if not fit:
        shown = " ".join(words)
        raise ConfigError(
            f"no command takes all settings of {shown}. noise2map config show COMMAND {shown} says "
            "what is wrong."
        )
    return min(fit, key=lambda one: one[0])[1]


def _missing(config_type: type[BaseModel], given: Settings) -> list[str] | None:
    """The settings that are needed besides; None: some of those given are wrong."""
    try:
        config_type.model_validate(given)
    except ValidationError as error:
        if any(one["type"] != "missing" for one in error.errors()):
            return None
        return [".".join(map(str, one["loc"])) for one in error.errors()]
    return []


def _whole(config_type: type[BaseModel], given: Settings) -> Settings:
    """Settings with the defaults of those that are not given."""
    found: Settings = {}
    for name, field in config_type.model_fields.items():
        section = section_of(field.annotation)
        if name in given and section is not None and "kind" not in section.model_fields:
            found[name] = _whole(section, given[name]) if given[name] is not None else None
        elif name in given:
            found[name] = given[name]
        elif not field.is_required():
            default: Any = field.get_default(call_default_factory=True, validated_data={})
            found[name] = TypeAdapter(Any).dump_python(default, mode="json")
    return found


def _absolute(text: str, or_name: bool) -> str:
    return text if or_name and not Path(text).exists() else str(Path(text).absolute())
