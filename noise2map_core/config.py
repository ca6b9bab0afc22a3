"""Settings: what an application's config class asks for, from a YAML file and from flags.

A setting is named by its path in the config, with dots: `search.catalog`. The YAML comes first,
then the flags; pydantic judges the sum of both once, so that either may hold what is required.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from noise2map_core.errors import ConfigError

Settings = dict[str, Any]
"""Nested settings by name, as in a YAML file."""

ConfigT = TypeVar("ConfigT", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, and 2000-03-01 the text that a STAC search wants."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of a config class."""

    path: str
    """Names with dots, from the root: "search.catalog"."""
    field: FieldInfo


def parse_yaml(text: str) -> Any:
    """The value of YAML text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)


def read_settings(path: Path) -> Settings:
    """The settings in a YAML file. Raises ConfigError if it is missing or not a mapping."""
    try:
        loaded = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config {path} does not exist.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"config {path} is not readable YAML: {reason}") from error
    if not isinstance(loaded or {}, dict):
        raise ConfigError(f"config {path} holds no settings: write `name: value` lines.")
    return loaded or {}


def build_config(config_type: type[ConfigT], settings: Settings, flags: Settings) -> ConfigT:
    """The config of YAML settings overridden by flags.

    Raises ConfigError naming every setting that is missing, or the first that is unknown or wrong.
    """
    try:
        return config_type.model_validate(_merged(settings, flags))
    except ValidationError as error:
        raise ConfigError(_explained(config_type, error.errors(include_url=False))) from None


def iter_settings(model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """The leaves of a config class, in order."""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            yield Setting(prefix + name, field)
        else:
            yield from iter_settings(section, f"{prefix}{name}.")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The config class of a section (or of an optional one); None if the annotation is a leaf."""
    parts = [part for part in get_args(annotation) or (annotation,) if part is not NoneType]
    part = parts[0] if len(parts) == 1 else None
    return part if isinstance(part, type) and issubclass(part, BaseModel) else None


def _merged(below: Settings, above: Settings) -> Settings:
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _explained(config_type: type[BaseModel], errors: list[ErrorDetails]) -> str:
    wrong = [error for error in errors if error["type"] != "missing"]
    if not wrong:
        return _missing(config_type, [_path(error) for error in errors])
    error = wrong[0]
    if error["type"] == "extra_forbidden":
        return _unknown(config_type, _path(error))
    message = error["msg"].removeprefix("Value error, ")
    return f"{_setting_path(config_type, error)}: {message} (got {error['input']!r})."


def _missing(config_type: type[BaseModel], paths: list[str]) -> str:
    """Names what is missing, of a missing section its own required settings."""
    names = [
        setting.path
        for setting in iter_settings(config_type)
        if setting.path in paths
        or (setting.field.is_required() and setting.path.startswith(tuple(f"{p}." for p in paths)))
    ] or paths
    flags = ", ".join(f"--{name}" for name in names)
    plural = "s" if len(names) > 1 else ""
    return f"missing setting{plural} {', '.join(names)}: set in the YAML file or by {flags}."


def _unknown(config_type: type[BaseModel], path: str) -> str:
    known = [setting.path for setting in iter_settings(config_type)]
    same_name = [name for name in known if name.split(".")[-1] == path.split(".")[-1]]
    near = difflib.get_close_matches(path, known, n=1) or same_name
    return f"unknown setting {path}." + (f" Did you mean {near[0]}?" if near else " See --help.")


def _path(error: ErrorDetails) -> str:
    return ".".join(map(str, error["loc"]))


def _setting_path(config_type: type[BaseModel], error: ErrorDetails) -> str:
    """The setting that an error is about: pydantic's location without the branches of unions."""
    known = {setting.path for setting in iter_settings(config_type)}
    parts = [str(part) for part in error["loc"]]
    for stop in range(len(parts), 0, -1):
        if ".".join(parts[:stop]) in known:
            return ".".join(parts[:stop])
    return ".".join(parts) or config_type.__name__
