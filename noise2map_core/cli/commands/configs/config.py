"""Show what a command would make of configs and flags: `config show [COMMAND] [CONFIG ...]`.

Behind the configs stand flags of that command, as it takes them itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from noise2map_core.cli.application import ALIASES
from noise2map_core.cli.flags import Flags
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.redact import redacted
from noise2map_core.settings.places import anywhere, placed
from noise2map_core.settings.reading import Settings, build_config, merged, section_of
from noise2map_core.workflows.configs import read_configs
from noise2map_core.workflows.launch import Command, find_applications, find_tools
from noise2map_core.workflows.tools.configs.config import ConfigConfig


@dataclass(frozen=True)
class ResolvedConfig:
    """What a command would do."""

    command: str
    words: Sequence[str]
    """Configs and flags."""
    settings: Settings
    """All of them; what no config sets has its default. Paths are absolute."""
    missing: list[str]
    """Settings that are needed besides."""

    def summary(self) -> list[str]:
        """The YAML."""
        left = [f"# still needed: {', '.join(self.missing)}"] if self.missing else []
        body = yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True)
        head = redacted(f"# {shlex.join(['noise2map', self.command, *self.words])}")
        return [head, *left, redacted(body).rstrip("\n")]


def run(config: ConfigConfig) -> ResolvedConfig:
    """Put configs and flags together, with defaults. Raises ConfigError for what the command
    refuses."""
    commands = {one.name: one for one in (*find_applications(), *find_tools())}
    flags = config.flags
    if config.configs[0] in commands:
        command, words = commands[config.configs[0]], config.configs[1:]
    else:
        command, words = _meant(list(commands.values()), config.configs, flags), config.configs
    config_type = command.workflow.config
    given = _given(command, words, flags)
    missing = _missing(config_type, given)
    if missing:
        whole = _whole(config_type, given)
    else:  # which says what is wrong, if anything is
        whole = build_config(config_type, given, {}).model_dump(mode="json")
    settings = placed(config_type, whole, anywhere)
    return ResolvedConfig(command.name, (*words, *flags), settings, missing or [])


def _given(command: Command, words: Sequence[str], flags: Sequence[str]) -> Settings:
    """What configs and flags set. Raises ConfigError for flags that the command has not."""
    settings = read_configs(command.workflow.config, words)
    return merged(settings, _read_flags(command, flags, settings))


def _read_flags(command: Command, flags: Sequence[str], settings: Settings) -> Settings:
    read = Flags(command.workflow.config, ALIASES, f"noise2map {command.name}").read
    return {name: value for name, value in read(flags, settings).items() if name != "debug"}


def _meant(commands: list[Command], words: Sequence[str], flags: Sequence[str]) -> Command:
    """The command that takes all settings, and needs the fewest besides. Raises ConfigError if
    there is none, or several and no name of a file ends like one (`town-finetune.yaml`)."""
    missing = {one: _missing_of(one, words, flags) for one in commands}
    fit = {one: len(names) for one, names in missing.items() if names is not None}
    shown = " ".join([*words, *flags])
    if not fit:
        raise ConfigError(
            f"no command takes all settings of {shown}. noise2map config show COMMAND {shown} says "
            "what is wrong."
        )
    best = [one for one, count in fit.items() if count == min(fit.values())]
    ends = [Path(word).stem.rpartition("-")[2] for word in words]
    named = [one for one in best if one.name.partition("-")[0] in ends] or _without_heirs(best)
    if len(named) > 1:
        names = ", ".join(one.name for one in named)
        raise ConfigError(
            f"{shown} may be for {names}: say which, noise2map config show {named[0].name} {shown}."
        )
    return named[0]


def _without_heirs(commands: list[Command]) -> list[Command]:
    """Without those that take whatever another one takes, as plan does."""
    types = [one.workflow.config for one in commands]
    return [one for one in commands if not set(one.workflow.config.__mro__[1:]) & set(types)]


def _missing_of(command: Command, words: Sequence[str], flags: Sequence[str]) -> list[str] | None:
    settings = read_configs(command.workflow.config, words)
    try:
        given = merged(settings, _read_flags(command, flags, settings))
    except ConfigError:  # a flag of other commands
        return None
    return _missing(command.workflow.config, given)


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
