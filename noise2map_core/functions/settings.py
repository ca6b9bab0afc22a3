"""Settings as keywords: those of a command's YAML and flags, with sections as mappings."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from noise2map_core.cli.application import ALIASES
from noise2map_core.settings.reading import (
    ConfigT,
    Settings,
    build_config,
    iter_settings,
    merged,
    read_settings,
    section_of,
)

Given = Path | str | Mapping[str, Any] | BaseModel | None
"""A YAML file, settings, or a config that is there; keywords change it."""
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def config_of(config_type: type[ConfigT], config: Given, given: Mapping[str, Any]) -> ConfigT:
    """The config that a command would have. Raises ConfigError as the command does."""
    if isinstance(config, Path | str):
        below = read_settings(Path(config))
    elif isinstance(config, BaseModel):
        below = _plain(config)
    else:
        below = _settings(config_type, config or {})
    return build_config(config_type, below, _settings(config_type, given))


def _settings(config_type: type[BaseModel], given: Mapping[str, Any]) -> Settings:
    found: Settings = {}
    for name, value in given.items():
        found = merged(found, _nested(config_type, name, value))
    return found


def _nested(config_type: type[BaseModel], name: str, value: Any) -> Settings:
    """`catalog="…"`, as the flag of that name, or "search.catalog", within its section."""
    known = {setting.path for setting in iter_settings(config_type)}
    path = ALIASES[name] if name not in known and ALIASES.get(name) in known else name
    nested = _plain(value)
    for part in reversed(path.split(".")):
        nested = {part: nested}
    found: Settings = nested
    return found


def _plain(value: Any) -> Any:
    """What a YAML file would hold: paths and sections as text and mappings."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def takes(config_type: type[BaseModel]) -> Callable[[FunctionT], FunctionT]:
    """Shows notebooks, where a function has `**settings`, the settings that there are."""

    def told(function: FunctionT) -> FunctionT:
        own = inspect.signature(function)
        first = [one for one in own.parameters.values() if one.kind is one.POSITIONAL_ONLY]
        function.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[*first, *map(_keyword, config_type.model_fields.items())]
        )
        lines = [
            f"    {name}: {' '.join((field.description or _about(field.annotation)).split())}"
            for name, field in config_type.model_fields.items()
        ]
        function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Settings:", *lines])
        return function

    return told


def _keyword(named: tuple[str, Any]) -> inspect.Parameter:
    name, field = named
    default = field.get_default(call_default_factory=True, validated_data={})
    missing = default is PydanticUndefined
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=field.annotation,
        default=inspect.Parameter.empty if missing else default,
    )  # fmt: skip


def _about(annotation: Any) -> str:
    section = section_of(annotation)
    return (section.__doc__ or "") if section else ""
