"""Flags named by the paths of a config class: `--search.catalog`, or `--catalog` for short."""

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypedDict, Union, get_args, get_origin

import tyro
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from noise2map_core.cli.shown import metavar, shown_default
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.reading import (
    Settings,
    flag_of,
    iter_settings,
    moved,
    nearest,
    parse_yaml,
    section_of,
)
from noise2map_core.workflows.launch import find_applications, find_tools

SCALARS = (str, int, float, bool, Path, NoneType)

_words = tyro.constructors.ConstructorRegistry()


@_words.primitive_rule
def _path_as_text(
    found: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    """Paths stay text until their setting reads them: pathlib would make file:/a of file:///a."""
    if found.type is not Path:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str | Path),
        str_from_instance=lambda value: [str(value)],
    )


@dataclass(frozen=True)
class Flags:
    """The flags of a command."""

    config: type[BaseModel]
    aliases: Mapping[str, str]
    """Short flags, and the settings that they stand for."""
    prog: str
    description: str = ""
    unseen: Sequence[str] = ()
    """Settings and sections of the root that are taken, but not in the help."""

    def known(self) -> list[str]:
        """All flags, as they are shown."""
        short = [name for names in self._short.values() for name in names]
        return [*short, *(flag_of(setting.path) for setting in iter_settings(self.config))]

    def read(self, args: Sequence[str], defaults: Settings) -> Settings:
        """The settings that the flags give, and only those, with `debug`; `--help` prints and
        exits.

        `defaults` (the YAML's) are shown in the help. Raises ConfigError for flags that do not
        parse.
        """
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):
                return _settings(self.config, self._parse(args, defaults))
        except SystemExit as stop:
            if not stop.code:
                raise
            raise ConfigError(_one_line(complaint.getvalue(), self)) from None

    def parser(self, defaults: Settings, leave_out: Sequence[str] = ()) -> Any:
        """What tyro makes a parser of."""
        given = self._section_type(self.config, "", defaults) | {"debug": _DEBUG}
        given = {name: one for name, one in given.items() if name not in leave_out}
        return TypedDict("Flags", given, total=False)  # type: ignore[operator]

    def _parse(self, args: Sequence[str], defaults: Settings) -> Mapping[str, Any]:
        parsed: Mapping[str, Any] = tyro.cli(
            self.parser(defaults, self.unseen if "--help" in args else ()),
            args=args, prog=self.prog, description=self.description,
            default={"debug": False}, registry=_words,
        )  # fmt: skip
        return parsed

    @cached_property
    def _short(self) -> dict[str, list[str]]:
        """Short flags by the setting they stand for; a setting of the root keeps its own name."""
        paths = {setting.path for setting in iter_settings(self.config)}
        found: dict[str, list[str]] = {}
        for alias, path in self.aliases.items():
            if path in paths and alias not in paths:
                found.setdefault(path, []).append(f"--{alias}")
        return found

    def _section_type(
        self, model: type[BaseModel], prefix: str, defaults: Settings
    ) -> dict[str, Any]:
        """Keys of a TypedDict, all of them optional: tyro leaves out what is not given."""
        keys: dict[str, Any] = {}
        for name, field in model.model_fields.items():
            default = defaults.get(
                name, field.get_default(call_default_factory=True, validated_data={})
            )
            section = section_of(field.annotation)
            if section is None:
                keys[name] = _flag(field, default, self._short.get(prefix + name, []))
            else:
                inner = self._section_type(section, f"{prefix}{name}.", _as_settings(default))
                keys[name] = Annotated[
                    TypedDict(name, inner, total=False),  # type: ignore[operator]
                    tyro.conf.arg(help=_flowing(field.description or section.__doc__)),
                ]
        return keys


_DEBUG = Annotated[
    bool,
    tyro.conf.arg(help="Show the traceback of an error.", help_behavior_hint=""),
    tyro.conf.FlagCreatePairsOff,
]


def _flag(field: FieldInfo, default: Any, short: list[str]) -> Any:
    hint = "(required)" if default is PydanticUndefined else f"(default: {shown_default(default)})"
    annotation = field.annotation
    words, is_day = _has_words(annotation), date in (annotation, *get_args(annotation))
    several = not words and _may_be_list(annotation)
    return Annotated[
        annotation if words else tuple[str, ...] if several else str,
        tyro.conf.arg(
            help=_flowing(field.description),
            help_behavior_hint=hint,
            aliases=short,
            metavar=metavar(annotation) if words or several else "DATE" if is_day else "YAML",
        ),
    ]


def _settings(model: type[BaseModel], flags: Mapping[str, Any]) -> Settings:
    """What tyro parsed, without empty sections, and with YAML text of nested settings read."""
    return dict(_iter_given(model, flags))


def _iter_given(model: type[BaseModel], flags: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in flags.items():
        annotation = model.model_fields[name].annotation if name in model.model_fields else bool
        section = section_of(annotation)
        if section is not None:
            inner = _settings(section, value)
            if inner:
                yield name, inner
        elif _has_words(annotation):
            yield name, value
        else:
            yield name, _value(name, value, annotation)


def _value(name: str, text: str | Sequence[str], annotation: Any) -> Any:
    """The value of what is no plain word: words of a list, or a document of YAML."""
    if isinstance(text, str):
        return _yaml_value(name, text)
    whole = " ".join(text)
    if whole.startswith(("[", "{")):
        return _yaml_value(name, whole)
    alone = len(text) == 1 and any(_is_scalar(part) for part in get_args(annotation))
    return whole if alone else list(text)


def _yaml_value(name: str, text: str) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"flag {flag_of(name)} is not YAML: {reason}") from error


def _has_words(annotation: Any) -> bool:
    """True for what can be spelt as words on a command line: scalars, choices, flat sequences.

    The rest (boxes, mappings) is one word of YAML: `--split.boxes '{train: [[0, 0, 9, 9]]}'`.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _has_words(parts[0])
    if origin in (Union, UnionType):
        several = len([part for part in parts if part is not NoneType]) > 1
        return all(_is_scalar(part) or (not several and _has_words(part)) for part in parts)
    if origin in (tuple, list):
        return all(part is ... or _is_scalar(part) for part in parts)
    return _is_scalar(annotation)


def _may_be_list(annotation: Any) -> bool:
    """True for a choice between kinds of values of which one is a list of words."""
    union = get_origin(annotation) in (Union, UnionType)
    return union and any(
        get_origin(part) in (tuple, list) and _has_words(part) for part in get_args(annotation)
    )


def _is_scalar(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _is_scalar(get_args(annotation)[0])
    return get_origin(annotation) is Literal or annotation in SCALARS


def _as_settings(default: Any) -> Settings:
    if isinstance(default, BaseModel):
        return default.model_dump()
    return default if isinstance(default, dict) else {}


def _flowing(text: str | None) -> str:
    return " ".join((text or "").split())


def _one_line(complaint: str, flags: Flags) -> str:
    """tyro's framed message cut to its first sentence, or an unknown flag and one near it.

    The frame is drawn with hyphens where the locale has no lines; a title stands before the first.
    """
    parts = re.split(r"^.*(?:──|-----).*$", complaint, flags=re.MULTILINE)
    text = " ".join(parts[min(1, len(parts) - 1)].replace("│", " ").split("Got errors:")[0].split())
    if not text.startswith("Unrecognized"):
        return f"{text.rstrip('.')}. See --help."
    flag = text.split(": ", 1)[1].split(",")[0]
    if not flag.startswith("-"):
        return f"{flag} belongs to no flag: a YAML file comes first, values behind their flags."
    return f"unknown flag {flag}. {_way_out(flag.partition('=')[0], flags)}"


def _way_out(flag: str, flags: Flags) -> str:
    if said := moved(flags.config, flag.strip("-").replace("-", "_")):
        return said
    if others := commands_with(flag):
        return f"It is one of {', '.join(others)}."
    near = nearest(flag.replace("_", "-"), flags.known())
    return f"Did you mean {near}?" if near else "See --help."


def commands_with(flag: str) -> list[str]:
    """The commands that have a flag of this name."""
    path = flag.strip("-").replace("-", "_")
    return [
        command.name
        for command in (*find_applications(), *find_tools())
        if any(one.path == path for one in iter_settings(command.workflow.config))
    ]
