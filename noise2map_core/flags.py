"""Settings from a YAML file and from flags: what an application's config class asks for.

A flag is a setting's path in the config, with dots (`--search.catalog`). The YAML comes first, then
the flags; pydantic judges the sum of both once, so that either may hold what is required.
"""

import contextlib
import difflib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypedDict, TypeVar, Union, get_args, get_origin

import tyro
import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from noise2map_core.errors import ConfigError

Settings = dict[str, Any]
"""Nested settings by name, as in a YAML file."""

ConfigT = TypeVar("ConfigT", bound=BaseModel)

PLAIN_TYPES = (str, int, float, bool, Path, NoneType)


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


def read_settings(path: Path) -> Settings:
    """The settings in a YAML file. Raises ConfigError if it is missing or not a mapping."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (safe)
    except FileNotFoundError:
        raise ConfigError(f"config {path} does not exist.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"config {path} is not readable YAML: {reason}") from error
    if not isinstance(loaded or {}, dict):
        raise ConfigError(f"config {path} holds no settings: write `name: value` lines.")
    return loaded or {}


def read_flags(
    args: Sequence[str],
    config_type: type[BaseModel],
    defaults: Settings,
    aliases: Mapping[str, str],
    prog: str,
    description: str,
) -> Settings:
    """The settings that the flags give, and only those; `--help` prints and exits.

    `defaults` (the YAML's) are shown in the help. Raises ConfigError for flags that do not parse.
    """
    given = _flags_type(config_type, "", defaults, _aliases_by_path(config_type, aliases), root=True)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            flags = tyro.cli(
                given, args=args, prog=prog, description=description, use_underscores=True
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(_one_line(complaint.getvalue())) from None
    return {name: value for name, value in _parsed(config_type, dict(flags)).items() if value != {}}


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
        section = _section(field.annotation)
        if section is None:
            yield Setting(prefix + name, field)
        else:
            yield from iter_settings(section, f"{prefix}{name}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The config class of a section; None if the annotation is a leaf."""
    found = [part for part in (annotation, *get_args(annotation)) if _is_model(part)]
    return found[0] if len(found) == 1 and _arguments_but_none(annotation) <= 1 else None


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _arguments_but_none(annotation: Any) -> int:
    if get_origin(annotation) not in (Union, UnionType):
        return 1 if _is_model(annotation) else 2
    return sum(part is not NoneType for part in get_args(annotation))


def _flags_type(
    model: type[BaseModel],
    prefix: str,
    defaults: Settings,
    aliases: Mapping[str, list[str]],
    root: bool = False,
) -> Any:
    """A TypedDict with an optional key for each setting: tyro leaves out what is not given."""
    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        path, section = prefix + name, _section(field.annotation)
        default = defaults.get(name, field.get_default(call_default_factory=True, validated_data={}))
        if section is None:
            keys[name] = _flag(field, default, aliases.get(path, []))
        else:
            shown = default if isinstance(default, dict) else _dumped(default)
            keys[name] = Annotated[
                _flags_type(section, f"{path}.", shown, aliases),
                tyro.conf.arg(help=field.description or _first_line(section.__doc__)),
            ]
    if root:
        keys["debug"] = Annotated[
            bool,
            tyro.conf.arg(help="Show the traceback of an error.", help_behavior_hint=""),
            tyro.conf.FlagCreatePairsOff,
        ]
    return TypedDict(model.__name__, keys, total=False)  # type: ignore[operator]


def _flag(field: FieldInfo, default: Any, aliases: list[str]) -> Any:
    hint = "(required)" if _undefined(default) else f"(default: {_shown(default)})"
    plain = _is_plain(field.annotation)
    return Annotated[
        field.annotation if plain else str,
        tyro.conf.arg(
            help=field.description,
            help_behavior_hint=hint,
            aliases=aliases,
            metavar=None if plain else "YAML",
        ),
    ]


def _parsed(model: type[BaseModel], flags: Settings) -> Settings:
    """Flags with the values of nested settings, which came as YAML text, parsed."""
    for name, value in flags.items():
        if name not in model.model_fields:
            continue
        annotation = model.model_fields[name].annotation
        section = _section(annotation)
        if section is not None:
            flags[name] = _parsed(section, dict(value))
        elif not _is_plain(annotation):
            flags[name] = _yaml_value(name, value)
    return flags


def _yaml_value(name: str, text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (safe)
    except yaml.YAMLError as error:
        raise ConfigError(f"flag --{name} is not YAML: {' '.join(str(error).split())}") from error


def _is_plain(annotation: Any) -> bool:
    """True for what has a spelling as words on a command line: scalars, choices, flat tuples."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_plain(parts[0])
    if origin is Literal or annotation in PLAIN_TYPES:
        return True
    if origin in (Union, UnionType):
        return all(_is_plain(part) and get_origin(part) not in (tuple, list) for part in parts)
    if origin in (tuple, list):
        return all(part in (*PLAIN_TYPES, ...) for part in map(_bare, parts))
    return False


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _dumped(default: Any) -> Settings:
    return default.model_dump() if isinstance(default, BaseModel) else {}


def _undefined(default: Any) -> bool:
    return type(default).__name__ == "PydanticUndefinedType"


def _shown(default: Any) -> str:
    if isinstance(default, list | tuple) and all(isinstance(part, str | int | float) for part in default):
        return " ".join(map(str, default)) or "none"
    return str(_dumped(default) or default)


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def _aliases_by_path(
    config_type: type[BaseModel], aliases: Mapping[str, str]
) -> dict[str, list[str]]:
    """Short flags by the setting they stand for; names that the root itself has are left alone."""
    paths = {setting.path for setting in iter_settings(config_type)}
    found: dict[str, list[str]] = {}
    for alias, path in aliases.items():
        if path in paths and alias not in paths:
            found.setdefault(path, []).append(f"--{alias}")
    return found


def _merged(below: Settings, above: Settings) -> Settings:
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _one_line(complaint: str) -> str:
    """The first part of tyro's framed message."""
    body = complaint.split("───────", 2)[1] if "╭" not in complaint else complaint
    lines = [line.strip("│ ") for line in body.splitlines() if line.startswith("│")]
    words = []
    for line in lines:
        if line.startswith("──"):
            break
        words.append(line)
    return f"{' '.join(' '.join(words).split())} See --help."


def _explained(config_type: type[BaseModel], errors: list[ErrorDetails]) -> str:
    missing = [_path(error) for error in errors if error["type"] == "missing"]
    wrong = [error for error in errors if error["type"] != "missing"]
    if not wrong:
        flags = ", ".join(f"--{path}" for path in missing)
        plural = "s" if len(missing) > 1 else ""
        return f"missing setting{plural} {', '.join(missing)}: set in the YAML file or by {flags}."
    error = wrong[0]
    if error["type"] == "extra_forbidden":
        return _unknown(config_type, _path(error))
    message = error["msg"].removeprefix("Value error, ")
    return f"{_setting_path(config_type, error)}: {message} (got {error['input']!r})."


def _unknown(config_type: type[BaseModel], path: str) -> str:
    known = [setting.path for setting in iter_settings(config_type)]
    near = difflib.get_close_matches(path, known, n=1) or [
        name for name in known if name.rsplit(".")[-1] == path.rsplit(".")[-1]
    ]
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
